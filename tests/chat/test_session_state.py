"""What a connection may ask, when, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.protocol import (
    AnyRequest,
    Create,
    Hello,
    History,
    Join,
    Leave,
    Members,
    Ping,
    Presence,
    Read,
    Room,
    Rooms,
    Send,
    Subscribe,
    Typing,
    Unsubscribe,
    Unwatch,
    Watch,
)
from chat.session_state import CALM_S, FLOOD_BURSTS, Phase, Rate, SessionLimits, SessionState, rate_refusal

LISTS: list[AnyRequest] = [
    History(id=7, room="tea"),
    Rooms(id=7),
    Room(id=7, room="tea"),
    Members(id=7, room="tea"),
    Watch(id=7, room="tea"),
    Create(id=7, room="tea"),
]
FREE: list[AnyRequest] = [
    Ping(id=7),
    Join(id=7, room="tea"),
    Subscribe(id=7, room="tea"),
    Unsubscribe(id=7, room="tea"),
    Leave(id=7, room="tea"),
    Send(id=7, room="tea", cid="k", body="b"),
    Unwatch(id=7, room="tea"),
    Typing(id=7, room="tea"),
    Read(id=7, room="tea", seq=1),
]


def limits(rate: Rate | None) -> SessionLimits:
    """Every limit is this one."""
    return SessionLimits(
        frames=rate, lists=rate, searches=rate, presence=rate, abuse_s=10.0, bad_frames=3, subscriptions=5
    )


def make(rate: Rate | None = None, *, phase: Phase = Phase.READY) -> SessionState:
    """A connection in some phase."""
    state = SessionState(limits(rate))
    state.phase = phase
    return state


def refusal(state: SessionState, request: AnyRequest, now_s: float) -> Refused:
    """Why a request is not let through."""
    with pytest.raises(Refused) as refused:
        state.admit(request, now_s)
    return refused.value


# -- phases ----------------------------------------------------------------------------------------------


def test_a_new_connection_is_new() -> None:
    """It has not said hello."""
    assert SessionState(limits(None)).phase is Phase.NEW


@pytest.mark.parametrize("phase", [Phase.NEW, Phase.GREETING, Phase.CLOSING])
@pytest.mark.parametrize("request_", [*LISTS, *FREE[1:], Presence(id=7, status="away")])
def test_nothing_is_understood_before_the_welcome(phase: Phase, request_: AnyRequest) -> None:
    """It is `unauthenticated`, under the request's id."""
    refused = refusal(make(phase=phase), request_, 0.0)
    assert (refused.code, refused.request_id) == (ErrorCode.UNAUTHENTICATED, 7)


@pytest.mark.parametrize("request_", [Hello(id=7, guest="ann"), Ping(id=7)])
def test_hello_and_ping_are_understood_from_the_start(request_: AnyRequest) -> None:
    """A client may see whether anybody is there."""
    make(phase=Phase.NEW).admit(request_, 0.0)


def test_a_second_hello_is_a_mistake() -> None:
    """`bad_request`, and the session lives on."""
    refused = refusal(make(), Hello(id=7, guest="ann"), 0.0)
    assert (refused.code, refused.field, refused.request_id) == (ErrorCode.BAD_REQUEST, "t", 7)


# -- limits ----------------------------------------------------------------------------------------------


def test_lists_share_one_limit() -> None:
    """Whatever is listed; the wait that is told is enough."""
    state = make(Rate(rate_per_s=2.0, burst=len(LISTS)))
    for request in LISTS:
        state.admit(request, 100.0)
    for request in LISTS:
        refused = refusal(state, request, 100.0)
        assert (refused.code, refused.request_id) == (ErrorCode.RATE_LIMITED, 7)
        assert refused.retry_after_s == pytest.approx(0.5)
    state.admit(LISTS[0], 100.5)


def test_presence_has_a_limit_of_its_own() -> None:
    """Lists do not use it up, and it does not use up theirs."""
    state = make(Rate(rate_per_s=1.0, burst=1))
    state.admit(LISTS[0], 100.0)
    state.admit(Presence(id=7, status="away"), 100.0)
    assert refusal(state, Presence(id=7, status="away"), 100.2).retry_after_s == pytest.approx(0.8)


@pytest.mark.parametrize("request_", FREE)
def test_the_rest_is_limited_elsewhere(request_: AnyRequest) -> None:
    """By the rate of frames, by user and room, or by what a room takes."""
    state = make(Rate(rate_per_s=1.0, burst=1))
    for _ in range(10):
        state.admit(request_, 100.0)


def test_testers_have_no_limits() -> None:
    """With rate limits off nothing is counted."""
    state = make(None)
    for request in [*LISTS, Presence(id=7, status="away")] * 5:
        state.admit(request, 100.0)
        assert state.count_frame(100.0) == 0.0


