"""Every setting of a server: its name, unit, default and bounds, and the cross-checks between them.

A setting has one name: `send_per_s` in the TOML file, `PARLEY_SEND_PER_S` in the environment. Reading them
is `config_sources`' business; building a `Config` by hand (tests do) looks at neither file nor environment.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from chat.config_issuers import Issuer
from chat.json_value import VALUE_MAX_BYTES
from chat.protocol import BODY_MAX_BYTES, EMOJIS_MAX
from chat.shared_state import KEYS_MAX

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Rate = Annotated[float, Field(gt=0, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Bytes = Annotated[int, Field(ge=1024, le=2**31)]

EMBEDDED_POOL_MAX: Final = 40
"""For reads. The embedded database takes enough for these, every writer's, and an operator's."""

_MIB: Final = 1024 * 1024


class CrossCheckError(ValueError):
    """Settings that are each allowed and contradict one another.

    Attributes:
        problems: for each, the names of the settings and one sentence.
    """

    def __init__(self, problems: list[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


def _split_list(value: object) -> object:
    """In the environment a list is written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _check_origin(value: str) -> str:
    parts = urlsplit(value)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or value != f"{parts.scheme}://{parts.netloc}"
    ):
        raise ValueError("an origin is written as https://host or https://host:port")
    return value.lower()


def _check_host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", value) or "://" in value:
        raise ValueError("a host is a name or an address, without scheme and port")
    if ":" in value:
        ipaddress.IPv6Address(value)
    return value.lower()


def _check_database_url(value: SecretStr) -> SecretStr:
    if urlsplit(value.get_secret_value()).scheme not in {"postgres", "postgresql"}:
        raise ValueError("a database URL begins with postgresql://")
    return value


