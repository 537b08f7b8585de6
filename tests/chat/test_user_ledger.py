"""What a user's sessions share: their number, and how much is said in each room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.session_state import Rate
from chat.user_ledger import REMEMBERED_MAX, UserLedger

RATE = Rate(rate_per_s=2.0, burst=2)


def make(*, sessions_max: int = 2, rate: Rate | None = RATE) -> UserLedger[int]:
    """A ledger with one rate for everything."""
    return UserLedger(sessions_max=sessions_max, sends=rate, typing=rate, creates=rate)


def test_a_user_has_so_many_sessions() -> None:
    """One more is refused and not counted; one that ends makes room; others have their own count."""
    ledger = make()
    ledger.open_session("u_ann", 1)
    ledger.open_session("u_ann", 2)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            ledger.open_session("u_ann", 3)
        assert refused.value.code is ErrorCode.FORBIDDEN
    ledger.open_session("u_bob", 4)
    ledger.close_session("u_ann", 1)
    ledger.open_session("u_ann", 5)
    assert len(ledger) == 2
    assert ledger.sessions_of("u_ann") == [2, 5]
    assert not ledger.sessions_of("u_cyd")


def test_who_has_no_session_left_is_forgotten() -> None:
    """The ledger is as large as the number of users that are here."""
    ledger = make()
    ledger.open_session("u_ann", 1)
    ledger.open_session("u_ann", 2)
    ledger.close_session("u_ann", 2)
    assert len(ledger) == 1
    ledger.close_session("u_ann", 1)
    assert len(ledger) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_sessions_are_kept_like_in_a_list(steps: list[tuple[str, bool]]) -> None:
    """Whoever comes and goes in whatever order."""
    ledger = make(sessions_max=3)
    there: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for session, (user, opens) in enumerate(steps):
        if opens and len(there[user]) < 3:
            ledger.open_session(user, session)
            there[user].append(session)
        elif opens:
            with pytest.raises(Refused):
                ledger.open_session(user, session)
        elif there[user]:
            ledger.close_session(user, there[user].pop(session % len(there[user])))
        assert len(ledger) == sum(1 for sessions in there.values() if sessions)
        assert all(list(ledger.sessions_of(user)) == sessions for user, sessions in there.items())


def test_messages_are_limited_by_user_and_room() -> None:
    """Not by session: who opens another one has no more to say."""
    ledger = make()
    assert [ledger.take_send("u_ann", "tea", 10.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]
    assert ledger.take_send("u_ann", "other", 10.0) == 0.0
    assert ledger.take_send("u_bob", "tea", 10.0) == 0.0
    assert ledger.take_send("u_ann", "tea", 10.5) == 0.0


def test_typing_is_limited_beside_messages() -> None:
    """Neither uses up the other."""
    ledger = make()
    assert [ledger.take_typing("u_ann", "tea", 10.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]
    assert ledger.take_send("u_ann", "tea", 10.0) == 0.0


def test_creating_is_limited_by_whoever_is_named() -> None:
    """A user, or the address that guests come from."""
    ledger = make()
    assert [ledger.take_create("127.0.0.1", 10.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]
    assert ledger.take_create("u_ann", 10.0) == 0.0


def test_connecting_anew_does_not_renew_the_limit() -> None:
    """What was used up stays used up when the last session ends."""
    ledger = make()
    ledger.open_session("u_ann", 1)
    while ledger.take_send("u_ann", "tea", 10.0) == 0.0:
        pass
    ledger.close_session("u_ann", 1)
    ledger.open_session("u_ann", 1)
    assert ledger.take_send("u_ann", "tea", 10.0) == pytest.approx(0.5)


def test_testers_have_no_limit() -> None:
    """With rate limits off everything passes at once."""
    ledger = make(rate=None)
    assert not any(ledger.take_send("u_ann", "tea", 10.0) for _ in range(100))
    assert not any(ledger.take_typing("u_ann", "tea", 10.0) for _ in range(100))
    assert not any(ledger.take_create("u_ann", 10.0) for _ in range(100))


def test_rooms_that_are_named_in_vain_renew_nothing() -> None:
    """Not one's own limit, nor anybody else's, whether there is a session or not."""
    ledger = make()
    ledger.open_session("u_bob", 1)
    for user in ("u_ann", "u_bob"):
        while ledger.take_send(user, "tea", 10.0) == 0.0:
            pass
    for number in range(1000):
        ledger.take_send("u_bob", f"nowhere-{number}", 10.0)
    assert ledger.take_send("u_bob", "tea", 10.0) == pytest.approx(0.5)
    assert ledger.take_send("u_ann", "tea", 10.0) == pytest.approx(0.5)


def test_who_has_left_is_remembered_until_many_others_have() -> None:
    """Those who said nothing leave nothing."""
    ledger = make()

    def come_and_go(user: str, *, talk: bool) -> None:
        ledger.open_session(user, 1)
        while talk and ledger.take_send(user, "tea", 10.0) == 0.0:
            pass
        ledger.close_session(user, 1)

    come_and_go("u_ann", talk=True)
    for number in range(REMEMBERED_MAX - 1):
        come_and_go(f"u_{number}", talk=True)
        come_and_go(f"g_{number}", talk=False)
    assert ledger.take_send("u_ann", "tea", 10.0) > 0.0
    come_and_go("u_late", talk=True)
    assert ledger.take_send("u_ann", "tea", 10.0) == 0.0


def test_rooms_are_made_at_a_rate_of_the_user_or_the_address() -> None:
    """Whoever is counted, counts alone."""
    ledger = make()
    assert [ledger.take_create("u_ann", 10.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]
    assert ledger.take_create("203.0.113.9", 10.0) == 0.0
    assert ledger.take_create("u_ann", 10.5) == 0.0
