"""`parley user` and `parley token`: accounts in the server's database, be the server running or not."""

import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final

import trio
from cyclopts import App, Parameter, validators

from chat.cli_options import EXIT_OK, DatabaseOptions, UsageMistake, configure, say
from chat.cli_password import read_new_secret
from chat.config import Config
from chat.config_issuers import UserRole
from chat.errors import ChatError, ErrorCode, Refused
from chat.names import display_name, name_key
from chat.offline import open_database_of
from chat.open_store import describe_database, wall_clock_ms
from chat.passwords import Passwords, new_password
from chat.tokens import ROLES, create_token, is_token, new_user, token_hash
from storage import Conflict, PostgresStore, TokenInfo, UserRow, migrate

_DAY_MS: Final = 86_400_000
_DAYS_MAX: Final = 36_500
_ID_BYTES: Final = 8
_ID: Final = re.compile(r"[0-9a-f]{16}")
LIST_MAX: Final = 1000

token_app: Final = App(name="token", help="Registered users' tokens.")
user_app: Final = App(name="user", help="Registered users and their passwords.")

UserName = Annotated[str, Parameter(help="The user's display name; capitals do not matter.")]


class NotThere(ChatError):
    """Nobody, and nothing, is called so."""


@token_app.command(name="create")
def token_create(
    user: Annotated[str, Parameter(help="The display name; the user is created if there is none.")],
    /,
    *,
    role: Annotated[
        UserRole | None, Parameter(help="What the user may do; a new user is a `user` by default.")
    ] = None,
    days: Annotated[
        int | None,
        Parameter(
            help="How long the token is good for; default: for ever.",
            validator=validators.Number(gte=1, lte=_DAYS_MAX),
        ),
    ] = None,
    options: DatabaseOptions | None = None,
) -> int:
    """Make a token for a user and print it, the only time that it is shown. The server may be running."""

    async def run(store: PostgresStore, config: Config) -> None:
        now_ms = wall_clock_ms()
        issued = await create_token(
            store,
            user,
            role,
            now_ms=now_ms,
            random_bytes=os.urandom,
            expires_at_ms=None if days is None else now_ms + days * _DAY_MS,
        )
        say(f"a token for {_described(issued.user)} in the {describe_database(config)}:")
        print(issued.token)

    return _with_store(options, run)


@token_app.command(name="list")
def token_list(user: UserName, /, *, options: DatabaseOptions | None = None) -> int:
    """List a user's tokens, the newest first: their ids, which `token revoke` takes, and times in UTC."""

    async def run(store: PostgresStore, _config: Config) -> None:
        found = await _find(store, user)
        say(f"tokens of {_described(found)}:")
        now_ms = wall_clock_ms()
        for token in await store.list_tokens(found.user_id, limit=LIST_MAX):
            token_id = token.token_hash[:_ID_BYTES].hex()
            print(f"{token_id}  made {_time(token.created_at_ms)}  {_state(token, now_ms)}")

    return _with_store(options, run)


@token_app.command(name="revoke")
def token_revoke(
    token: Annotated[str | None, Parameter(help="The token, or better its id of `token list`.")] = None,
    /,
    *,
    user: Annotated[
        str | None, Parameter(help="All tokens of this user, those of an outside issuer as well.")
    ] = None,
    options: DatabaseOptions | None = None,
) -> int:
    """Revoke tokens: their sessions end within a second, and they open no more. The server may be running."""
    if (token is None) == (user is None):
        raise UsageMistake("say either which token, or whose with --user")
    if token is not None and not is_token(token) and not _ID.fullmatch(token):
        raise UsageMistake("that is neither a token nor the id of one (16 digits of `parley token list`)")

    async def run(store: PostgresStore, _config: Config) -> None:
        now_ms = wall_clock_ms()
        if token is not None:
            hashed = token_hash(token) if is_token(token) else bytes.fromhex(token)
            if not await store.revoke_tokens(hashed, at_ms=now_ms):
                raise NotThere("there is no such token, or it was over already")
            print("revoked: 1 token")
        elif user is not None:
            found = await _find(store, user)
            _tell_revoked(await store.revoke_user(found.user_id, at_ms=now_ms), found)

    return _with_store(options, run)


