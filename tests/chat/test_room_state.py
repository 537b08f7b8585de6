"""One room's rules: order, keys, membership, slow mode, catching up, and what did not survive."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.room_state import Known, RoomState
from storage.model import LogEntry, Role, RoomKind
from tests.chat.room_kit import AT_MS, ROOM_ID, entry, member, room_row, send, state_of, void_entry


def ordered(state: RoomState, count: int) -> list[LogEntry]:
    """So many new messages."""
    made = [send(state, f"new-{state.head_seq + 1}") for _ in range(count)]
    return [one for one in made if isinstance(one, LogEntry)]


def log_of(count: int, *, epoch: int = 1) -> list[LogEntry]:
    """So many stored messages."""
    return [entry(seq, epoch=epoch) for seq in range(1, count + 1)]


def seqs(entries: Sequence[LogEntry]) -> list[int]:
    """Their seqs."""
    return [one.seq for one in entries]


# -- order -----------------------------------------------------------------------------------------------


def test_a_message_continues_the_log() -> None:
    """It gets the next seq and ordinal, the room's epoch, and is in the tail."""
    state = state_of(log_of(2), epoch=3, epochs=[(3, 2)])
    made = send(state, "k", "hi", now_ms=AT_MS + 50, reply_to=1, thread=2)
    assert made == LogEntry(ROOM_ID, 3, 3, AT_MS + 50, "message", "u_ann", "u_ann", 3, "k", "hi", 1, 2, None)
    assert state.tail[-1] is made
    assert (state.head_seq, state.head_n, state.progress.durable_seq) == (3, 3, 2)


@given(st.lists(st.integers(AT_MS - 10_000, AT_MS + 10_000), max_size=30))
def test_seq_has_no_gap_and_time_never_falls(clock: list[int]) -> None:
    """Whatever the wall clock does, also below the time of what is stored."""
    state = state_of(log_of(3))
    for number, now_ms in enumerate(clock):
        send(state, f"k{number}", now_ms=now_ms)
    assert seqs(list(state.tail)) == list(range(1, 4 + len(clock)))
    times = [one.at_ms for one in state.tail]
    assert times == sorted(times)


@pytest.mark.parametrize("seq", [0, -1, 3, 2**53])
@pytest.mark.parametrize("field", ["reply_to", "thread"])
def test_an_answer_to_what_the_room_has_not_ordered_is_refused(seq: int, field: str) -> None:
    """`bad_request` with the field, and the log stays as it was."""
    state = state_of(log_of(2))
    with pytest.raises(Refused) as refused:
        send(
            state,
            "k",
            reply_to=seq if field == "reply_to" else None,
            thread=seq if field == "thread" else None,
        )
    assert (refused.value.code, refused.value.field) == (ErrorCode.BAD_REQUEST, field)
    assert (state.head_seq, state.head_n, len(state.tail)) == (2, 2, 2)


# -- keys ------------------------------------------------------------------------------------------------


def test_a_known_cid_finds_the_first_message() -> None:
    """Be it one of this life or of the tail that was read; of the same sender only."""
    state = state_of(log_of(2))
    first = send(state, "k")
    assert isinstance(first, LogEntry)
    assert send(state, "k") == Known(first)
    assert send(state, "c2", "body 2") == Known(entry(2))
    assert isinstance(send(state, "k", by="u_bob"), LogEntry)
    assert state.head_seq == 4


def test_a_known_cid_with_another_body_is_a_conflict() -> None:
    """It says where the first one stands, and orders nothing."""
    state = state_of(log_of(2))
    with pytest.raises(Refused, match="seq 2") as refused:
        send(state, "c2", "other")
    assert refused.value.code is ErrorCode.CID_CONFLICT
    assert state.head_seq == 2


def test_a_known_cid_needs_no_slow_turn() -> None:
    """A retry is answered, whatever the room's slow mode says."""
    state = state_of(row=room_row(slow_s=60))
    first = send(state, "k")
    assert isinstance(first, LogEntry)
    assert send(state, "k", now_ms=AT_MS + 1) == Known(first)


