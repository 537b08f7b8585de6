"""Who may change what, and what a message has become: edits, deletions, reactions, pins."""

import json
from collections.abc import Sequence

import pytest

from chat.errors import ErrorCode, Refused
from chat.protocol import EMOJIS_MAX, Change, Delete, Edit, Pin, React, SetState
from chat.room_changes import Done, LookUp, order_change
from chat.room_state import Known, RoomState
from storage.model import FoldedMessage, FoldedPage, LogEntry, ReactionCount, RoomKind
from tests.chat.room_kit import AT_MS, ROOM_ID, entry, member, room_row, state_of

PEOPLE = (member("u_ann"), member("u_bob"), member("u_mod", "moderator"), member("u_owner", "owner"))


def room(
    count: int = 2,
    *,
    tail: Sequence[LogEntry] | None = None,
    kind: RoomKind = "public",
    tail_events: int = 100,
) -> RoomState:
    """A room in which ann has said so much."""
    log = [entry(seq) for seq in range(1, count + 1)] if tail is None else tail
    return state_of(log, row=room_row(kind=kind), members=PEOPLE, tail_events=tail_events)


def change(
    state: RoomState, request: Change, by: str = "u_ann", *, stored: FoldedPage | None = None
) -> LogEntry | Known | Done | LookUp:
    """Ask for a change."""
    value = json.dumps(request.value) if isinstance(request, SetState) and request.value is not None else None
    return order_change(state, request, by=by, name=by, now_ms=AT_MS + 99, value=value, stored=stored)


def made(
    state: RoomState, request: Change, by: str = "u_ann", *, stored: FoldedPage | None = None
) -> LogEntry:
    """Ask for a change that is an event."""
    found = change(state, request, by, stored=stored)
    assert isinstance(found, LogEntry), found
    return found


def refused(
    state: RoomState, request: Change, by: str = "u_ann", *, stored: FoldedPage | None = None
) -> Refused:
    """Ask for a change that is refused, and leaves the log alone."""
    head = state.head_seq
    with pytest.raises(Refused) as caught:
        change(state, request, by, stored=stored)
    assert state.head_seq == head
    return caught.value


def edit(seq: int, body: str = "new", *, if_version: int | None = None, cid: str | None = None) -> Edit:
    """An edit."""
    return Edit(id=1, room="tea", seq=seq, body=body, if_version=if_version, cid=cid)


def delete(seq: int, *, cid: str | None = None) -> Delete:
    """A deletion."""
    return Delete(id=1, room="tea", seq=seq, cid=cid)


def react(seq: int, emoji: str = "👍", *, remove: bool = False, cid: str | None = None) -> React:
    """A reaction."""
    return React(id=1, room="tea", seq=seq, emoji=emoji, remove=remove, cid=cid)


def pin(seq: int, *, remove: bool = False) -> Pin:
    """A pin."""
    return Pin(id=1, room="tea", seq=seq, remove=remove)


def put(key: str, value: object, *, if_version: int | None = None, cid: str | None = None) -> SetState:
    """A value."""
    return SetState(id=1, room="tea", key=key, value=value, if_version=if_version, cid=cid)


# -- events ----------------------------------------------------------------------------------------------


def test_a_change_is_the_rooms_next_event() -> None:
    """With its own key, the ordinal of the last message, and what it is about."""
    state = room()
    made_now = made(state, edit(1, "better", cid="k"))
    assert made_now == LogEntry(
        ROOM_ID,
        3,
        1,
        AT_MS + 99,
        "edit",
        "u_ann",
        "u_ann",
        2,
        "k",
        "better",
        None,
        None,
        '{"of":1,"version":2}',
    )
    assert made(state, edit(1)).data == '{"of":1,"version":3}'
    assert made(state, react(1), "u_bob").data == '{"of":1,"emoji":"👍"}'
    assert made(state, react(1, remove=True), "u_bob").data == '{"of":1,"emoji":"👍","remove":true}'
    assert made(state, pin(1), "u_mod").data == '{"of":1}'
    assert made(state, pin(1, remove=True), "u_owner").data == '{"of":1,"remove":true}'
    assert made(state, put("k", [1])).data == '{"key":"k","value":[1],"version":1}'
    assert made(state, put("k", None)).data == '{"key":"k","value":null,"version":2}'
    last = made(state, Delete(id=1, room="tea", seq=1, reason="spam"), "u_mod")
    assert (last.kind, last.body, last.data) == ("delete", None, '{"of":1,"reason":"spam"}')


