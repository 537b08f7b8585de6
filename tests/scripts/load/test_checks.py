"""The checks: nothing is found where nothing is wrong, and everything that was planted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.client_session import ClientSession
from chat.client_state import EventAdded, OutOfOrder
from chat.codec import MSGPACK
from chat.outbound import Outbound
from scripts.load.checks import Fate, RoomChecks, Stored, stored_of
from scripts.load.record import Violation
from scripts.load.witness import Sight, Witness
from tests.scripts.load.support import event

Events = list[dict[str, object]]


def check(history: Events, seen: Events, fates: dict[str, int]) -> list[Violation]:
    """Everything wrong with a room whose clients saw those events."""
    witness = Witness("r")
    for one in seen:
        witness.see(one)
    checks = RoomChecks("r", [stored_of(one) for one in history], witness.sights, fates)
    return [*witness.violations, *checks.violations()]


def kinds(violations: list[Violation]) -> set[str]:
    """What was broken."""
    return {violation.kind for violation in violations}


def log(size: int) -> Events:
    """A log in which all is well."""
    return [event(seq) for seq in range(1, size + 1)]


def fates_of(events: Events) -> dict[str, int]:
    """Every message of it was answered `ok`."""
    return {str(one["cid"]): int(str(one["seq"])) for one in events}


@given(size=st.integers(0, 30), unknown=st.integers(0, 3), refused=st.integers(0, 3))
def test_nothing_is_found_where_nothing_is_wrong(size: int, unknown: int, refused: int) -> None:
    """Refused sends are nowhere, unanswered ones may be there or not."""
    events = log(size)
    fates = fates_of(events)
    fates.update({f"refused{number}": Fate.REFUSED for number in range(refused)})
    fates.update({f"gone{number}": Fate.UNKNOWN for number in range(unknown)})
    if events:
        fates["c1"] = Fate.UNKNOWN
    assert check(events, events, fates) == []


@given(size=st.integers(2, 30), data=st.data())
def test_whatever_is_planted_is_found(size: int, data: st.DataObject) -> None:
    """A gap, a swap, a repetition, a loss, a leak, another event: each by its name."""
    events = log(size)
    fates = fates_of(events)
    history = list(events)
    seen = list(events)
    at = data.draw(st.integers(0, size - 2))
    planted = data.draw(
        st.sampled_from(["gap", "swap", "twice", "lost", "leaked", "other", "moved", "strange"])
    )
    match planted:
        case "gap":
            fates.pop(str(history.pop(at)["cid"]))
            expected = "gap"
        case "swap":
            history[at], history[at + 1] = history[at + 1], history[at]
            expected = "gap"
        case "twice":
            history.append(event(size + 1, cid=history[at]["cid"]))
            expected = "doubled"
        case "lost":
            history.pop()
            seen.pop()
            expected = "lost"
        case "leaked":
            fates[f"c{at + 1}"] = Fate.REFUSED
            expected = "leaked"
        case "other":
            seen[at] = event(at + 1, body="something else")
            expected = "differs"
        case "moved":
            fates[f"c{at + 1}"] = size + 7
            expected = "differs"
        case _:
            fates.pop(f"c{at + 1}")
            expected = "differs"
    assert expected in kinds(check(history, seen, fates))


def test_clients_of_two_processes_must_have_seen_the_same() -> None:
    """Told with both digests."""
    one, two = Witness("r"), Witness("r")
    for number in range(1, 4):
        one.see(event(number))
        two.see(event(number, body="b" if number == 2 else f"body {number}"))
    one.merge(two.sights.items(), "worker 1")
    assert [violation.what for violation in one.violations] == ["two clients saw different events at #2"]


def test_what_an_owner_that_died_had_not_stored_may_be_replaced() -> None:
    """An event of a later epoch at the same seq is no difference."""
    seen = [event(1), event(2, body="gone"), event(2, epoch=2)]
    assert check([event(1), event(2, epoch=2)], seen, {"c1": 1, "c2": 2}) == []
    assert check([event(1), event(2, epoch=2)], list(reversed(seen)), {"c1": 1, "c2": 2}) == []


def test_what_was_seen_and_vanished_is_a_difference_only_without_a_new_owner() -> None:
    """The tail of a dead owner's log may be gone; a living one's may not."""
    assert kinds(check([event(1)], [event(1), event(2)], {"c1": 1})) == {"differs"}
    assert check([event(1), event(2, epoch=2)], [event(1), event(2), event(3)], {"c1": 1, "c2": 2}) == []


def test_an_event_that_was_taken_back_may_have_been_seen() -> None:
    """A `void` replaces it, for whoever hears of it first."""
    void = event(2, kind="void")
    for seen in ([event(2), void], [void, event(2)], [event(2)], [void]):
        assert check([event(1), void], [event(1), *seen], {"c1": 1}) == []


def test_a_later_event_may_take_back_an_earlier_one() -> None:
    """By its `of`."""
    void = event(3, kind="void", of=2)
    history = [event(1), event(2, kind="void"), void]
    assert check(history, [event(1), event(2), void], {"c1": 1}) == []


def test_evidence_is_short_and_says_how_much_there_is() -> None:
    """The first few, and the count of the rest."""
    (violation,) = check([], [], {f"c{number}": number + 1 for number in range(20)})
    assert violation.kind == "lost"
    assert "(20)" in violation.what
    assert len(violation.evidence) == 6
    assert violation.evidence[-1] == "and 15 more"


@pytest.mark.parametrize(("seqs", "found"), [([1, 2, 3], []), ([1, 3], [(1, 3)]), ([1, 2, 2], [(2, 2)])])
def test_a_client_tells_live_events_that_skip_or_repeat(
    seqs: list[int], found: list[tuple[int, int]]
) -> None:
    """Though it mends the one by asking, and the other by ignoring it."""
    updates: list[object] = []
    session = ClientSession(
        decode=MSGPACK.decode_envelope,
        encode=MSGPACK.encode,
        outbound=Outbound(),
        feed=None,
        on_update=updates.append,
        now_s=lambda: 0.0,
        wake=lambda: None,
        answer_s=10.0,
        store_s=10.0,
    )
    session.attach({"user": {"id": "u_b"}})
    session.follow("r", joining=True)
    session.collect(0.0)
    session.on_message(
        MSGPACK.encode({"t": "ok", "id": 1, "epoch": 1, "head": 0, "mode": "fresh", "events": []})
    )
    for seq in seqs:
        session.on_message(MSGPACK.encode(event(seq)))
    assert [(one.after, one.seq) for one in updates if isinstance(one, OutOfOrder)] == found
    assert isinstance(updates[0], EventAdded)


def test_a_stored_event_is_told_by_seq_sight_cid_and_author() -> None:
    """Only messages have a cid."""
    stored = stored_of(event(4))
    assert (stored.seq, stored.cid, stored.by) == (4, "c4", "u_a")
    assert stored_of(event(4, kind="void")) == Stored(4, Sight(1, 0), None, "u_a")