def test_a_cid_is_forgotten_with_its_entry() -> None:
    """What has left the tail is for the database to find."""
    state = state_of(log_of(3), tail_events=3)
    ordered(state, 1)
    assert isinstance(send(state, "c1", "body 1"), LogEntry)


# -- members ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"), [("public", ErrorCode.NOT_MEMBER), ("private", ErrorCode.ROOM_NOT_FOUND)]
)
def test_only_members_send(kind: RoomKind, code: ErrorCode) -> None:
    """To an outsider a public room says so, and a private one does not exist."""
    state = state_of(row=room_row(kind=kind))
    with pytest.raises(Refused) as refused:
        send(state, "k", by="u_eve")
    assert refused.value.code is code
    assert state.head_seq == 0


def test_outsiders_read_public_rooms_only() -> None:
    """And members read any."""
    state_of().require_reader("u_eve", AT_MS)
    private = state_of(row=room_row(kind="private"))
    private.require_reader("u_ann", AT_MS)
    with pytest.raises(Refused) as refused:
        private.require_reader("u_eve", AT_MS)
    assert refused.value.code is ErrorCode.ROOM_NOT_FOUND


def test_a_new_member_reads_from_the_head_on() -> None:
    """So that what was said before is not unread."""
    state = state_of(log_of(2))
    made = state.admit("u_eve", "Eve", AT_MS + 5)
    assert made == ("u_eve", "Eve", "member", AT_MS + 5, 2)
    assert state.roster.role_of("u_eve") == "member"
    assert state.admit("u_eve", "Eve", AT_MS + 9) is None


def test_a_member_under_a_new_name_keeps_the_rest() -> None:
    """Role, time and read pointer stay."""
    state = state_of(log_of(2))
    assert state.admit("u_owner", "Boss", AT_MS + 9) == ("u_owner", "Boss", "owner", AT_MS, 0)
    assert state.roster.role_of("u_owner") == "owner"


def test_a_private_room_admits_nobody_by_itself() -> None:
    """Joining it takes an invitation; its members are there already."""
    state = state_of(row=room_row(kind="private"))
    assert state.admit("u_ann", "u_ann", AT_MS) is None
    with pytest.raises(Refused) as refused:
        state.admit("u_eve", "eve", AT_MS)
    assert refused.value.code is ErrorCode.ROOM_NOT_FOUND


def test_a_full_room_admits_nobody() -> None:
    """`room_full`; who leaves makes room."""
    state = state_of(members_max=3)
    with pytest.raises(Refused) as refused:
        state.admit("u_eve", "eve", AT_MS)
    assert refused.value.code is ErrorCode.ROOM_FULL
    state.remove("u_bob", AT_MS)
    assert state.admit("u_eve", "eve", AT_MS) is not None


def test_members_leave_and_owners_stay() -> None:
    """Who is no member cannot leave either."""
    state = state_of()
    assert state.remove("u_ann", AT_MS).user_id == "u_ann"
    assert state.roster.role_of("u_ann") is None
    for user, code in (("u_ann", ErrorCode.NOT_MEMBER), ("u_owner", ErrorCode.FORBIDDEN)):
        with pytest.raises(Refused) as refused:
            state.remove(user, AT_MS)
        assert refused.value.code is code
    assert set(state.members) == {"u_bob", "u_owner"}


# -- slow mode -------------------------------------------------------------------------------------------


def slow_state(role: Role = "member") -> RoomState:
    """A room that takes one message in 2 s, and its only other member."""
    return state_of(row=room_row(slow_s=2), members=[member("u_ann", role), member("u_bob")])


def test_slow_mode_says_how_long_to_wait() -> None:
    """And who has waited so long gets through."""
    state = slow_state()
    send(state, "1")
    with pytest.raises(Refused) as refused:
        send(state, "2", now_ms=AT_MS + 500)
    assert refused.value.code is ErrorCode.SLOW_MODE
    assert refused.value.retry_after_s == pytest.approx(1.5)
    assert state.head_seq == 1
    send(state, "2", now_ms=AT_MS + 2000)
    send(state, "1", by="u_bob", now_ms=AT_MS + 2000)
    assert state.head_seq == 3


