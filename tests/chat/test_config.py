"""The settings as a record: defaults, bounds, contradictions, and what clients are told of them."""

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from chat.config import Config, CrossCheckError, is_loopback


def test_the_defaults_contradict_nothing() -> None:
    """A server needs no setting at all."""
    config = Config()

    assert (config.host, config.port, config.embedded, config.rate_limits) == ("127.0.0.1", 8000, True, True)


def test_a_config_built_by_hand_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test builds is what it says, wherever it runs."""
    monkeypatch.setenv("PARLEY_PORT", "1234")

    assert Config().port == 8000


def test_settings_cannot_be_changed() -> None:
    """A server's settings are those that were checked."""
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, "port", 1)  # noqa: B010  the type checkers know that it does not work


def test_unknown_settings_are_refused() -> None:
    """A misspelt argument is not silently dropped."""
    with pytest.raises(ValidationError, match="prot"):
        Config.model_validate({"prot": 1})


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"pong_timeout_s": 25.0}, ("pong_timeout_s", "heartbeat_s")),
        ({"frame_max_bytes": 4096}, ("hello_frame_max_bytes", "frame_max_bytes")),
        ({"outbox_max_bytes": 100_000}, ("frame_max_bytes", "outbox_max_bytes")),
        ({"room_mailbox": 500}, ("room_mailbox_reserve", "room_mailbox")),
        ({"presence_interval_min_s": 9.0}, ("presence_interval_min_s", "presence_interval_max_s")),
        ({"page_max": 10}, ("subscribe_events", "page_max")),
        ({"db_pool_size": 41}, ("db_pool_size", "database_url")),
        ({"writer_backlog_rows": 100}, ("writer_batch_rows", "writer_backlog_rows")),
        ({"writer_backlog_bytes": 2048}, ("writer_batch_bytes", "writer_backlog_bytes")),
        ({"ops_port": 8000}, ("ops_port", "port")),
        ({"database_url": "postgresql://h/d", "pg_bindir": "/usr/bin"}, ("database_url", "pg_bindir")),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    values: Mapping[str, object], names: tuple[str, ...]
) -> None:
    """Each cross-check finds its own contradiction and nothing else."""
    with pytest.raises(ValidationError) as refused:
        Config.model_validate(values)

    cause = refused.value.errors()[0].get("ctx", {})["error"]
    assert isinstance(cause, CrossCheckError)
    assert [problem[0] for problem in cause.problems] == [names]


def test_writers_take_no_connections_from_reads() -> None:
    """They have a pool of their own: as many of them as are allowed go with the smallest pool for reads."""
    config = Config(writers=64, db_pool_size=2)

    assert (config.writers, config.db_pool_size) == (64, 2)


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "chat.example.org"}, False),
        ({"database_url": "postgresql://h/d"}, False),
        ({"host": "0.0.0.0", "guests": "on"}, True),
        ({"host": "0.0.0.0", "guests": True}, True),
        ({"guests": "off"}, False),
        ({"guests": False}, False),
    ],
)
def test_guests_are_let_in_by_themselves_only_at_home(values: Mapping[str, object], allowed: bool) -> None:
    """Without a word on guests they come in only on loopback with the embedded database."""
    assert Config.model_validate(values).guests_allowed is allowed


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("[::1]", True), ("LOCALHOST", True), ("10.0.0.1", False)],
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    """Every spelling of this machine itself, and nothing else."""
    assert is_loopback(host) is loopback


def test_a_password_is_shown_to_the_driver_only() -> None:
    """Neither `repr` nor `str` of the settings, nor an error about the URL, holds the password."""
    url = "postgresql://parley:hunter2@db/parley"
    config = Config.model_validate({"database_url": url})

    assert config.database_dsn == url
    assert "hunter2" not in repr(config) + str(config)
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"database_url": "mysql://parley:hunter2@db/parley"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("origin", ["example.org", "ftp://x", "https://x/", "https://x/path", "https://"])
def test_an_origin_is_scheme_host_and_port(origin: str) -> None:
    """What no browser would send as an origin could never match, and is refused."""
    with pytest.raises(ValidationError, match="an origin is written as"):
        Config(allowed_origins=(origin,))


def test_origins_are_compared_in_lower_case() -> None:
    """Browsers send host names in lower case, people write them as they like."""
    assert Config(allowed_origins=("https://Chat.Example.org:8443",)).allowed_origins == (
        "https://chat.example.org:8443",
    )


@pytest.mark.parametrize("host", ["https://x", "x:80", "x/y", "", "[::1]", "a b"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    """What could never be in a `Host` header without its port is refused."""
    with pytest.raises(ValidationError):
        Config(allowed_hosts=(host,))


@pytest.mark.parametrize(
    ("host", "allowed", "served"),
    [
        ("127.0.0.1", (), ()),
        ("127.0.0.1", ("Chat.test",), ("chat.test",)),
        ("0.0.0.0", (), None),
        ("0.0.0.0", ("chat.test", "fd00::7"), ("chat.test", "fd00::7")),
    ],
)
def test_names_are_checked_on_loopback_and_where_they_are_given(
    host: str, allowed: tuple[str, ...], served: tuple[str, ...] | None
) -> None:
    """Besides loopback's own; None is any."""
    assert Config(host=host, allowed_hosts=allowed).hosts_served == served


def test_clients_are_told_every_limit_of_the_protocol() -> None:
    """`welcome.limits` has the defaults of protocol.md 10."""
    assert Config().public_limits() == {
        "frame_bytes": 65536,
        "body_bytes": 8192,
        "emojis": 20,
        "state_keys": 256,
        "state_value_bytes": 16384,
        "bad_frames": 3,
        "subscriptions": 500,
        "sessions": 10,
        "watch_users": 100,
        "page": 100,
        "search_page": 50,
        "outbox_bytes": 1048576,
        "room_mailbox": 1024,
        "send": [5.0, 20],
        "typing": [pytest.approx(1 / 3), 1],
        "presence": [1.0, 1],
        "list": [10.0, 30],
        "create": [0.2, 10],
        "report": [0.1, 5],
        "search": [1.0, 5],
        "frames": [50.0, 200],
        "frames_abuse_s": 10.0,
        "connections": [20.0, 200],
        "login": [pytest.approx(1 / 30), 5],
        "login_address": [pytest.approx(1 / 3), 20],
    }


def test_clients_are_told_that_there_are_no_limits_per_second() -> None:
    """Under --no-rate-limits every rate is null, sizes stay."""
    limits = Config(rate_limits=False).public_limits()

    assert {key for key, value in limits.items() if value is None} == {
        "send",
        "typing",
        "presence",
        "list",
        "create",
        "report",
        "search",
        "frames",
        "frames_abuse_s",
        "connections",
        "login",
        "login_address",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_days", 0),
        ("token_days", 3651),
        ("password_memory_bytes", 19 * 1024 * 1024 - 1),
        ("password_memory_bytes", 1024**3 + 1),
        ("password_threads", 0),
        ("password_threads", 65),
        ("password_waiting", -1),
        ("login_per_s", 0),
        ("login_burst", 0),
        ("login_address_per_s", 0),
        ("login_address_burst", 0),
        ("registration", "maybe"),
    ],
)
def test_settings_of_accounts_have_bounds(name: str, value: object) -> None:
    """Each setting outside of them is refused."""
    with pytest.raises(ValidationError, match=name):
        Config.model_validate({name: value})


def test_accounts_are_careful_by_default() -> None:
    """Nobody registers alone, and no issuer is believed, until somebody says so."""
    config = Config()

    assert (config.registration, config.issuers, config.token_days) == (False, (), 30)
