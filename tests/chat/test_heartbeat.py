"""The times of a connection: what the sweep does for one session, and that it gets around to all of them."""

import pytest
import trio
import trio.testing

from chat.errors import CloseCode
from chat.heartbeat import SESSIONS_PER_TURN, Heartbeat, HeartbeatTimes
from chat.session import Session
from chat.session_state import Phase
from chat.transport import PING_FRAME
from tests.chat.session_kit import ANN, Kit, said

TIMES = HeartbeatTimes(silence_s=25.0, pong_s=10.0, retry_after_s=2.0)


def _heartbeat(*sessions: Session) -> Heartbeat:
    return Heartbeat(lambda: sessions, TIMES, now_ms=lambda: 0)


def _pings(session: Session) -> int:
    return session.outbox.frames.count(PING_FRAME)


async def test_a_silent_peer_is_asked_once_and_ended_when_it_does_not_answer() -> None:
    """One ping after 25 s; 4003 ten seconds later, not before."""
    session = Kit().session()
    heartbeat = _heartbeat(session)
    heard_s = session.stream.last_receive_s
    for after_s, pings, ended in [
        (24.9, 0, False),
        (25.0, 1, False),
        (26.0, 1, False),
        (34.9, 1, False),
        (35.0, 1, True),
    ]:
        heartbeat.look(session, now_s=heard_s + after_s, now_ms=0)
        assert (_pings(session), session.is_closed) == (pings, ended)
    assert session.ended_with == (CloseCode.NO_PONG, "no pong in time")


@pytest.mark.parametrize("answered_after_s", [25.0, 25.1, 30.0, 35.0])
async def test_anything_from_the_peer_answers_the_ping(answered_after_s: float) -> None:
    """A pong or any other byte, in the very instant of the ping or at the last moment."""
    session = Kit().session()
    heartbeat = _heartbeat(session)
    heard_s = session.stream.last_receive_s
    heartbeat.look(session, now_s=heard_s + 25.0, now_ms=0)
    session.stream.last_receive_s = heard_s + answered_after_s
    heartbeat.look(session, now_s=heard_s + 35.0, now_ms=0)
    assert not session.is_closed
    assert session.ping_due_s is None
    heartbeat.look(session, now_s=heard_s + answered_after_s + 25.0, now_ms=0)
    assert _pings(session) == 2


async def test_the_spread_moves_the_ping() -> None:
    """Sessions that came together do not beat together."""
    session = Kit().session()
    session.spread = 1.2
    heartbeat = _heartbeat(session)
    heard_s = session.stream.last_receive_s
    heartbeat.look(session, now_s=heard_s + 29.9, now_ms=0)
    assert _pings(session) == 0
    heartbeat.look(session, now_s=heard_s + 30.0, now_ms=0)
    assert _pings(session) == 1


async def test_a_connection_that_is_not_read_is_not_judged_by_its_pongs() -> None:
    """Its pong may lie unread; a ping that was under way is forgotten."""
    kit = Kit(mailbox=8)
    session = kit.session()
    session.start_worker = lambda _line: None
    heartbeat = _heartbeat(session)
    heard_s = session.stream.last_receive_s
    heartbeat.look(session, now_s=heard_s + 25.0, now_ms=0)
    for number in range(8):
        session.on_frame(b"\x82\xa1t\xa5rooms\xa2id" + bytes((number,)), False)  # noqa: FBT003  a callback's
    assert session.is_paused
    heartbeat.look(session, now_s=heard_s + 1000.0, now_ms=0)
    assert not session.is_closed
    assert session.ping_due_s is None


@pytest.mark.parametrize(
    ("phase", "ended"), [(Phase.NEW, True), (Phase.GREETING, False), (Phase.READY, False)]
)
async def test_only_who_has_not_said_hello_is_late(phase: Phase, ended: bool) -> None:
    """A hello that is being checked is the database's to hurry."""
    session = Kit().session(welcomed=False, hello_due_s=trio.current_time() + 10.0)
    session.state.phase = phase
    heartbeat = _heartbeat(session)
    closed: list[bool] = []
    for early_s in (1.0, 0.0):
        heartbeat.look(session, now_s=session.hello_due_s - early_s, now_ms=0)
        closed.append(session.is_closed)
    assert closed == [False, ended]
    assert session.ended_with == ((CloseCode.NO_HELLO, "no hello in time") if ended else None)