@pytest.mark.parametrize("role", ["owner", "moderator"])
def test_slow_mode_is_for_members_without_a_role(role: Role) -> None:
    """Those who run the room may answer at once."""
    state = slow_state(role)
    send(state, "1")
    send(state, "2")
    assert state.head_seq == 2


def test_leaving_does_not_get_around_slow_mode() -> None:
    """Who leaves and joins again waits as if nothing had happened."""
    state = slow_state()
    send(state, "1")
    state.remove("u_ann", AT_MS)
    state.admit("u_ann", "ann", AT_MS + 1)
    with pytest.raises(Refused, match="one message per 2 s"):
        send(state, "2", now_ms=AT_MS + 1999)


def test_a_clock_that_is_set_back_makes_nobody_wait_for_hours() -> None:
    """Slow mode counts seconds, not dates."""
    state = slow_state()
    send(state, "1", now_ms=AT_MS)
    send(state, "2", now_ms=AT_MS - 3_600_000)
    with pytest.raises(Refused) as refused:
        send(state, "3", now_ms=AT_MS - 3_599_000)
    assert refused.value.retry_after_s == pytest.approx(1.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1500), st.booleans()), max_size=40))
def test_slow_mode_lets_through_what_a_naive_list_does(steps: list[tuple[str, int, bool]]) -> None:
    """One message in 2 s for each, whoever leaves, comes back, and talks in between."""
    members = [member(f"u_{name}") for name in "abc"]
    state = state_of(row=room_row(slow_s=2), members=members)
    said: dict[str, int] = {}
    now_ms = AT_MS
    for number, (name, wait_ms, leaves) in enumerate(steps):
        now_ms += wait_ms
        user = f"u_{name}"
        if leaves:
            state.remove(user, AT_MS)
            state.admit(user, user, now_ms)
        allowed = user not in said or now_ms - said[user] >= 2000
        if allowed:
            said[user] = now_ms
            assert isinstance(send(state, f"{number}", by=user, now_ms=now_ms), LogEntry)
        else:
            with pytest.raises(Refused):
                send(state, f"{number}", by=user, now_ms=now_ms)


# -- the tail --------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5),
    st.lists(st.one_of(st.just("order"), st.integers(0, 4)), max_size=40),
    st.booleans(),
)
def test_the_tail_never_drops_what_is_not_stored_and_shown(
    tail_events: int, steps: list[str | int], strict: bool
) -> None:
    """Nor the latest `tail_events`; and it has no hole."""
    state = state_of(row=room_row(strict=strict), tail_events=tail_events)
    for step in steps:
        progress = state.progress
        if step == "order":
            ordered(state, 1)
        elif isinstance(step, int):
            progress.durable_seq = min(progress.durable_seq + step, state.head_seq)
            if step % 2:
                state.show(progress.durable_seq)
        needed_above = state.shown_seq if strict else progress.durable_seq
        first = min(needed_above, max(0, state.head_seq - tail_events)) + 1
        kept = seqs(list(state.tail))
        assert kept == list(range(kept[0] if kept else 1, state.head_seq + 1))
        assert set(range(first, state.head_seq + 1)) <= set(kept)


def test_the_tail_is_trimmed_once_stored() -> None:
    """Memory follows what is not stored yet, not what was ever said."""
    state = state_of(tail_events=3)
    ordered(state, 10)
    assert len(state.tail) == 10
    state.progress.durable_seq = 10
    ordered(state, 1)
    assert seqs(list(state.tail)) == [9, 10, 11]


# -- strict rooms ----------------------------------------------------------------------------------------


def test_a_strict_room_shows_what_is_stored_and_told_to_be_shown() -> None:
    """Each entry once, whatever was stored meanwhile."""
    state = state_of(log_of(1), row=room_row(strict=True))
    ordered(state, 4)
    assert (state.name, state.visible_seq, state.head_seq) == ("tea", 1, 5)
    state.progress.durable_seq = 4
    assert state.visible_seq == 1
    assert seqs(state.show(3)) == [2, 3]
    assert seqs(state.show(3)) == []
    assert seqs(state.show(4)) == [4]
    assert state.visible_seq == 4
    assert seqs(state.catch_up(None, 10).entries) == [1, 2, 3, 4]
    assert seqs(state.catch_up((1, 2), 10).entries) == [3, 4]


