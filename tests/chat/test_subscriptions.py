"""What a connection's limit counts, and what its end leaves behind, against a naive room."""

from hypothesis import given
from hypothesis import strategies as st

from chat.subscriptions import Subscriptions

ROOMS = [f"room-{number}" for number in range(5)]


def test_rooms_count_from_the_asking_until_they_refuse() -> None:
    """Under way or standing, both take a place; a refusal gives it back."""
    rooms = Subscriptions(lambda _: False)
    assert rooms.ask("a", 1, 2)
    assert rooms.ask("b", 2, 2)
    assert not rooms.ask("c", 3, 2)
    rooms.refused(1)
    assert rooms.asked == 1
    assert rooms.ask("c", 4, 2)
    assert sorted(rooms) == ["b", "c"]


def test_asking_again_for_a_room_takes_no_second_place() -> None:
    """A room is counted once."""
    rooms = Subscriptions(lambda _: False)
    assert rooms.ask("a", 1, 1)
    assert rooms.ask("a", 2, 1)
    assert rooms.asked == 1


def test_a_room_that_is_being_left_makes_way_and_needs_a_place_to_come_back() -> None:
    """Its own place may be taken by then."""
    standing = {"a", "b"}
    rooms = Subscriptions(standing.__contains__)
    for number, room in enumerate(sorted(standing)):
        rooms.ask(room, number, 2)
        rooms.stands(room, number)
    rooms.leave("a")
    assert rooms.ask("c", 3, 2)
    assert not rooms.ask("a", 4, 2)
    assert set(rooms) == {"a", "b", "c"}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "leave", "answer"]), st.sampled_from(ROOMS), st.integers(0, 2)),
        max_size=40,
    )
)
def test_every_room_that_delivers_is_remembered_whatever_ids_the_client_uses(
    steps: list[tuple[str, str, int]],
) -> None:
    """Rooms answer in their own time, ids are used twice: nothing that delivers is ever forgotten."""
    delivering: set[str] = set()
    pending: list[tuple[str, str, int]] = []
    rooms = Subscriptions(delivering.__contains__)
    for step, room, request_id in steps:
        if step == "ask":
            if rooms.ask(room, request_id, 3):
                pending.append((step, room, request_id))
        elif step == "leave":
            rooms.leave(room)
            pending.append((step, room, request_id))
        elif pending:
            what, where, answered = pending.pop(0)
            if what == "leave":
                delivering.discard(where)
            elif answered == 2:
                rooms.refused(answered)
            else:
                rooms.stands(where, answered)
                delivering.add(where)
        assert delivering <= set(rooms)
