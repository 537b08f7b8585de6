"""What a connection's limit counts, and what its end leaves behind, against a naive room."""

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from chat.subscriptions import Subscriptions

ROOMS = [f"room-{number}" for number in range(5)]


def standing(rooms: Subscriptions, delivering: set[str], *names: str, limit: int = 10) -> None:
    """Have rooms answer and deliver."""
    for name in names:
        ticket = rooms.ask(name, 1, limit)
        assert ticket is not None
        assert rooms.stands(ticket) == 1
        delivering.add(name)


def test_rooms_count_from_the_asking_until_they_refuse() -> None:
    """Under way or standing, both take a place; a refusal gives it back, under the client's id."""
    rooms = Subscriptions(lambda _: False)
    first = rooms.ask("a", 1, 2)
    assert first is not None
    assert rooms.ask("b", 2, 2)
    assert rooms.ask("c", 3, 2) is None
    assert not rooms.has_place("c", 2)
    assert rooms.refused(first) == 1
    assert rooms.asked == 1
    assert rooms.ask("c", 4, 2)
    assert sorted(rooms) == ["b", "c"]


def test_asking_again_for_a_room_takes_no_second_place() -> None:
    """A room is counted once, and every question for it is counted."""
    rooms = Subscriptions(lambda _: False)
    assert rooms.ask("a", 1, 1)
    assert "a" in rooms
    assert rooms.ask("a", 2, 1)
    assert rooms.asked == 2


def test_a_refusal_of_another_request_gives_no_place_back() -> None:
    """Ids are the client's: one used twice, or for something else, moves nothing."""
    rooms = Subscriptions(lambda _: False)
    for room in ("a", "b"):
        assert rooms.ask(room, 1, 2)
    assert rooms.refused(1) == 1
    assert rooms.refused(None) is None
    assert rooms.ask("c", 1, 2) is None
    assert sorted(rooms) == ["a", "b"]


def test_a_room_that_is_being_left_makes_way_and_needs_a_place_to_come_back() -> None:
    """Its own place may be taken by then."""
    delivering: set[str] = set()
    rooms = Subscriptions(delivering.__contains__)
    standing(rooms, delivering, "a", "b")
    rooms.leave("a", 3)
    assert rooms.ask("c", 3, 2)
    assert rooms.ask("a", 4, 2) is None
    assert set(rooms) == {"a", "b", "c"}


def test_a_leave_that_is_refused_makes_no_way() -> None:
    """The room delivers on, and counts again."""
    delivering: set[str] = set()
    rooms = Subscriptions(delivering.__contains__)
    standing(rooms, delivering, "a", "b")
    rooms.leave("a", 3)
    assert rooms.refused(3) == 3
    assert rooms.ask("c", 4, 2) is None


def test_a_room_that_has_more_to_answer_makes_no_way() -> None:
    """It would deliver again after its place was taken."""
    delivering: set[str] = set()
    rooms = Subscriptions(delivering.__contains__)
    standing(rooms, delivering, "a", "b")
    assert rooms.ask("a", 3, 2)
    rooms.leave("a", 4)
    assert rooms.ask("c", 5, 2) is None


def test_two_leaves_under_one_id_make_way_once() -> None:
    """A refusal could not tell them apart."""
    delivering: set[str] = set()
    rooms = Subscriptions(delivering.__contains__)
    standing(rooms, delivering, "a", "b")
    rooms.leave("a", 3)
    rooms.leave("b", 3)
    assert rooms.ask("c", 4, 2)
    assert rooms.ask("d", 5, 2) is None


def test_leaving_what_was_never_asked_for_leaves_no_trace() -> None:
    """Any number of names costs nothing and makes no way."""
    delivering: set[str] = set()
    rooms = Subscriptions(delivering.__contains__)
    standing(rooms, delivering, "a", "b")
    for number in range(300):
        rooms.leave(f"nowhere-{number}", number)
    assert set(rooms) == {"a", "b"}
    assert rooms.ask("c", 4, 2) is None


def test_a_room_that_delivers_no_more_is_forgotten_when_it_is_left() -> None:
    """Somebody else may have ended it."""
    rooms = Subscriptions(lambda _: False)
    ticket = rooms.ask("a", 1, 1)
    rooms.stands(ticket)
    rooms.leave("a", 2)
    assert "a" not in rooms


def test_what_is_answered_after_the_end_is_nobodys() -> None:
    """Everything is forgotten at once."""
    rooms = Subscriptions(lambda _: True)
    ticket = rooms.ask("a", 1, 1)
    rooms.clear()
    assert list(rooms) == []
    assert rooms.stands(ticket) is None
    assert rooms.refused(ticket) is None


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "unsubscribe", "crash", "answer"]),
            st.sampled_from(ROOMS),
            st.integers(0, 2),
        ),
        max_size=60,
    )
)
def test_no_more_than_the_limit_ever_deliver_for_long_and_none_is_forgotten(
    steps: Collection[tuple[str, str, int]],
) -> None:
    """Rooms answer in order, in their own time, ids are used twice, and the limit holds.

    A room that was told to end may still deliver for the moment; a crash may keep it from hearing.
    """
    limit = 3
    crashed = 0
    delivering: set[str] = set()
    mailboxes: dict[str, list[tuple[str, int, int | None]]] = {room: [] for room in ROOMS}
    rooms = Subscriptions(delivering.__contains__)
    for step, room, number in steps:
        mailbox = mailboxes[room]
        if step == "ask":
            ticket = rooms.ask(room, number, limit)
            if ticket is not None:
                mailbox.append((step, number, ticket))
        elif step == "unsubscribe":
            rooms.leave(room, number)
            mailbox.append((step, number, None))
        elif mailbox:
            what, request_id, ticket = mailbox.pop(0)
            if what == "unsubscribe":
                if step == "crash":
                    crashed += 1
                    assert rooms.refused(request_id) == request_id
                else:
                    delivering.discard(room)
            elif number == 2 or step == "crash":
                assert rooms.refused(ticket) == request_id
            else:
                assert rooms.stands(ticket) == request_id
                delivering.add(room)
        assert delivering <= set(rooms)
        ending = {
            name for name, mailbox in mailboxes.items() if any(what == "unsubscribe" for what, *_ in mailbox)
        }
        assert len(delivering - ending) <= limit + crashed
