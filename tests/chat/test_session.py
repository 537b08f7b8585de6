"""A session's turns: what it tells rooms, what it answers, how it ends."""

from dataclasses import replace

import pytest
import structlog
import trio

from actors import ActorDied, ActorUnavailable, MailboxFull, Normal, TooManyActors
from chat.codec import JSON, MSGPACK
from chat.errors import CloseCode, ErrorCode, Refused
from chat.protocol import AnyRequest, ok
from chat.room_messages import GovernRoom, JoinRoom, SendMessage, SubscribeRoom, UnsubscribeRoom, WatchMembers
from chat.session import ANSWERS_AT_ONCE, Session
from chat.session_state import Phase, SessionState
from chat.transport import CloseCause
from storage.model import RoomId
from tests.chat.session_kit import ANN, Kit, give, said


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (MailboxFull("full"), "busy", 0.25),
        (TooManyActors("rooms", 9), "overloaded", 5.0),
        (ActorUnavailable("room", "tea", 3.5), "unavailable", 3.5),
        (ActorUnavailable("room", "tea", None), "unavailable", 1.0),
        (ActorDied("room", "tea", Normal()), "unavailable", 1.0),
    ],
)
async def test_a_room_that_does_not_take_a_request_is_a_refusal(
    error: Exception, code: str, retry_after: float
) -> None:
    """Each reason has its code and its time to wait, and the session goes on."""
    kit = Kit()
    session = kit.session()
    kit.rooms.error = error
    requests: list[tuple[str, dict[str, object]]] = [
        ("send", {"cid": "1", "body": "x"}),
        ("join", {}),
        ("subscribe", {}),
        ("unsubscribe", {}),
        ("leave", {}),
        ("watch", {}),
    ]
    for number, (t, fields) in enumerate(requests):
        assert give(session, t, number, room="tea", **fields)
        answer = said(session)[-1]
        assert (answer["id"], answer["code"]) == (number, code)
        assert answer["retry_after"] == retry_after
    assert not session.is_closed
    assert kit.services.refused[ErrorCode(code)] == len(requests)


async def test_each_request_becomes_the_rooms_message() -> None:
    """Positions and limits are handed on, the default and the largest limit applied."""
    kit = Kit()
    session = kit.session()
    give(session, "join", 1, room="tea", since=[2, 7])
    give(session, "subscribe", 2, room="den", limit=500)
    give(session, "send", 3, room="tea", cid="c", body="b", reply_to=4, thread=5)
    give(session, "watch", 4, room="tea", limit=7)
    give(session, "unsubscribe", 5, room="den")
    give(session, "leave", 6, room="tea")
    join, subscribe, send, watch, unsubscribe, leave = [message for _, message in kit.rooms.told]
    assert isinstance(join, JoinRoom)
    assert (join.since, join.limit, join.must_exist) == ((2, 7), 50, False)
    assert isinstance(subscribe, SubscribeRoom)
    assert (subscribe.since, subscribe.limit) == (None, 100)
    assert join.request_id != subscribe.request_id
    assert isinstance(send, SendMessage)
    assert (send.cid, send.body, send.reply_to, send.thread) == ("c", "b", 4, 5)
    assert isinstance(watch, WatchMembers)
    assert watch.limit == 7
    assert isinstance(unsubscribe, UnsubscribeRoom)
    assert isinstance(leave, GovernRoom)
    assert said(session) == []


async def test_a_bug_in_a_turn_ends_this_session_alone() -> None:
    """4001 and a time to come back; the exception goes to the log, not to the transport's task."""
    kit = Kit()
    session, other = kit.session(), kit.session()
    kit.rooms.error = ZeroDivisionError()
    with structlog.testing.capture_logs() as logged:
        assert give(session, "send", room="tea", cid="1", body="x")
    assert [entry["event"] for entry in logged] == ["session.crashed"]
    assert session.ended_with == (CloseCode.INTERNAL, "internal error")
    (bye,) = said(session)
    assert (bye["t"], bye["code"], bye["retry_after"]) == ("bye", 4001, 1.0)
    kit.rooms.error = None
    give(other, "ping")
    assert said(other) == [{"t": "ok", "id": 1}]