def test_an_edit_may_mention_people() -> None:
    """As a message does."""
    assert made(room(), edit(1, "@u_bob @here")).data == (
        '{"of":1,"version":2,"mentions":["u_bob"],"here":true}'
    )


# -- who may ---------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Change, str, ErrorCode]] = {
    "edit by an outsider": (edit(1), "u_eve", ErrorCode.NOT_MEMBER),
    "delete by an outsider": (delete(1), "u_eve", ErrorCode.NOT_MEMBER),
    "react by an outsider": (react(1), "u_eve", ErrorCode.NOT_MEMBER),
    "pin by an outsider": (pin(1), "u_eve", ErrorCode.NOT_MEMBER),
    "set by an outsider": (put("k", 1), "u_eve", ErrorCode.NOT_MEMBER),
    "edit of another's": (edit(1), "u_bob", ErrorCode.FORBIDDEN),
    "edit by the owner": (edit(1), "u_owner", ErrorCode.FORBIDDEN),
    "delete of another's": (delete(1), "u_bob", ErrorCode.FORBIDDEN),
    "pin by a member": (pin(1), "u_ann", ErrorCode.FORBIDDEN),
    "unknown seq: edit": (edit(99), "u_ann", ErrorCode.NOT_FOUND),
    "unknown seq: delete": (delete(99), "u_ann", ErrorCode.NOT_FOUND),
    "unknown seq: react": (react(99), "u_ann", ErrorCode.NOT_FOUND),
    "unknown seq: pin": (pin(99), "u_mod", ErrorCode.NOT_FOUND),
    "seq 0": (edit(0), "u_ann", ErrorCode.NOT_FOUND),
    "no message: edit": (edit(3), "u_ann", ErrorCode.NOT_FOUND),
    "no message: react": (react(3), "u_ann", ErrorCode.NOT_FOUND),
    "deleted: edit": (edit(2), "u_ann", ErrorCode.NOT_FOUND),
    "deleted: react": (react(2), "u_ann", ErrorCode.NOT_FOUND),
    "deleted: pin": (pin(2), "u_mod", ErrorCode.NOT_FOUND),
    "no such reaction": (react(1, remove=True), "u_ann", ErrorCode.NOT_FOUND),
    "not pinned": (pin(1, remove=True), "u_mod", ErrorCode.NOT_FOUND),
    "nothing to remove": (put("k", None), "u_ann", ErrorCode.NOT_FOUND),
    "another version: edit": (edit(1, if_version=2), "u_ann", ErrorCode.CONFLICT),
    "another version: set": (put("k", 1, if_version=2), "u_ann", ErrorCode.CONFLICT),
}


@pytest.mark.parametrize(("request_", "by", "code"), REFUSALS.values(), ids=REFUSALS)
def test_what_may_not_be_is_refused(request_: Change, by: str, code: ErrorCode) -> None:
    """And the log stays as it was."""
    state = room()
    made(state, delete(2))
    assert refused(state, request_, by).code is code


def test_a_private_room_does_not_exist_for_outsiders() -> None:
    """Whatever they ask of it."""
    for request in (edit(1), delete(1), react(1), pin(1), put("k", 1)):
        assert refused(room(kind="private"), request, "u_eve").code is ErrorCode.ROOM_NOT_FOUND


@pytest.mark.parametrize("by", ["u_ann", "u_mod", "u_owner"])
def test_its_author_and_moderators_delete_a_message(by: str) -> None:
    """And nobody else, see above."""
    assert made(room(), delete(1), by).kind == "delete"


def test_anybody_pins_in_a_direct_room() -> None:
    """There is no moderator in it."""
    assert made(room(kind="direct"), pin(1), "u_bob").kind == "pin"


