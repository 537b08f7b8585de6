"""Logs: for people or for machines, and without secrets for both."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.logs import HIDDEN, RepeatedEvents, configure_logging, scrub
from tests.chat.terminal_kit import Terminal

pytestmark = pytest.mark.usefixtures("logging_as_before")

TOKEN = "pt_7JNQYXdJQFWUu9cM7dtgujRLLu0cIbcOsap_HfQOb7Q"
BODY = "a private word"
GUEST_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnX3gifQ.c2ln"


def test_events_are_json_lines_where_nobody_looks() -> None:
    """Away from a terminal every event is one JSON object with a time in UTC."""
    out = io.StringIO()
    configure_logging(level="info", log_format="auto", stream=out)

    structlog.get_logger().info("room.activated", events=3)

    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["events"]) == ("room.activated", "info", 3)
    assert line["timestamp"].endswith("Z")


def test_events_are_readable_on_a_terminal() -> None:
    """On a terminal an event is a line for people, and `json` and `terminal` overrule what is found."""
    terminal, pipe = Terminal(), io.StringIO()
    configure_logging(level="info", log_format="auto", stream=terminal)
    structlog.get_logger().info("room.activated", events=3)
    configure_logging(level="info", log_format="terminal", stream=pipe)
    structlog.get_logger().info("room.activated", events=3)

    assert "room.activated" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert "room.activated" in pipe.getvalue()
    assert "events=3" in pipe.getvalue()


def test_what_is_less_serious_is_left_out() -> None:
    """The level is the least that is logged."""
    out = io.StringIO()
    configure_logging(level="warning", log_format="json", stream=out)

    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]


def fail_with(body: str) -> None:
    """Raise an error that tells a token, from a frame whose local variables tell a body."""
    raise ValueError(f"bad token {TOKEN} of {len(body)}")


@pytest.mark.parametrize("log_format", ["json", "terminal"])
def test_neither_bodies_nor_tokens_reach_a_log(log_format: str) -> None:
    """Whatever is handed to a logger by mistake: bodies, tokens, passwords, in keys, values or tracebacks."""
    out = io.StringIO()
    configure_logging(level="info", log_format="json" if log_format == "json" else "terminal", stream=out)
    log = structlog.get_logger().bind(token=TOKEN, authorization=f"Bearer {TOKEN}")

    log.info(
        GUEST_TOKEN,
        body=BODY,
        request={"t": "send", "body": BODY, "nested": [{"guest_token": BODY}]},
        frame=BODY.encode(),
        raw=BODY.encode(),
        url="postgresql://ann:hunter2@db/parley",
        count=3,
    )
    try:
        fail_with(BODY)
    except ValueError:
        log.exception("hello.failed")

    text = out.getvalue()
    for secret in (BODY, TOKEN, GUEST_TOKEN, "hunter2"):
        assert secret not in text
    assert "ValueError" in text
    assert HIDDEN in text
    assert "db/parley" in text


@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.text() | st.integers() | st.binary(), st.lists, max_leaves=10),
        max_size=8,
    )
)
def test_scrubbing_takes_whatever_is_logged(event: dict[str, object]) -> None:
    """No value makes it fail, and no key is lost."""
    assert set(scrub(None, "info", dict(event))) == set(event)


def test_libraries_log_the_same_way() -> None:
    """What comes through the standard library's logging is an event of ours, tokens hidden."""
    out = io.StringIO()
    configure_logging(level="info", log_format="json", stream=out)

    logging.getLogger("asyncio").warning("slow callback for %s", TOKEN)
    logging.getLogger("asyncio").info("not serious")

    (line,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert line["library"] == "asyncio"
    assert line["message"] == f"slow callback for {HIDDEN}"


def test_what_a_peer_can_repeat_is_logged_a_few_times_and_counted() -> None:
    """Of a flood of one event a handful is logged; the next one after a pause says how many were not."""
    with capture_logs() as logs:
        repeated = RepeatedEvents(structlog.get_logger(), per_s=0.1, burst=3)
        logged = [repeated.warning("frame.bad", now_s=100.0, encoding="json") for _ in range(1000)]
        repeated.warning("other", now_s=100.0)
        repeated.warning("frame.bad", now_s=110.0)

    assert logged == [True] * 3 + [False] * 997
    assert repeated.dropped == 997
    assert [(e["event"], e.get("held_back")) for e in logs] == [
        ("frame.bad", None),
        ("frame.bad", None),
        ("frame.bad", None),
        ("other", None),
        ("frame.bad", 997),
    ]