async def test_the_first_end_counts() -> None:
    """One `bye`, one reason; what comes afterwards, from either side, changes nothing."""
    kit = Kit()
    session = kit.session(JSON)
    session.end(CloseCode.TOKEN_EXPIRED, "the token has expired", 2.0)
    session.end(CloseCode.NO_PONG, "no pong in time")
    session.on_overflow()
    give(session, "send", room="tea", cid="1", body="x")
    session.on_transport_closed(CloseCause.RESET)
    assert session.ended_with == (CloseCode.TOKEN_EXPIRED, "the token has expired")
    assert [envelope["t"] for envelope in said(session)] == ["bye"]
    assert kit.rooms.told == []
    assert len(kit.presence.called("session_closed")) == 1


@pytest.mark.parametrize(
    ("cause", "clean"), [(CloseCause.LOCAL, True), (CloseCause.RESET, False), (CloseCause.EOF, False)]
)
async def test_presence_hears_whether_somebody_left_or_was_lost(cause: CloseCause, clean: bool) -> None:
    """A connection that is closed in good order is a goodbye; any other end may be followed by a return."""
    kit = Kit()
    session = kit.session()
    session.on_transport_closed(cause)
    assert kit.presence.called("session_closed") == [{"clean": clean}]
    assert len(kit.services.ledger) == 0


async def test_who_never_said_hello_is_unknown_to_presence_and_ledger() -> None:
    """There is nothing to take back."""
    kit = Kit()
    session = kit.session(welcomed=False)
    session.on_transport_closed(CloseCause.RESET)
    assert kit.presence.calls == []


async def test_a_slow_consumer_leaves_its_rooms_at_once() -> None:
    """4002; the topic delivers to it no more."""
    kit = Kit()
    session = kit.session()
    topic = kit.services.topics.open("tea", RoomId(1))
    give(session, "subscribe", room="tea")
    kit.deliver(session, topic)
    session.on_overflow()
    assert session.ended_with is not None
    assert session.ended_with[0] is CloseCode.SLOW_CONSUMER
    assert len(topic) == 0
    assert kit.services.counts.slow_consumers == 1


async def test_a_session_that_ends_leaves_rooms_that_answered_late() -> None:
    """Also a room whose unsubscription was refused, or that was asked under an id used twice."""
    kit = Kit()
    session = kit.session()
    topics = [kit.services.topics.open(f"room-{number}", RoomId(number)) for number in range(3)]
    for number in range(3):
        give(session, "subscribe", 7, room=f"room-{number}")
    tickets = kit.asked()
    for ticket, topic in zip(tickets, topics, strict=True):
        session.reply_events(ok(ticket, room=topic.room, mode="fresh"), [])
        topic.add(session)
    session.refuse(Refused(ErrorCode.ROOM_NOT_FOUND, "somebody else's", request_id=7))
    kit.rooms.error = MailboxFull("full")
    give(session, "unsubscribe", room="room-0")
    session.end(CloseCode.SHUTDOWN, "the server is stopping")
    assert [len(topic) for topic in topics] == [0, 0, 0]