def test_an_edit_that_comes_too_late_hears_what_is_there() -> None:
    """The present text and version."""
    state = room()
    made(state, edit(1, "first", if_version=1))
    assert refused(state, edit(1, "second", if_version=1)).current == {"value": "first", "version": 2}
    assert made(state, edit(1, "second", if_version=2)).data == '{"of":1,"version":3}'


# -- once is enough --------------------------------------------------------------------------------------


def test_doing_it_again_is_no_event() -> None:
    """Each user has each emoji once on a message; a pin and a deletion are there or not."""
    state = room()
    first = made(state, react(1), "u_bob")
    assert change(state, react(1), "u_bob") == Done(first.seq)
    assert made(state, react(1), "u_ann").seq == first.seq + 1
    pinned = made(state, pin(1), "u_mod")
    assert change(state, pin(1), "u_owner") == Done(pinned.seq)
    gone = made(state, delete(1))
    assert change(state, delete(1), "u_mod") == Done(gone.seq)


def test_a_key_is_known_again() -> None:
    """The same request finds its event; another one is a conflict."""
    state = room()
    requests: list[Change] = [edit(1, cid="e"), react(1, cid="r"), put("k", {"a": 1}, if_version=0, cid="s")]
    for request in requests:
        first = made(state, request)
        assert change(state, request) == Known(first)
    gone = made(state, delete(1, cid="d"))
    assert change(state, delete(1, cid="d")) == Known(gone)
    others: list[Change] = [
        react(1, "🎉", cid="r"),
        react(1, remove=True, cid="r"),
        delete(2, cid="d"),
        put("k", 2, cid="s"),
        put("l", {"a": 1}, cid="s"),
        edit(1, cid="r"),
        edit(1, "other", cid="r"),
    ]
    for other in others:
        assert refused(state, other).code is ErrorCode.CID_CONFLICT


def test_a_message_under_the_key_of_a_change_is_a_conflict() -> None:
    """One key, one event."""
    state = room()
    made(state, react(1, cid="k"))
    with pytest.raises(Refused) as caught:
        state.order_message(
            by="u_ann", name="ann", cid="k", body="x", reply_to=None, thread=None, now_ms=AT_MS
        )
    assert caught.value.code is ErrorCode.CID_CONFLICT


# -- limits ----------------------------------------------------------------------------------------------


def test_a_message_takes_twenty_different_emoji() -> None:
    """The twenty-first is refused; one that is there already is not, and one taken back makes room."""
    state = room()
    for number in range(EMOJIS_MAX):
        made(state, react(1, f"e{number}"))
    caught = refused(state, react(1, "more"), "u_bob")
    assert (caught.code, caught.field) == (ErrorCode.BAD_REQUEST, "emoji")
    made(state, react(1, "e3"), "u_bob")
    made(state, react(1, "e3", remove=True))
    assert refused(state, react(1, "more")).code is ErrorCode.BAD_REQUEST
    made(state, react(1, "e3", remove=True), "u_bob")
    made(state, react(1, "more"))


# -- deletion --------------------------------------------------------------------------------------------


def test_an_erased_text_is_shown_to_nobody() -> None:
    """Neither the message's nor its edits', to who subscribes when the deletion is stored; others stay."""
    state = room()
    made(state, edit(1, "better"))
    made(state, edit(2, "other"))
    gone = made(state, delete(1))
    shown = state.catch_up(None, 50).entries
    assert [one.body for one in shown] == ["body 1", "body 2", "better", "other", None], "not stored yet"
    state.progress.durable_seq = gone.seq
    shown = state.catch_up(None, 50).entries
    assert [one.body for one in shown] == [None, "body 2", None, "other", None]
    assert [one.kind for one in shown] == ["message", "message", "edit", "edit", "delete"]


def test_a_deletion_that_turns_out_void_gives_the_text_back() -> None:
    """It is as if nobody had asked for it: the message can be edited."""
    state = room()
    gone = made(state, delete(1))
    state.progress.durable_seq = gone.seq
    state.progress.unsettled.add(gone.seq)
    assert state.catch_up(None, 50).entries[0].body == "body 1"
    state.void(gone.seq)
    state.progress.unsettled.clear()
    assert state.catch_up(None, 50).entries[0].body == "body 1"
    assert made(state, edit(1)).data == '{"of":1,"version":2}'


