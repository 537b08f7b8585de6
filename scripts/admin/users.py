"""`parley admin users`: who is registered, who is here, accounts and their tokens."""

from typing import Annotated, Final, Literal

from cyclopts import App, Parameter, validators

from scripts.admin.connection import Connection, confirm, fields_of, with_server
from scripts.admin.exits import EXIT_OK
from scripts.admin.lookup import find_user
from scripts.admin.options import ActOptions, ServerOptions, TrialOptions

users_app: Final = App(name="users", help="People: accounts, sessions, tokens.")

Person = Annotated[str, Parameter(help="A user's name or id.")]
Limit = Annotated[int, Parameter(help="At most so many.", validator=validators.Number(gte=1, lte=100_000))]


@users_app.command(name="list")
def list_users(
    query: Annotated[str, Parameter(help="Those whose name begins so; capitals do not matter.")] = "",
    /,
    *,
    limit: Limit = 100,
    options: ServerOptions | None = None,
) -> int:
    """List the registered users by name."""

    async def work(connection: Connection) -> int:
        users, more = await connection.listed("users", query=query, limit=limit)
        connection.out.listing(users, ("user", "name", "role"), "nobody is called so", more=more)
        return EXIT_OK

    return with_server(options, work)


@users_app.command(name="show")
def show_user(user: Person, /, *, options: ServerOptions | None = None) -> int:
    """Show a user: role, sessions here, sanctions in rooms; to admins the tokens as well."""

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        answer = fields_of(await connection.ask("user", user=found.user_id))
        out = connection.out
        if out.as_json:
            out.line(answer)
            return EXIT_OK
        out.text(f"{found.name} ({found.user_id}, {answer['role']}), sessions here: {answer['sessions']}")
        out.listing(
            _listed(answer, "sanctions"), ("audit", "room", "kind", "until", "reason"), "no sanctions"
        )
        if "tokens" in answer:
            out.listing(_listed(answer, "tokens"), ("token", "created", "expires", "revoked"), "no tokens")
        return EXIT_OK

    return with_server(options, work)


@users_app.command(name="tokens")
def list_tokens(user: Person, /, *, options: ServerOptions | None = None) -> int:
    """List a user's tokens by the ids that `parley token revoke` takes; for admins."""

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        answer = await connection.ask("user", user=found.user_id)
        tokens = _listed(answer, "tokens")
        connection.out.listing(
            tokens, ("token", "created", "expires", "revoked"), f"no tokens of {found.name} that you may see"
        )
        return EXIT_OK

    return with_server(options, work)


@users_app.command(name="sessions")
def list_sessions(user: Person, /, *, options: ServerOptions | None = None) -> int:
    """List a user's sessions on the server."""

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        sessions = _listed(await connection.ask("sessions", user=found.user_id), "items")
        columns = ("session", "name", "status", "peer", "expires")
        connection.out.listing(sessions, columns, f"{found.name} is not here")
        return EXIT_OK

    return with_server(options, work)


@users_app.command(name="disconnect")
def disconnect(
    user: Person,
    /,
    *,
    session: Annotated[str | None, Parameter(help="This one alone, of `users sessions`.")] = None,
    options: ActOptions | None = None,
) -> int:
    """End a user's sessions. The client may come back: see `ban` for keeping somebody out."""
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        await confirm(f"Disconnect {found.name} ({found.user_id})?", yes=act.yes, dry_run=act.dry_run)
        answer = await connection.ask(
            "disconnect",
            user=found.user_id,
            session=session,
            reason=act.reason,
            dry_run=act.dry_run or None,
        )
        told = {"user": found.user_id, "name": found.name, "affected": answer["affected"]}
        told["audit"] = answer.get("audit")
        what = "would end" if act.dry_run else "ended"
        words = f"{what}: {answer['affected']} sessions of {found.name}"
        connection.out.value({**told, "dry_run": act.dry_run}, words)
        return EXIT_OK

    return with_server(act, work)


@users_app.command(name="create")
def create_user(
    name: Annotated[str, Parameter(help="The display name, with which one logs in.")],
    /,
    *,
    role: Annotated[
        Literal["user", "moderator", "admin"], Parameter(help="What the user may do on the server.")
    ] = "user",
    options: TrialOptions | None = None,
) -> int:
    """Make an account, with a password that is shown once; for admins."""
    trial = options or TrialOptions()

    async def work(connection: Connection) -> int:
        answer = fields_of(
            await connection.ask("enroll", name=name, role=role, dry_run=trial.dry_run or None)
        )
        words = (
            f"would make {name}, {role}"
            if trial.dry_run
            else f"made {answer['name']} ({answer['user']}, {answer['role']}); password: {answer['password']}"
        )
        connection.out.value({**answer, "dry_run": trial.dry_run}, words)
        return EXIT_OK

    return with_server(trial, work)


@users_app.command(name="reset")
def reset_user(user: Person, /, *, options: ActOptions | None = None) -> int:
    """Revoke all of a user's tokens, which ends their sessions, and set a password that is shown once."""
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        question = f"Revoke all tokens of {found.name} ({found.user_id}) and set a new password?"
        await confirm(question, yes=act.yes, dry_run=act.dry_run)
        answer = fields_of(
            await connection.ask("reset", user=found.user_id, reason=act.reason, dry_run=act.dry_run or None)
        )
        told = {"user": found.user_id, "name": found.name, **answer, "dry_run": act.dry_run}
        what = "would revoke" if act.dry_run else "revoked"
        words = f"{what}: {answer['affected']} tokens of {found.name}"
        if "password" in answer:
            words += f"; password: {answer['password']}"
        connection.out.value(told, words)
        return EXIT_OK

    return with_server(act, work)


@users_app.command(name="role")
def assign_role(
    user: Person,
    role: Annotated[
        Literal["user", "moderator", "admin"], Parameter(help="What the user may do on the server.")
    ],
    /,
    *,
    options: ActOptions | None = None,
) -> int:
    """Give a user another role on the server; for admins. The sessions begin anew with it."""
    act = options or ActOptions()

    async def work(connection: Connection) -> int:
        found = await find_user(connection, user)
        question = f"Give {found.name} ({found.user_id}) the role {role} on the server?"
        await confirm(question, yes=act.yes, dry_run=act.dry_run)
        answer = fields_of(
            await connection.ask(
                "assign", user=found.user_id, role=role, reason=act.reason, dry_run=act.dry_run or None
            )
        )
        told = {"user": found.user_id, "name": found.name, **answer, "dry_run": act.dry_run}
        if answer["was"] == role:
            words = f"it is so already: {found.name} has the role {role}"
        else:
            what = "would have" if act.dry_run else "has"
            words = f"{found.name} {what} the role {role}, and no more {answer['was']}"
        connection.out.value(told, words)
        return EXIT_OK

    return with_server(act, work)


def _listed(answer: object, field: str) -> list[dict[str, object]]:
    """A list in an answer; empty where there is none."""
    listed = answer.get(field) if isinstance(answer, dict) else None
    return listed if isinstance(listed, list) else []