async def test_a_right_that_has_ended_ends_the_session() -> None:
    """4004 from the millisecond on, with a time to come back; without an end it lasts."""
    kit = Kit()
    mortal, immortal = kit.session(), kit.session()
    mortal.expires_at_ms = 1000
    heartbeat = _heartbeat(mortal, immortal)
    for session in (mortal, immortal):
        heartbeat.look(session, now_s=trio.current_time(), now_ms=999)
        assert not session.is_closed
        heartbeat.look(session, now_s=trio.current_time(), now_ms=1000)
    assert mortal.ended_with == (CloseCode.TOKEN_EXPIRED, "the token has expired")
    assert said(mortal)[-1]["retry_after"] == 2.0
    assert not immortal.is_closed


async def test_a_session_that_has_ended_is_left_alone() -> None:
    """Its reason stays."""
    session = Kit().session()
    session.end(CloseCode.SHUTDOWN, "the server is stopping")
    _heartbeat(session).look(session, now_s=trio.current_time() + 1000.0, now_ms=10**15)
    assert session.ended_with == (CloseCode.SHUTDOWN, "the server is stopping")


@pytest.mark.parametrize(
    ("expires_at_ms", "ping_left_s", "phase", "again_s"),
    [
        (None, None, Phase.READY, 5.0),
        (2000, None, Phase.READY, 2.0),
        (None, 3.0, Phase.READY, 3.0),
        (None, None, Phase.NEW, 0.0),
        (None, None, Phase.GREETING, 0.0),
    ],
    ids=["silence", "an end", "a ping", "no hello", "a hello being checked"],
)
async def test_a_look_notes_when_the_next_one_can_find_anything(
    expires_at_ms: int | None, ping_left_s: float | None, phase: Phase, again_s: float
) -> None:
    """Five seconds on at most; sooner where something ends sooner; always before the welcome."""
    session = Kit().session()
    now_s = session.stream.last_receive_s + 10.0
    session.hello_due_s = now_s + 100.0
    session.expires_at_ms = expires_at_ms
    session.ping_due_s = None if ping_left_s is None else now_s + ping_left_s
    session.state.phase = phase
    _heartbeat(session).look(session, now_s=now_s, now_ms=0)
    assert session.look_at_s == pytest.approx(now_s + again_s)


async def test_a_greeting_is_looked_at_by_the_next_sweep() -> None:
    """Its right may end sooner than anybody had reason to look."""
    session = Kit().session()
    _heartbeat(session).look(session, now_s=trio.current_time(), now_ms=0)
    assert session.look_at_s > trio.current_time()
    session.greet(ANN, 1000)
    assert session.look_at_s == 0.0


async def test_the_sweep_reaches_everybody_and_lets_others_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once a second over all sessions, with a pause after every thousand."""
    del autojump_clock
    session = Kit().session(welcomed=False, hello_due_s=trio.current_time() + 100.0)
    many = [session] * (2 * SESSIONS_PER_TURN + 1)
    looked: list[Session] = []
    turns = 0

    class Counting(Heartbeat):
        def look(self, session: Session, *, now_s: float, now_ms: int) -> None:
            looked.append(session)
            super().look(session, now_s=now_s, now_ms=now_ms)

    async def count_turns() -> None:
        nonlocal turns
        while len(looked) < len(many):
            if looked:
                turns += 1
            if looked:
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep(0.999)

    async with trio.open_nursery() as nursery:
        await nursery.start(Counting(lambda: many, TIMES, now_ms=lambda: 0).run)
        await trio.sleep(0.99)
        assert not looked
        nursery.start_soon(count_turns)
        await trio.sleep(0.02)
        assert len(looked) == len(many)
        nursery.cancel_scope.cancel()