def test_an_edit_that_turns_out_void_takes_its_version_back() -> None:
    """The one before it is the present again."""
    state = room()
    made(state, edit(1, "a"))
    void = made(state, edit(1, "b"))
    state.void(void.seq)
    assert refused(state, edit(1, if_version=1)).current == {"value": "a", "version": 2}


def test_a_reaction_that_turns_out_void_may_be_given_again() -> None:
    """Nobody has it."""
    state = room()
    state.void(made(state, react(1)).seq)
    assert made(state, react(1)).kind == "react"


def test_a_value_that_turns_out_void_is_the_one_before() -> None:
    """With its version."""
    state = room()
    made(state, put("k", 1))
    state.void(made(state, put("k", 2)).seq)
    assert refused(state, put("k", 3, if_version=2)).current == {"value": 1, "version": 1}


# -- what the room does not remember ---------------------------------------------------------------------


def folded(seq: int, **fields: object) -> FoldedMessage:
    """What storage says of one of ann's messages."""
    plain = FoldedMessage(seq, "message", "u_ann", "stored", 1, None, None, None, None, 0, None, ())
    return plain._replace(**fields)  # type: ignore[arg-type]


def old_room(tail_from: int = 11, head: int = 20) -> RoomState:
    """A room that remembers its latest events only."""
    return room(tail=[entry(seq) for seq in range(tail_from, head + 1)], tail_events=head - tail_from + 1)


def test_of_an_older_message_storage_is_asked() -> None:
    """Without an answer nothing is decided."""
    assert change(old_room(), edit(1)) == LookUp(1)
    assert made(old_room(), edit(11)).kind == "edit"


@pytest.mark.parametrize("durable_seq", [10, 15, 20])
def test_what_storage_says_is_taken(durable_seq: int) -> None:
    """As long as the tail goes on where it ends."""
    page = FoldedPage(durable_seq, {1: folded(1, version=7)})
    assert made(old_room(), edit(1), stored=page).data == '{"of":1,"version":8}'
    assert refused(old_room(), edit(1), "u_bob", stored=page).code is ErrorCode.FORBIDDEN
    assert refused(old_room(), edit(2), stored=page).code is ErrorCode.NOT_FOUND
    gone = FoldedPage(durable_seq, {1: folded(1, body=None, delete_seq=5)})
    assert refused(old_room(), edit(1), stored=gone).code is ErrorCode.NOT_FOUND
    assert change(old_room(), delete(1), stored=gone) == Done(5)
    void = FoldedPage(durable_seq, {1: folded(1, kind="void")})
    assert refused(old_room(), delete(1), stored=void).code is ErrorCode.NOT_FOUND


def test_what_storage_says_may_be_too_old() -> None:
    """Nobody knows what happened in between: ask again."""
    caught = refused(old_room(), edit(1), stored=FoldedPage(9, {1: folded(1)}))
    assert (caught.code, caught.code.temporary) == (ErrorCode.BUSY, True)


def test_the_room_knows_better_what_came_since() -> None:
    """Its own events above what storage has seen count, those below do not count twice."""
    state = old_room()
    page = FoldedPage(20, {1: folded(1, reactions=[ReactionCount("👍", 2, None)])})
    reacted = made(state, react(1), stored=page)
    assert change(state, react(1), stored=page) == Done(reacted.seq)
    assert made(state, edit(1, "a"), stored=page).data == '{"of":1,"version":2}'
    later = FoldedPage(22, {1: folded(1, version=2, reactions=[ReactionCount("👍", 3, reacted.seq)])})
    assert made(state, edit(1, "b"), stored=later).data == '{"of":1,"version":3}'
    assert made(state, react(1, remove=True), stored=later).kind == "react"
    assert made(state, delete(1), "u_mod", stored=page).kind == "delete"
    assert refused(state, react(1), stored=page).code is ErrorCode.NOT_FOUND
    state.progress.durable_seq = state.head_seq
    shown = state.catch_up(None, 50).entries
    assert [one.body for one in shown if one.kind == "edit"] == [None, None]


