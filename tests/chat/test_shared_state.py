"""Shared state: versions, compare-and-set, limits, and what happens when a change turns out void."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.shared_state import KEYS_MAX, UNDO_MAX, SharedState
from storage.model import StateRow


def put(state: SharedState, seq: int, key: str, value: str | None, if_version: int | None = None) -> int:
    """Change a key; its new version."""
    version = state.next_version(key, value, if_version)
    state.change(StateRow(key, value, version, seq), is_settled=lambda _: False)
    return version


def test_versions_rise_by_one() -> None:
    """From 1, for each key by itself."""
    state = SharedState(())
    assert [put(state, 1, "a", "1"), put(state, 2, "a", "2"), put(state, 3, "b", "3")] == [1, 2, 1]
    assert state.get("a") == StateRow("a", "2", 2, 2)
    assert len(state) == 2


@pytest.mark.parametrize(
    ("key", "if_version", "current"),
    [
        ("a", 0, {"value": {"x": 1}, "version": 4}),
        ("a", 3, {"value": {"x": 1}, "version": 4}),
        ("b", 1, {"value": None, "version": 0}),
    ],
)
def test_another_version_is_a_conflict_with_what_is_there(
    key: str, if_version: int, current: dict[str, object]
) -> None:
    """The loser can try again without asking first."""
    state = SharedState([StateRow("a", '{"x":1}', 4, 9)])
    with pytest.raises(Refused) as caught:
        put(state, 10, key, "2", if_version)
    assert (caught.value.code, caught.value.current) == (ErrorCode.CONFLICT, current)


def test_the_version_that_is_there_wins() -> None:
    """0 for a key that is not there."""
    state = SharedState([StateRow("a", "1", 4, 9)])
    assert put(state, 10, "a", "2", 4) == 5
    assert put(state, 11, "b", "2", 0) == 1


def test_a_removed_key_is_gone_and_its_versions_stay_used() -> None:
    """A key that comes back begins above every version that a removed one had, also in the next life."""
    state = SharedState([StateRow("a", "1", 4, 9)])
    assert put(state, 10, "a", None, 4) == 5
    assert state.get("a") is None
    assert put(state, 11, "a", "2", 0) == 6
    assert put(SharedState([StateRow("", None, 5, 10)]), 11, "a", "2", 0) == 6


def test_what_is_not_there_cannot_be_removed() -> None:
    """`not_found`; with a version that is not there either, a conflict."""
    with pytest.raises(Refused) as caught:
        put(SharedState(()), 1, "a", None)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_room_has_a_bounded_number_of_keys() -> None:
    """One more is refused, changing and removing one is not."""
    state = SharedState(StateRow(f"k{number}", "1", 1, number) for number in range(KEYS_MAX))
    with pytest.raises(Refused) as caught:
        put(state, 500, "more", "1")
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_REQUEST, "key")
    assert put(state, 500, "k0", "2") == 2
    put(state, 501, "k0", None)
    assert put(state, 502, "more", "1") == 4


def test_what_is_remembered_to_undo_is_bounded() -> None:
    """However long nothing is settled."""
    state = SharedState(())
    for seq in range(1, UNDO_MAX + 10):
        put(state, seq, "a", f"{seq}")
    for seq in range(UNDO_MAX + 9, 0, -1):
        state.void(seq)
    assert state.get("a") == StateRow("a", "9", 9, 9)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", None]), st.booleans()), max_size=12),
    st.randoms(use_true_random=False),
)
def test_a_void_change_never_was(steps: list[tuple[str, str | None, bool]], order: Random) -> None:
    """In whatever order they turn out void, the rest is there as if the others had not been."""
    state = SharedState(())
    rows: list[tuple[StateRow, bool]] = []
    for seq, (key, value, survives) in enumerate(steps, start=1):
        try:
            version = put(state, seq, key, value)
        except Refused:
            continue
        rows.append((StateRow(key, value, version, seq), survives))
    doomed = [row.seq for row, survives in rows if not survives]
    order.shuffle(doomed)
    for seq in doomed:
        state.void(seq)
    for key in "ab":
        last = next((row for row, survives in reversed(rows) if survives and row.key == key), None)
        assert state.get(key) == (None if last is None or last.value is None else last)