def _on_off(value: object) -> object:
    """TOML writes a switch as true or false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class Config(BaseSettings):
    """A server's settings: frozen, and checked as a whole.

    Raises:
        pydantic.ValidationError: a value outside of its bounds, an unknown name, a contradiction.
            `config_sources` turns it into messages for people.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="PARLEY_", hide_input_in_errors=True
    )

    # Where it serves
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to serve clients on."""
    port: Port = 8000
    """The port to serve clients on; 0: any that is free."""
    ops_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address of the operators' port: /metrics, /healthz, /readyz."""
    ops_port: Port | Literal["auto", "off"] = "auto"
    """The operators' port; auto: the one above `port` or, where that is taken, any; 0: any; off: none."""
    allowed_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_check_origin)], ...], NoDecode, BeforeValidator(_split_list)
    ] = ()
    """Origins whose web pages may connect besides those of the same host."""
    allowed_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(_check_host)], ...], NoDecode, BeforeValidator(_split_list)
    ] = ()
    """Names, without port, that `Host` may hold beside loopback's; none: on loopback no other, else any."""
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "node-1"
    """This node's name, as clients and logs see it."""

    # Where it stores
    data_dir: Path = Path("data")
    """The embedded database's directory; used when there is no `database_url`."""
    database_url: Annotated[SecretStr, AfterValidator(_check_database_url)] | None = None
    """postgresql://user:password@host:port/name; none: the embedded database in `data_dir`."""
    pg_bindir: Path | None = None
    """PostgreSQL programs for the embedded database, instead of those of the wheel."""

    # Who may come
    guests: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)] = "auto"
    """Whether people without a token are let in; auto: on loopback with the embedded database only."""
    guest_days: Annotated[int, Field(ge=1, le=3650)] = 180
    """Days that a guest can come back as the same person."""
    issuers: tuple[Issuer, ...] = ()
    """Outside issuers whose tokens are taken besides our own; JSON in the environment."""
    registration: bool = False
    """Whether people may make accounts for themselves (`POST /api/register`)."""
    token_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """Days that a token is good for that somebody logged in for."""
    password_memory_bytes: Annotated[int, Field(ge=19 * _MIB, le=1024 * _MIB)] = 19 * _MIB
    """What a password's hash takes of memory, and in proportion of time; old ones are renewed at login."""
    password_threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Passwords that are checked at a time, each on a core and in memory of its own."""
    password_waiting: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Passwords that wait to be checked; above it `overloaded`."""

    # What it says
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious events that are logged."""
    log_format: Literal["auto", "terminal", "json"] = "auto"
    """auto: terminal where standard error is one, else json."""

    # How often something may be done; `off` for testers
    rate_limits: bool = True
    """Whether the limits per second below are applied."""
    send_per_s: Rate = 5.0
    send_burst: Count = 20
    """Messages of a user to a room."""
    typing_per_s: Rate = 1 / 3
    typing_burst: Count = 1
    """Typing notices of a user to a room."""
    presence_per_s: Rate = 1.0
    presence_burst: Count = 1
    """Changes of a session's presence."""
    list_per_s: Rate = 10.0
    list_burst: Count = 30
    """History and lists of a session."""
    create_per_s: Rate = 0.2
    create_burst: Count = 10
    """Rooms that a user makes; guests from elsewhere than loopback: that their address makes."""
    report_per_s: Rate = 0.1
    report_burst: Count = 5
    """Reports of a user."""
    search_per_s: Rate = 1.0
    search_burst: Count = 5
    """Searches of a session."""
    frame_per_s: Rate = 50.0
    frame_burst: Count = 200
    """Frames of any kind of a connection."""
    frame_abuse_s: Seconds = 10.0
    """Going on above `frame_per_s` for so long ends the connection (4506)."""
    connect_per_s: Rate = 20.0
    connect_burst: Count = 200
    """Connections from one address; loopback is exempt."""
    login_per_s: Rate = 1 / 30
    login_burst: Count = 5
    """Tries of a password for one name, wherever they come from."""
    login_address_per_s: Rate = 1 / 3
    login_address_burst: Count = 20
    """Logins, registrations and logouts from one address; loopback is exempt."""

    # How much there may be
    frame_max_bytes: Bytes = 64 * 1024
    """A frame from a client, after its welcome."""
    hello_frame_max_bytes: Bytes = 8 * 1024
    """A frame from a client before that."""
    body_max_bytes: Annotated[int, Field(ge=1, le=BODY_MAX_BYTES)] = BODY_MAX_BYTES
    """A message's text in UTF-8."""
    bad_frames_max: Annotated[int, Field(ge=1, le=100)] = 3
    """Undecodable frames that are answered; the next one ends the connection (4501)."""
    connections_max: Count = 20_000
    """Connections to this server."""
    sessions_per_user_max: Annotated[int, Field(ge=1, le=1000)] = 10
    """Sessions of one user at a time."""
    subscriptions_max: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Rooms that one connection receives."""
    watch_users_max: Annotated[int, Field(ge=1, le=100)] = 100
    """Users whose presence one connection watches by id."""
    page_max: Annotated[int, Field(ge=1, le=1000)] = 100
    """Items in a page of history or of a list."""
    search_page_max: Annotated[int, Field(ge=1, le=1000)] = 50
    """Items in a page of search results."""
    outbox_max_bytes: Bytes = _MIB
    """What waits for a slow connection; at half of it ephemeral frames are shed, at all of it 4002."""
    room_mailbox: Annotated[int, Field(ge=8, le=1_000_000)] = 1024
    """Messages that wait for a room; above it `busy`."""
    room_mailbox_reserve: Annotated[int, Field(ge=0, le=1_000_000)] = 256
    """Of those, places that only control and moderation may take."""
    session_mailbox: Annotated[int, Field(ge=8, le=1_000_000)] = 256
    """Messages that wait for a session; when it is full its connection is not read."""

    # How long it waits
    handshake_timeout_s: Seconds = 10.0
    """For an HTTP request's head."""
    hello_timeout_s: Seconds = 10.0
    """For a `hello` after the upgrade (4507)."""
    heartbeat_s: Seconds = 25.0
    """Without inbound traffic until the server pings; +-20 %."""
    pong_timeout_s: Seconds = 10.0
    """For the pong (4003)."""
    request_timeout_s: Seconds = 10.0
    """For a room or the database to answer a request (`timeout`)."""
    send_timeout_s: Seconds = 10.0
    """For a slow connection to take what its system buffer could not (4002)."""

    # Load
    gc_tune: bool = True
    """Whether the garbage collector is set for many connections (docs/operations.md)."""

    # Rooms and presence
    room_tail_events: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Latest events that a room keeps in memory to resume from."""
    room_idle_s: Seconds = 60.0
    """After the last subscriber has gone until a room leaves memory."""
    room_members_max: Count = 100_000
    """Members of one room; above it `room_full`."""
    subscribe_events: Annotated[int, Field(ge=0, le=1000)] = 50
    """Events in the answer to a `subscribe` without a limit."""
    presence_grace_s: Annotated[float, Field(ge=0, le=600)] = 15.0
    """After a lost connection until its user is shown as gone."""
    presence_interval_min_s: Seconds = 0.25
    presence_interval_max_s: Seconds = 5.0
    """Between two presence updates to the same watchers, when idle and when loaded."""
    presence_list_max: Count = 200
    """Members up to which the whole list is sent; above, counts and a page."""
    typing_interval_s: Seconds = 0.5
    """Between two typing updates of a room."""
    typing_watchers_max: Count = 100
    """Subscribers above which a room shows no typing."""

    retention_every_s: Seconds = 600.0
    """Between two looks for messages that their rooms do not keep any more."""

    # Storage
    writers: Annotated[int, Field(ge=1, le=64)] = 2
    """Batching writers, each with a connection of its own; rooms are spread over them."""
    writer_batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    writer_batch_bytes: Bytes = _MIB
    """The largest batch of one transaction."""
    writer_backlog_rows: Count = 50_000
    writer_backlog_bytes: Bytes = 64 * _MIB
    """What a writer holds while the database is away; above it sends get `unavailable`."""
    db_pool_size: Annotated[int, Field(ge=2, le=200)] = 8
    """Connections to the database for reads; every writer has its own besides, and one is to spare."""
    db_timeout_s: Seconds = 10.0
    """For one query."""
    db_connect_timeout_s: Seconds = 10.0
    """For a connection to the database at start."""

    # Stopping
    drain_s: Seconds = 15.0
    """For the whole of an orderly stop; what is not done then is cut off."""
    drain_batch: Count = 200
    drain_interval_s: Annotated[float, Field(ge=0, le=60)] = 0.05
    """Connections that are told `bye` together, and the pause after them."""
    bye_retry_after_s: Seconds = 2.0
    """When clients are told to come back."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only arguments count here: what a test builds must not depend on its environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _cross_check(self) -> "Config":
        problems = [(names, text) for wrong, names, text in self._contradictions() if wrong]
        if problems:
            raise CrossCheckError(problems)
        return self

    def _contradictions(self) -> list[tuple[bool, tuple[str, ...], str]]:
        return [
            (
                self.pong_timeout_s >= self.heartbeat_s,
                ("pong_timeout_s", "heartbeat_s"),
                "pong_timeout_s must be below heartbeat_s, or pings overlap",
            ),
            (
                self.hello_frame_max_bytes > self.frame_max_bytes,
                ("hello_frame_max_bytes", "frame_max_bytes"),
                "hello_frame_max_bytes must not be above frame_max_bytes",
            ),
            (
                self.frame_max_bytes > self.outbox_max_bytes // 2,
                ("frame_max_bytes", "outbox_max_bytes"),
                "outbox_max_bytes must be at least twice frame_max_bytes, or one frame can fill it",
            ),
            (
                self.room_mailbox_reserve * 2 > self.room_mailbox,
                ("room_mailbox_reserve", "room_mailbox"),
                "room_mailbox_reserve must be at most half of room_mailbox, or senders get too little",
            ),
            (
                self.presence_interval_min_s > self.presence_interval_max_s,
                ("presence_interval_min_s", "presence_interval_max_s"),
                "presence_interval_min_s must not be above presence_interval_max_s",
            ),
            (
                self.subscribe_events > self.page_max,
                ("subscribe_events", "page_max"),
                "subscribe_events must not be above page_max",
            ),
            (
                self.embedded and self.db_pool_size > EMBEDDED_POOL_MAX,
                ("db_pool_size", "database_url"),
                f"db_pool_size must be at most {EMBEDDED_POOL_MAX} with the embedded database",
            ),
            (
                self.writer_batch_rows > self.writer_backlog_rows,
                ("writer_batch_rows", "writer_backlog_rows"),
                "writer_backlog_rows must be at least writer_batch_rows",
            ),
            (
                self.writer_batch_bytes > self.writer_backlog_bytes,
                ("writer_batch_bytes", "writer_backlog_bytes"),
                "writer_backlog_bytes must be at least writer_batch_bytes",
            ),
            (
                self.ops_port not in {"auto", "off", 0} and self.ops_port == self.port,
                ("ops_port", "port"),
                "ops_port must differ from port",
            ),
            (
                len({issuer.issuer for issuer in self.issuers}) < len(self.issuers),
                ("issuers",),
                "each issuer is named once: give it all of its algorithms there",
            ),
            (
                self.database_url is not None and self.pg_bindir is not None,
                ("database_url", "pg_bindir"),
                "pg_bindir is for the embedded database: it has no use with database_url",
            ),
        ]

    @property
    def embedded(self) -> bool:
        """Whether the server runs a database of its own, in `data_dir`."""
        return self.database_url is None

    @property
    def database_dsn(self) -> str | None:
        """`database_url` with its password, for the driver only: never log it, never print it."""
        return None if self.database_url is None else self.database_url.get_secret_value()

    @property
    def loopback(self) -> bool:
        """Whether clients can come from this machine only."""
        return is_loopback(self.host)

    @property
    def hosts_served(self) -> tuple[str, ...] | None:
        """The names that `Host` may hold besides loopback's; None: any.

        A web page can have its own name lead to this machine (DNS rebinding): to a server that only this
        machine should reach, such a name is an intruder's.
        """
        return self.allowed_hosts if self.allowed_hosts or self.loopback else None

    @property
    def guests_allowed(self) -> bool:
        """Whether people without a token are let in, `auto` being decided."""
        if self.guests == "auto":
            return self.loopback and self.embedded
        return self.guests == "on"

    def public_limits(self) -> Mapping[str, object]:
        """What a client must know to keep within the limits: `welcome.limits` (protocol.md 10).

        A limit per second is `[tokens per second, burst]`, or null where it is not applied.
        """

        def rate(per_s: float, burst: int) -> list[float] | None:
            return [per_s, burst] if self.rate_limits else None

        return {
            "frame_bytes": self.frame_max_bytes,
            "body_bytes": self.body_max_bytes,
            "emojis": EMOJIS_MAX,
            "state_keys": KEYS_MAX,
            "state_value_bytes": VALUE_MAX_BYTES,
            "bad_frames": self.bad_frames_max,
            "subscriptions": self.subscriptions_max,
            "sessions": self.sessions_per_user_max,
            "watch_users": self.watch_users_max,
            "page": self.page_max,
            "search_page": self.search_page_max,
            "outbox_bytes": self.outbox_max_bytes,
            "room_mailbox": self.room_mailbox,
            "send": rate(self.send_per_s, self.send_burst),
            "typing": rate(self.typing_per_s, self.typing_burst),
            "presence": rate(self.presence_per_s, self.presence_burst),
            "list": rate(self.list_per_s, self.list_burst),
            "create": rate(self.create_per_s, self.create_burst),
            "report": rate(self.report_per_s, self.report_burst),
            "search": rate(self.search_per_s, self.search_burst),
            "frames": rate(self.frame_per_s, self.frame_burst),
            "frames_abuse_s": self.frame_abuse_s if self.rate_limits else None,
            "connections": rate(self.connect_per_s, self.connect_burst),
            "login": rate(self.login_per_s, self.login_burst),
            "login_address": rate(self.login_address_per_s, self.login_address_burst),
        }


def is_loopback(host: str) -> bool:
    """Whether an address to serve on can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
