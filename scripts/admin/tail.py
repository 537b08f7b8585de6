"""`parley admin tail`: what happens in a room, or what moderators do, as it happens."""

from collections.abc import Sequence
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators

from chat.cli_options import UsageMistake
from chat.client_errors import RequestRefused
from chat.client_feed import Disconnected, Update
from chat.client_state import Envelope, EventAdded, EventVoided, Hole, Left, Rewound, WasReset
from chat.terminal_text import format_event
from scripts.admin.connection import Connection, open_connection
from scripts.admin.exits import EXIT_OK
from scripts.admin.lookup import explain_room
from scripts.admin.options import ServerOptions
from scripts.admin.output import Output, clock, say
from scripts.admin.run import run_command

LOOK_S: Final = 1.0
"""Between two looks at the audit."""
PAGE: Final = 100


def tail(
    room: Annotated[str | None, Parameter(help="The room to follow.")] = None,
    /,
    *,
    audit: Annotated[bool, Parameter(negative=(), help="Follow the audit of all rooms instead.")] = False,
    last: Annotated[
        int, Parameter(help="Begin with so many from before.", validator=validators.Number(gte=0, lte=PAGE))
    ] = 10,
    count: Annotated[
        int | None, Parameter(help="End after so many.", validator=validators.Number(gte=1))
    ] = None,
    options: ServerOptions | None = None,
) -> int:
    """Follow a room or the audit until Ctrl-C; with --json an object a line."""
    if (room is None) == (not audit):
        raise UsageMistake("say which room, or --audit")
    wanted = options or ServerOptions()
    out = Output(as_json=wanted.json)
    printer = _Printer(out, count)

    async def follow_audit() -> int:
        async with open_connection(wanted, out) as connection:
            await _follow_audit(connection, printer, last)
        return EXIT_OK

    async def follow_room() -> int:
        async with open_connection(wanted, out, follows=True) as connection:
            try:
                answer = await connection.client.subscribe(room or "", limit=max(last, 1))
            except RequestRefused as refused:
                raise await explain_room(connection, room or "", refused) from None
            printer.after = 0 if last else int(str(answer["head"]))
            async for update in connection.client.events():
                if printer.show(update):
                    break
        return EXIT_OK

    return run_command(out, follow_audit if audit else follow_room)


class _Printer:
    """Prints what comes, until it was enough.

    Attributes:
        after: events up to this seq are not printed.
    """

    def __init__(self, out: Output, count: int | None) -> None:
        self._out = out
        self._left = count
        self.after = 0

    def show(self, update: Update) -> bool:
        """Print an update; whether that was enough."""
        match update:
            case EventAdded():
                return self._event(update.event)
            case EventVoided():
                say(f"-- #{update.seq} was not stored after all")
            case Rewound():
                say(f"-- what came after #{update.keep} did not survive")
            case WasReset():
                say("-- the log begins anew")
            case Hole():
                say(f"-- #{update.first} to #{update.last} are missing")
            case Left():
                raise update.refused
            case Disconnected():
                say(f"-- {update.reason or 'the connection broke'}: again in {update.retry_in_s:.1f} s")
            case _:
                pass
        return False

    def _event(self, event: Envelope) -> bool:
        if int(str(event["seq"])) <= self.after:
            return False
        if self._out.as_json:
            self._out.line(event)
        else:
            line = format_event(event, tz=None, with_room=False)
            if line is None:
                return False
            self._out.text(line)
        return self._enough()

    def act(self, item: Envelope) -> bool:
        """Print a row of the audit; whether that was enough."""
        if self._out.as_json:
            self._out.line(item)
        else:
            at_ms = item["at"]
            when = clock(at_ms) if isinstance(at_ms, int) else ""
            upon = item.get("target") or item["room"]
            reason = f": {item['reason']}" if item.get("reason") else ""
            self._out.words(f"{when} {item['audit']} {item['name']} {item['action']} {upon}{reason}")
        return self._enough()

    def _enough(self) -> bool:
        if self._left is not None:
            self._left -= 1
        return self._left == 0


async def _follow_audit(connection: Connection, printer: _Printer, last: int) -> None:
    """Look again and again; what came between two looks is walked through from the last one that is known."""
    seen, _ = await connection.listed("audit", limit=max(last, 1))
    for item in reversed(seen[:last]):
        if printer.act(item):
            return
    known = _key(seen[0]) if seen else (0, "")
    # Within the same moment rows are told apart by their ids.
    at_known = {str(item["audit"]) for item in seen if _key(item)[0] == known[0]}
    while True:
        await trio.sleep(LOOK_S)
        for item in reversed(await _since(connection, known[0])):
            if str(item["audit"]) in at_known:
                continue
            if _key(item)[0] > known[0]:
                known, at_known = _key(item), set()
            at_known.add(str(item["audit"]))
            if printer.act(item):
                return


async def _since(connection: Connection, at_ms: int) -> Sequence[Envelope]:
    """The rows of that moment and later, the latest first."""
    found: list[Envelope] = []
    cursor: object = None
    while True:
        page = await connection.ask("audit", limit=PAGE, cursor=cursor)
        items = page["items"]
        rows = items if isinstance(items, list) else []
        found += [row for row in rows if _key(row)[0] >= at_ms]
        cursor = page.get("next")
        if cursor is None or not rows or _key(rows[-1])[0] < at_ms:
            return found


def _key(item: Envelope) -> tuple[int, str]:
    at_ms = item["at"]
    return (at_ms if isinstance(at_ms, int) else 0, str(item["audit"]))