def test_what_lies_above_a_seq_is_read_from_the_right_end() -> None:
    """Up to what is visible; nothing when nothing is new."""
    state = state_of(log_of(5))
    assert seqs(state.visible_above(3)) == [4, 5]
    assert seqs(state.visible_above(5)) == []
    assert seqs(state.visible_above(0)) == [1, 2, 3, 4, 5]


# -- catching up -----------------------------------------------------------------------------------------


def test_without_a_position_the_latest_come() -> None:
    """As many as asked for, or as the tail has."""
    state = state_of(log_of(5))
    assert state.catch_up(None, 2) == ("fresh", [entry(4), entry(5)], None)
    assert seqs(state.catch_up(None, 100).entries) == [1, 2, 3, 4, 5]
    assert state_of().catch_up(None, 10) == ("fresh", [], None)


def test_a_position_is_continued() -> None:
    """With nothing, with all that is missing, and exactly at the limit."""
    state = state_of(log_of(5))
    assert state.catch_up((1, 5), 2) == ("tail", (), None)
    assert state.catch_up((1, 3), 2) == ("tail", [entry(4), entry(5)], None)


def test_too_far_behind_is_a_gap() -> None:
    """Because of the limit, or because the tail does not reach back."""
    state = state_of(log_of(5))
    assert state.catch_up((1, 2), 2) == ("gap", [entry(4), entry(5)], None)
    short = state_of(log_of(9)[6:])
    assert short.catch_up((1, 5), 100) == ("gap", log_of(9)[6:], None)
    assert short.catch_up((1, 6), 100) == ("tail", log_of(9)[6:], None)


@pytest.mark.parametrize("epoch", [0, 1, 4, 99])
def test_who_has_nothing_needs_no_judgement(epoch: int) -> None:
    """Position 0 of any epoch: from the start, or a gap."""
    state = state_of(log_of(3), epoch=4, epochs=[(2, 1), (4, 3)])
    assert state.catch_up((epoch, 0), 10) == ("tail", log_of(3), None)
    assert state.catch_up((epoch, 0), 2).mode == "gap"


def test_what_the_last_owner_lost_is_rewound() -> None:
    """`keep` is what survived of the client's epoch; the entries follow it."""
    tail = [*log_of(3), entry(4, epoch=2), entry(5, epoch=2)]
    state = state_of(tail, epoch=2, epochs=[(1, 0), (2, 3)])
    assert state.catch_up((1, 5), 10) == ("rewind", tail[3:], 3)
    assert state.catch_up((1, 4), 1) == ("rewind", tail[4:], 3)
    assert state.catch_up((1, 3), 10) == ("tail", tail[3:], None)
    assert state.catch_up((2, 4), 10) == ("tail", tail[4:], None)


def test_each_epoch_is_judged_by_the_one_after_it() -> None:
    """Not by the present one, which may have a longer log by then."""
    tail = [*log_of(3), *(entry(seq, epoch=5) for seq in (4, 5, 6)), *(entry(seq, epoch=7) for seq in (7, 8))]
    state = state_of(tail, epoch=7, epochs=[(2, 0), (5, 3), (7, 6)])
    assert state.catch_up((2, 5), 10).keep == 3
    assert state.catch_up((4, 5), 10).keep == 3  # an epoch that wrote nothing
    assert state.catch_up((5, 8), 10).keep == 6
    assert state.catch_up((1, 2), 10).keep == 0  # epoch 2 began with an empty log
    assert state.catch_up((6, 7), 10).keep == 6


def test_positions_of_no_log_that_is_known_are_reset() -> None:
    """An epoch to come, a seq never ordered, an epoch that is forgotten."""
    tail = log_of(9)[4:]
    state = state_of(tail, epoch=9, epochs=[(7, 4), (9, 9)])
    for since in ((10, 1), (9, 10), (0, 3), (5, 4)):
        assert state.catch_up(since, 2) == ("reset", tail[-2:], None)
    # The epoch just before the oldest that is known is judged by that one.
    assert state.catch_up((6, 5), 100).keep == 4


