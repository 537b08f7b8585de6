"""`parley admin drain`: the end of a server, in order."""

from scripts.admin.connection import Connection, confirm, with_server
from scripts.admin.exits import EXIT_OK
from scripts.admin.options import ActOptions


def drain(*, options: ActOptions | None = None) -> int:
    """End the server in order: what was accepted is stored, clients are told to come back; for admins.

    What started the server decides whether it comes back.
    """
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        sessions = (await connection.ask("drain", dry_run=True))["affected"]
        question = f"End the server, with {sessions} sessions?"
        await confirm(question, yes=act.yes, dry_run=act.dry_run)
        if not act.dry_run:
            sessions = (await connection.ask("drain", reason=act.reason))["affected"]
        what = "would end" if act.dry_run else "is draining"
        told = {"affected": sessions, "dry_run": act.dry_run}
        connection.out.value(told, f"the server {what}: {sessions} sessions")
        return EXIT_OK

    return with_server(act, work)
