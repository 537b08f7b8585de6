"""`parley admin init`, `login` and `completion`: what one types before the first command."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from chat.cli_client import client_url
from chat.cli_options import configure
from chat.cli_password import read_secret
from chat.errors import ErrorCode, Refused
from chat.login import log_in
from chat.offline import open_database_of
from chat.open_store import describe_database, wall_clock_ms
from chat.tokens import create_token
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.options import OfflineOptions, PlaceOptions, token_path, write_token
from scripts.admin.output import Output, clock, say
from scripts.admin.run import run_command
from storage import PostgresStore, migrate

_STAFF_LOOKED_AT = 100


def init(
    name: Annotated[str, Parameter(help="The first admin's name.")] = "admin",
    /,
    *,
    force: Annotated[bool, Parameter(negative=(), help="Make one more, though there is an admin.")] = False,
    save: Annotated[
        bool, Parameter(negative=(), help="Keep the token where `parley admin` finds it, and print none.")
    ] = False,
    token_file: Annotated[Path | None, Parameter(help="Keep it in this file, of mode 0600.")] = None,
    options: OfflineOptions | None = None,
) -> int:
    """Make the first admin, on the database alone, and print a token, the only time that it is shown."""
    wanted = options or OfflineOptions()
    config = wanted.load().config
    configure(config)
    out = Output(as_json=wanted.json)

    async def work() -> int:
        async with open_database_of(config, make=True) as database:
            await migrate(database)
            store = PostgresStore(database)
            admins = [row for row in await store.list_staff(limit=_STAFF_LOOKED_AT) if row.role == "admin"]
            if admins and not force:
                names = ", ".join(row.name for row in admins[:3])
                raise Problem("conflict", f"there is an admin already ({names}): --force makes one more")
            try:
                issued = await create_token(
                    store, name, "admin", now_ms=wall_clock_ms(), random_bytes=os.urandom
                )
            except Refused as refused:
                if refused.code is not ErrorCode.CONFLICT:
                    raise
                raise Problem("conflict", f"{refused}: choose another name") from refused
        told: dict[str, object] = {"user": issued.user.user_id, "name": issued.user.name, "role": "admin"}
        say(f"made {issued.user.name} ({issued.user.user_id}, admin) in the {describe_database(config)}")
        if save or token_file is not None:
            path = token_path(token_file)
            write_token(path, issued.token)
            out.value({**told, "token_file": str(path)}, f"the token is in {path}")
        else:
            out.value({**told, "token": issued.token}, issued.token)
        return EXIT_OK

    return run_command(out, work)


def login(
    name: Annotated[str, Parameter(help="Your name; the password is asked for [PARLEY_PASSWORD].")],
    /,
    *,
    token_file: Annotated[
        Path | None, Parameter(help="Where to keep the token, with mode 0600 [PARLEY_TOKEN_FILE].")
    ] = None,
    options: PlaceOptions | None = None,
) -> int:
    """Get a token for your name and password, and keep it where the other commands find it."""
    wanted = options or PlaceOptions()
    out = Output(as_json=wanted.json)
    where = client_url(wanted.url)
    password = os.environ.get("PARLEY_PASSWORD") or read_secret(f"Password of {name}: ")

    async def work() -> int:
        issued = await log_in(where, name, password)
        path = token_path(token_file)
        write_token(path, issued.token)
        told = {"name": name, "token_file": str(path), "expires": issued.expires_at_ms}
        out.value(told, f"the token is in {path}, good until {clock(issued.expires_at_ms)} UTC")
        return EXIT_OK

    return run_command(out, work)


def completion_of(script: Callable[[str], str]) -> Callable[..., int]:
    """The command that prints a shell's completion.

    Args:
        script: makes it for a shell.
    """

    def completion(
        shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Which shell.")],
        /,
        *,
        json: Annotated[bool, Parameter(negative=(), help="Print JSON, for scripts.")] = False,
    ) -> int:
        """Print a script that completes `parley` in your shell: `source <(parley admin completion bash)`."""
        out = Output(as_json=json)
        text = script(shell)
        if json:
            out.line({"shell": shell, "script": text})
        else:
            out.text(text)
        return EXIT_OK

    return completion