def test_emoji_of_an_older_message_are_counted_with_storage() -> None:
    """Twenty at most, whoever gave them when."""
    counts = [ReactionCount(f"e{number}", 1, None) for number in range(EMOJIS_MAX - 1)]
    page = FoldedPage(20, {1: folded(1, reactions=counts)})
    state = old_room()
    made(state, react(1, "last"), stored=page)
    assert refused(state, react(1, "more"), "u_bob", stored=page).code is ErrorCode.BAD_REQUEST
    made(state, react(1, "last", remove=True), stored=page)
    made(state, react(1, "more"), "u_bob", stored=page)


def test_an_event_that_does_not_say_what_it_is_about_is_passed_over() -> None:
    """It keeps no room from coming back."""
    odd = entry(2)._replace(kind="edit", data="nonsense")
    state = room(tail=[entry(1), odd, odd._replace(seq=3, data=None)])
    assert made(state, edit(1)).data == '{"of":1,"version":2}'


# -- the next life ---------------------------------------------------------------------------------------


def test_the_next_life_knows_what_was_done_to_its_tail() -> None:
    """An activation folds what storage hands over."""
    before = room()
    made(before, edit(1, "better"))
    made(before, react(1), "u_bob")
    made(before, delete(2))
    after = room(tail=list(before.tail))
    assert refused(after, edit(1, if_version=1)).current == {"value": "better", "version": 2}
    assert isinstance(change(after, react(1), "u_bob"), Done)
    assert refused(after, edit(2)).code is ErrorCode.NOT_FOUND


def say(state: RoomState, count: int) -> None:
    """So many messages more, all of them stored."""
    for _ in range(count):
        state.progress.durable_seq = state.head_seq
        state.order_message(
            by="u_ann",
            name="ann",
            cid=f"n{state.head_seq}",
            body="x",
            reply_to=None,
            thread=None,
            now_ms=AT_MS,
        )


def remembers(state: RoomState, seq: int) -> bool:
    """Whether a message may be changed without asking storage."""
    try:
        return not isinstance(change(state, react(seq, "none", remove=True)), LookUp)
    except Refused:
        return True


def test_what_leaves_the_tail_is_remembered_for_a_while() -> None:
    """Four times as long as the tail: what was done to it, and who wrote it; then storage is asked."""
    state = room(tail_events=2)
    made(state, edit(1, "a"))
    made(state, react(1), "u_bob")
    say(state, 5)
    assert state.tail[0].seq == 8
    assert made(state, edit(1, "b")).data == '{"of":1,"version":3}'
    assert isinstance(change(state, react(1), "u_bob"), Done)
    assert made(state, edit(2, "c")).data == '{"of":2,"version":2}'
    assert refused(state, edit(2), "u_bob").code is ErrorCode.FORBIDDEN
    for _ in range(20):
        say(state, 1)
        left = state.tail[0].seq - 1
        assert [remembers(state, seq) for seq in (1, 2)] == [seq > left - 8 for seq in (1, 2)]
    assert not remembers(state, 2)


def test_the_text_of_an_older_message_is_looked_up_for_who_comes_too_late() -> None:
    """Its author and its version are remembered, its text is not."""
    state = room(tail_events=2)
    say(state, 3)
    assert change(state, edit(1, if_version=7)) == LookUp(1)
    page = FoldedPage(state.head_seq, {1: folded(1)})
    assert refused(state, edit(1, if_version=7), stored=page).current == {"value": "stored", "version": 1}
    late = FoldedPage(1, {1: folded(1)})
    assert refused(state, edit(1, if_version=7), stored=late).code is ErrorCode.BUSY
    assert made(state, edit(1, if_version=1), stored=late).data == '{"of":1,"version":2}'


def test_a_void_makes_the_room_forget_what_it_cannot_fold_anew() -> None:
    """Of older messages storage is asked; also when the void has left the tail before it was known."""
    state = room(tail_events=2)
    reacted = made(state, react(1), "u_bob")
    say(state, 4)
    assert isinstance(change(state, react(1), "u_bob"), Done)
    state.void(reacted.seq)
    assert change(state, react(1), "u_bob") == LookUp(1)
    assert change(state, edit(2)) == LookUp(2)
    assert made(state, edit(state.tail[0].seq)).kind == "edit"