@user_app.command(name="create")
def user_create(
    name: Annotated[str, Parameter(help="The display name, with which one logs in.")],
    /,
    *,
    role: Annotated[UserRole, Parameter(help="What the user may do.")] = "user",
    options: DatabaseOptions | None = None,
) -> int:
    """Make an account; the password is asked for, or the first line of standard input."""
    config = (options or DatabaseOptions()).load().config
    name = display_name(name, field="name")
    password = new_password(read_new_secret(f"A password for {name}: "))

    async def run(store: PostgresStore, config: Config) -> None:
        if await store.find_user(name, name_key(name)) is not None:
            raise Refused(ErrorCode.CONFLICT, f"somebody is called {name} already")
        encoded = await _passwords(config).hash(password)
        wanted = new_user(name, random_bytes=os.urandom, role=role, password=encoded)
        user = await store.create_user(wanted, at_ms=wall_clock_ms())
        if user.user_id != wanted.user_id:
            raise Refused(ErrorCode.CONFLICT, f"somebody is called {user.name} already")
        print(f"made {_described(user)} in the {describe_database(config)}")

    return _with_store(options, run, config)


@user_app.command(name="password")
def user_password(name: UserName, /, *, options: DatabaseOptions | None = None) -> int:
    """Set a user's password, and revoke all of the user's tokens; the password is asked for, or read."""
    config = (options or DatabaseOptions()).load().config
    password = new_password(read_new_secret(f"A new password for {name}: "))

    async def run(store: PostgresStore, config: Config) -> None:
        user = await _find(store, name)
        encoded = await _passwords(config).hash(password)
        try:
            await store.set_password(user.user_id, name_key(user.name), encoded)
        except Conflict as error:
            raise Refused(
                ErrorCode.CONFLICT, f"somebody else is called like {user.name}, but for capitals"
            ) from error
        # Afterwards: what was given for the old password in between goes with the rest.
        _tell_revoked(await store.revoke_user(user.user_id, at_ms=wall_clock_ms()), user)

    return _with_store(options, run, config)


@user_app.command(name="role")
def user_role(
    name: UserName,
    role: Annotated[UserRole, Parameter(help="What the user may do.")],
    /,
    *,
    options: DatabaseOptions | None = None,
) -> int:
    """Give a user another role. One that is lower revokes the user's tokens: no session keeps the higher."""

    async def run(store: PostgresStore, _config: Config) -> None:
        user = await _find(store, name)
        if user.role == role:
            print(f"it is so already: {_described(user)}")
            return
        try:
            await store.set_role(user.user_id, role)
        except Conflict as error:
            text = f"{user.name} is the only admin: make somebody else one first"
            raise Refused(ErrorCode.FORBIDDEN, text) from error
        changed = user._replace(role=role)
        print(f"{_described(changed)}, no more {user.role}")
        if ROLES.index(role) < ROLES.index(user.role):
            # Afterwards: a session that begins in between has the new role.
            _tell_revoked(await store.revoke_user(user.user_id, at_ms=wall_clock_ms()), changed)

    return _with_store(options, run)


def _with_store(
    options: DatabaseOptions | None,
    work: Callable[[PostgresStore, Config], Awaitable[None]],
    config: Config | None = None,
) -> int:
    """Do something in the database of these options, with the present schema."""
    settings = config or (options or DatabaseOptions()).load().config
    configure(settings)

    async def run() -> int:
        async with open_database_of(settings, make=False) as database:
            await migrate(database)
            await work(PostgresStore(database), settings)
        return EXIT_OK

    return trio.run(run)


def _passwords(config: Config) -> Passwords:
    return Passwords(
        memory_bytes=config.password_memory_bytes, threads=1, waiting_max=0, random_bytes=os.urandom
    )


async def _find(store: PostgresStore, name: str) -> UserRow:
    name = display_name(name, field="user")
    user = await store.find_user(name, name_key(name))
    if user is None:
        raise NotThere(f"nobody is called {name}")
    return user


def _described(user: UserRow) -> str:
    return f"{user.name} ({user.user_id}, {user.role})"


def _tell_revoked(tokens: int, user: UserRow) -> None:
    print(f"revoked: {tokens} token{'' if tokens == 1 else 's'} of {_described(user)}")


def _state(token: TokenInfo, now_ms: int) -> str:
    if token.revoked_at_ms is not None:
        return f"revoked {_time(token.revoked_at_ms)}"
    if token.expires_at_ms is None:
        return "good for ever"
    return f"{'expired' if token.expires_at_ms <= now_ms else 'good until'} {_time(token.expires_at_ms)}"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"