@given(st.integers(0, 12), st.integers(0, 6), st.integers(1, 15), st.integers(1, 12))
def test_whoever_catches_up_has_the_log_or_is_told_of_a_hole(
    seq: int, epoch: int, limit: int, tail_events: int
) -> None:
    """Keep what was kept, append what came: it is the log from there on, and else the mode says so."""
    starts = [(1, 0), (3, 4), (4, 7)]
    log = [entry(n, epoch=1 if n <= 4 else 3 if n <= 7 else 4) for n in range(1, 11)]
    state = state_of(log[-tail_events:], epoch=4, epochs=starts)
    caught_up = state.catch_up((epoch, seq), limit)
    kept = {"tail": seq, "rewind": caught_up.keep}.get(caught_up.mode)
    got = seqs(caught_up.entries)
    assert len(got) <= limit
    assert got == list(range(11 - len(got), 11))
    if caught_up.mode == "tail":
        assert kept is not None
        assert got == list(range(kept + 1, 11))
    if caught_up.mode in {"gap", "reset"}:
        assert got
    survived = {1: 4, 2: 4, 3: 7, 4: 10}.get(epoch)
    if seq == 0:
        assert caught_up.mode in {"tail", "gap"}
    elif survived is None or (epoch == 4 and seq > 10):
        assert caught_up.mode == "reset"
    elif seq > survived:
        assert (caught_up.mode, caught_up.keep) == ("rewind", survived)
    else:
        assert caught_up.mode in {"tail", "gap"}


# -- what did not survive --------------------------------------------------------------------------------


def test_a_void_carries_nothing_and_frees_its_cid() -> None:
    """Its seq and ordinal stay taken; the news of it is an entry of its own."""
    state = state_of(log_of(1))
    lost, _ = ordered(state, 2)
    state.void(2)
    assert state.tail[1] == LogEntry(
        lost.room_id, 2, 1, lost.at_ms, "void", "", "", 2, None, None, None, None, None
    )
    news = state.announce_void(2, now_ms=AT_MS + 9)
    assert (news.seq, news.kind, news.data, news.n, news.cid) == (4, "void", '{"of":2}', 3, None)
    again = send(state, "new-2")
    assert isinstance(again, LogEntry)
    assert (again.seq, again.n) == (5, 4)


def test_a_void_that_has_left_the_tail_is_announced_all_the_same() -> None:
    """Those who were away hear of it by their position."""
    state = state_of(log_of(9)[5:])
    state.void(2)
    assert state.announce_void(2, now_ms=AT_MS).data == '{"of":2}'
    assert seqs(list(state.tail)) == [6, 7, 8, 9, 10]


def test_voids_that_nobody_was_told_of_are_found() -> None:
    """However the database writes JSON; those with news, and the news themselves, are not among them."""
    tail = [void_entry(3), entry(4), void_entry(5), void_entry(6, of=3), void_entry(7)]
    assert list(state_of(tail).unannounced_voids()) == [5, 7]
    assert list(state_of(log_of(3)).unannounced_voids()) == []


# -- mentions --------------------------------------------------------------------------------------------


def test_a_message_mentions_the_members_of_its_moment() -> None:
    """Who joins later, has another name now, or left, is meant from then on by what is so then."""
    state = state_of(members=[member("u_ann"), member("u_owner", "owner")])

    def mentions(cid: str) -> str | None:
        made = send(state, cid, "@bob @cat @u_ann", by="u_owner")
        assert isinstance(made, LogEntry)
        return made.data

    assert mentions("1") == '{"mentions":["u_ann"]}'
    state.admit("u_new", "Bob", AT_MS)
    assert mentions("2") == '{"mentions":["u_new","u_ann"]}'
    state.admit("u_new", "Cat", AT_MS)
    state.remove("u_ann", AT_MS)
    assert mentions("3") == '{"mentions":["u_new"]}'
    state.remove("u_new", AT_MS)
    assert mentions("4") is None