def test_subscriptions_are_bounded() -> None:
    """By what the configuration says."""
    assert make().subscriptions_max == 5


# -- frames ----------------------------------------------------------------------------------------------


def test_frames_above_the_rate_wait() -> None:
    """So long as is told; then they pass."""
    state = make(Rate(rate_per_s=2.0, burst=3))
    assert [state.count_frame(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.5)]
    assert state.count_frame(100.5) == 0.0
    refused = rate_refusal(0.5, 9)
    assert (refused.code, refused.retry_after_s, refused.request_id) == (ErrorCode.RATE_LIMITED, 0.5, 9)


FLOODED = Rate(rate_per_s=1.0, burst=50)
"""So large a burst that ten frames a second are too many for long only."""


def exhausted(now_s: float) -> SessionState:
    """A connection that has used up its burst."""
    state = make(FLOODED)
    for _ in range(FLOODED.burst):
        assert state.count_frame(now_s) == 0.0
    return state


def flood(state: SessionState, start_s: float, seconds: float) -> bool:
    """Ten frames a second; whether the last refusal was one too many."""
    abusive = False
    for tick in range(int(seconds * 10) + 1):
        now_s = start_s + tick / 10
        if state.count_frame(now_s):
            abusive = state.abusive(now_s)
    return abusive


def test_a_flood_is_forgiven_for_ten_seconds() -> None:
    """Not longer."""
    assert not flood(exhausted(100.0), 100.0, 9.9)
    assert flood(exhausted(100.0), 100.0, 10.1)


def test_calm_forgives_a_flood() -> None:
    """Without a refusal for a while the ten seconds begin anew; a shorter pause does not help."""
    calm = exhausted(100.0)
    assert not flood(calm, 100.0, 9.0)
    assert not flood(calm, 109.0 + CALM_S + 0.5, 9.0)
    restless = exhausted(100.0)
    assert not flood(restless, 100.0, 6.0)
    assert flood(restless, 106.0 + CALM_S - 0.5, 6.0)


def test_a_torrent_is_not_forgiven_for_a_moment() -> None:
    """Far more frames than any mistake makes end the connection at once."""
    state = exhausted(100.0)
    refused = FLOOD_BURSTS * FLOODED.burst
    assert not any(state.count_frame(100.0) and state.abusive(100.0) for _ in range(refused))
    assert state.count_frame(100.0)
    assert state.abusive(100.0)


def test_far_too_many_frames_are_too_many_at_once() -> None:
    """Twenty bursts of refused frames; a calm begins a new count."""
    state = make(Rate(rate_per_s=1.0, burst=2))
    assert [state.count_frame(100.0) for _ in range(2)] == [0.0, 0.0]
    for start_s in (100.0, 100.0 + CALM_S + 0.5):
        while state.count_frame(start_s) == 0.0:
            pass
        for _ in range(FLOOD_BURSTS * 2 - 1):
            assert not state.abusive(start_s)
            state.count_frame(start_s)
        assert not state.abusive(start_s)
    state.count_frame(start_s)
    assert state.abusive(start_s)


def test_misses_are_paid_for_after_the_fact() -> None:
    """As many as lists come free; the rest is owed, and lists wait with it."""
    state = make(Rate(rate_per_s=2.0, burst=3))
    owed = [state.owes]
    for _ in range(3):
        state.count_miss(100.0)
    assert state.owed_s(100.0) == 0.0
    state.count_miss(100.0)
    owed.append(state.owes)
    assert state.owed_s(100.0) == pytest.approx(0.5)
    assert refusal(state, LISTS[0], 100.0).retry_after_s == pytest.approx(1.0)
    assert state.owed_s(100.5) == 0.0
    assert [*owed, state.owes] == [False, True, False]
    state.count_list(101.0, 7)


def test_testers_owe_nothing() -> None:
    """With rate limits off misses are free."""
    state = make(None)
    state.count_miss(100.0)
    assert (state.owes, state.owed_s(100.0)) == (False, 0.0)


@given(st.lists(st.floats(0, 3), max_size=60))
def test_whoever_keeps_the_rate_is_never_refused(pauses: list[float]) -> None:
    """One frame a second at most, of a burst of one."""
    state = make(Rate(rate_per_s=1.0, burst=1))
    now_s = 50.0
    for pause in pauses:
        assert state.count_frame(now_s) == 0.0
        now_s += 1.0 + pause


def test_the_fourth_frame_that_is_no_envelope_ends_the_connection() -> None:
    """Three of them are answered."""
    state = make()
    assert [state.count_undecodable() for _ in range(4)] == [False, False, False, True]