async def test_refused_subscriptions_do_not_count() -> None:
    """Three at most: those under way and those that stand, not those that a room refused."""
    kit = Kit()
    session = kit.session()
    for number in range(5):
        give(session, "subscribe", number, room=f"nowhere-{number}")
        ticket = kit.asked()[-1]
        session.refuse(Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room", request_id=ticket))
        assert said(session)[-1]["id"] == number
    for number in range(10, 13):
        give(session, "subscribe", number, room=f"room-{number}")
    assert len(kit.rooms.told) == 8
    give(session, "join", 13, room="one-more")
    answer = said(session)[-1]
    assert (answer["id"], answer["code"]) == (13, "forbidden")
    assert len(kit.rooms.told) == 8


async def test_a_room_that_is_being_left_makes_way_for_the_next() -> None:
    """Unsubscribing and subscribing in one breath works at the limit, too; a leave may be refused."""
    kit = Kit()
    session = kit.session()
    for number in range(3):
        give(session, "subscribe", number, room=f"room-{number}")
        kit.deliver(session, kit.services.topics.open(f"room-{number}", RoomId(number)))
    give(session, "unsubscribe", 5, room="room-1")
    give(session, "subscribe", 6, room="room-9")
    give(session, "subscribe", 7, room="room-1")
    errors = [envelope["id"] for envelope in said(session) if envelope["t"] == "error"]
    assert errors == [7]


async def test_rooms_answer_to_a_number_of_ours_and_clients_hear_their_own() -> None:
    """Whatever ids a client uses, also one twice: each answer has its request's, and none gets lost."""
    kit = Kit()
    session = kit.session()
    for room in ("tea", "den", "attic"):
        give(session, "subscribe", 7, room=room)
    first, second, third = kit.asked()
    assert len({first, second, third}) == 3
    session.reply_events(ok(second, room="den", mode="fresh"), [])
    session.refuse(Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room", request_id=first))
    session.refuse(Refused(ErrorCode.NOT_MEMBER, "somebody else's", request_id=7))
    assert [(answer["t"], answer["id"]) for answer in said(session)] == [
        ("ok", 7),
        ("error", 7),
        ("error", 7),
    ]
    session.end(CloseCode.SHUTDOWN, "the server is stopping")
    session.reply_events(ok(third, room="attic", mode="fresh"), [])
    assert said(session)[-1]["t"] == "bye"


async def test_a_room_that_could_not_be_told_takes_no_place() -> None:
    """Its mailbox was full: three others fit."""
    kit = Kit()
    session = kit.session()
    kit.rooms.error = MailboxFull("full")
    for number in range(5):
        give(session, "join", number, room=f"busy-{number}")
    kit.rooms.error = None
    for number in range(5, 8):
        give(session, "join", number, room=f"room-{number}")
    assert len(kit.asked()) == 3


async def test_joins_wait_for_better_times_at_the_highest_pressure() -> None:
    """`overloaded` for `join`; reading on and sending are served."""
    kit = Kit()
    session = kit.session()
    kit.level = 4
    give(session, "join", 1, room="tea")
    give(session, "subscribe", 2, room="tea")
    give(session, "send", 3, room="tea", cid="1", body="x")
    (answer,) = said(session)
    assert (answer["id"], answer["code"], answer["retry_after"]) == (1, "overloaded", 5.0)
    assert len(kit.rooms.told) == 2


async def test_events_that_would_fill_the_outbox_are_left_out_and_told_as_a_gap() -> None:
    """The newest that fit in a sixteenth of it are sent; a `rewind` stays one."""
    kit = Kit(outbox_bytes=16 * 1000)
    session = kit.session()
    events = [MSGPACK.encode({"seq": seq, "body": "x" * 280}) for seq in range(1, 11)]
    for mode, told in (("tail", "gap"), ("fresh", "fresh"), ("rewind", "rewind")):
        give(session, "subscribe", 1, room="tea")
        session.reply_events(ok(kit.asked()[-1], room="tea", mode=mode), events)
        answer = said(session)[-1]
        assert answer["mode"] == told
        listed = answer["events"]
        assert isinstance(listed, list)
        assert [event["seq"] for event in listed] == [8, 9, 10]
    give(session, "subscribe", 1, room="tea")
    session.reply_events(ok(kit.asked()[-1], room="tea", mode="tail"), events[:2])
    assert said(session)[-1]["mode"] == "tail"


# -- what waits ------------------------------------------------------------------------------------------


class Desk:
    """Finishes requests when told to; stands for `SessionDesk.finish`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.finished: list[int] = []
        self.go = trio.Event()

    async def finish(self, session: Session, request: AnyRequest) -> None:
        """Wait for `go`, then answer or raise."""
        await self.go.wait()
        self.finished.append(request.id)
        if self.error is not None:
            raise self.error
        session.reply(ok(request.id))


async def test_a_full_mailbox_stops_the_reading_until_the_worker_has_emptied_it() -> None:
    """The ninth request's call says "no more"; afterwards everything is answered in order."""
    kit = Kit(mailbox=8)
    session = kit.session()
    desk = Desk()
    async with trio.open_nursery() as nursery:
        session.start_worker = lambda line: nursery.start_soon(session.work, line, desk.finish)
        assert give(session, "rooms", 0)
        await trio.testing.wait_all_tasks_blocked()
        takes = [give(session, "rooms", number) for number in range(1, 9)]
        assert [*takes, session.is_paused] == [*[True] * 7, False, True]
        nursery.start_soon(session.wait_resumed)
        await trio.testing.wait_all_tasks_blocked()
        desk.go.set()
    assert not session.is_paused
    assert [envelope["id"] for envelope in said(session)] == list(range(9))


async def test_what_needs_no_waiting_overtakes_a_list_but_not_a_hello() -> None:
    """Sends go past a page that is being read; behind a `hello` everything stays in line."""
    kit = Kit()
    listing, greeting = kit.session(), kit.session(welcomed=False)
    desk = Desk()
    async with trio.open_nursery() as nursery:
        listing.start_worker = lambda line: nursery.start_soon(listing.work, line, desk.finish)
        greeting.start_worker = lambda line: nursery.start_soon(greeting.work, line, desk.finish)
        give(listing, "rooms", 1)
        give(listing, "ping", 2)
        give(greeting, "hello", 1, token="pt_x")
        give(greeting, "ping", 2)
        assert greeting.state.phase is Phase.GREETING
        assert [envelope["id"] for envelope in said(listing)] == [2]
        assert said(greeting) == []
        desk.go.set()
    assert [envelope["id"] for envelope in said(listing)] == [2, 1]
    assert [envelope["id"] for envelope in said(greeting)] == [1, 2]


async def test_a_refusal_at_the_desk_is_answered_with_the_requests_id() -> None:
    """Whoever refuses need not know the id."""
    kit = Kit()
    session = kit.session()
    desk = Desk(Refused(ErrorCode.TIMEOUT, "no answer in time", retry_after_s=1.0))
    desk.go.set()
    async with trio.open_nursery() as nursery:
        session.start_worker = lambda line: nursery.start_soon(session.work, line, desk.finish)
        give(session, "rooms", 42)
    (answer,) = said(session)
    assert (answer["id"], answer["code"]) == (42, "timeout")


async def test_a_bug_at_the_desk_ends_this_session_and_leaves_the_rest_undone() -> None:
    """4001; what waited behind it is not worked on."""
    kit = Kit()
    session = kit.session()
    desk = Desk(ZeroDivisionError())
    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            session.start_worker = lambda line: nursery.start_soon(session.work, line, desk.finish)
            for number in range(3):
                give(session, "rooms", number)
            desk.go.set()
    assert desk.finished == [0]
    assert session.ended_with == (CloseCode.INTERNAL, "internal error")
    assert [entry["event"] for entry in logged] == ["session.crashed"]


async def test_an_end_wakes_whoever_waits_for_the_session() -> None:
    """Nobody waits for a connection that is gone."""
    kit = Kit(mailbox=8)
    session = kit.session()
    desk = Desk()
    async with trio.open_nursery() as nursery:
        session.start_worker = lambda line: nursery.start_soon(session.work, line, desk.finish)
        for number in range(9):
            give(session, "rooms", number)
        nursery.start_soon(session.wait_resumed)
        await trio.testing.wait_all_tasks_blocked()
        session.end(CloseCode.SHUTDOWN, "the server is stopping")
        desk.go.set()


async def test_an_answer_waits_until_the_client_has_read_what_is_queued() -> None:
    """Above a quarter of the outbox nothing long is added; the end of the session ends the waiting."""
    kit = Kit(outbox_bytes=4000)
    session = kit.session()
    session.outbox.push(b"x" * 1001)
    with trio.move_on_after(0) as scope:
        await session.wait_uncrowded()
    assert scope.cancelled_caught
    session.end(CloseCode.SHUTDOWN, "the server is stopping")
    await session.wait_uncrowded()


async def test_everybody_who_waits_for_room_in_the_outbox_is_woken() -> None:
    """A page and a subscription wait at the same time; one answer of a room lets both look again."""
    kit = Kit()
    session = kit.session()
    session.state = SessionState(replace(kit.services.limits, subscriptions=100))
    session.state.phase = Phase.READY
    for number in range(ANSWERS_AT_ONCE):
        give(session, "subscribe", number, room=f"room-{number}")
    assert session.crowded
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.wait_uncrowded)
            nursery.start_soon(session.wait_uncrowded)
            await trio.testing.wait_all_tasks_blocked()
            session.reply_events(ok(kit.asked()[0], room="room-0", mode="fresh"), [])


async def test_a_user_has_so_many_sessions() -> None:
    """The third of two is refused and counts for nothing; an end makes room."""
    kit = Kit()
    first, _second = kit.session(), kit.session()
    third = kit.session(welcomed=False)
    with pytest.raises(Refused) as caught:
        third.greet(ANN, None)
    assert caught.value.code is ErrorCode.FORBIDDEN
    assert third.principal is None
    first.detach(clean=True)
    third.greet(ANN, 123)
    assert (third.user_id, third.name, third.expires_at_ms) == ("u_ann", "ann", 123)


async def test_the_limits_are_told_with_the_time_to_wait() -> None:
    """Every frame counts; above the rate even what is wrong is `rate_limited` or worse, by id."""
    kit = Kit(rate_limits=True)
    session = kit.session()
    for number in range(4):
        give(session, "ping", number)
    answers = said(session)
    assert [answer["t"] for answer in answers] == ["ok", "ok", "error", "error"]
    assert answers[2]["code"] == "rate_limited"
    assert answers[2]["retry_after"] == pytest.approx(1.0, abs=0.1)
    assert kit.services.counts.frames_in == 4
