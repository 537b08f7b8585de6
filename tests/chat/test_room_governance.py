"""What a room does when it is governed: events, what follows from them at once, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from chat.direct_rooms import PREFIX, direct_room_name
from chat.errors import ErrorCode, Refused
from chat.names import is_room_name
from chat.protocol import Delete, Edit, Invite, Leave, Mod, ModAction, React, SetState, Update
from chat.retention import SERVER
from chat.room_changes import Done, order_change
from chat.room_governance import Expire, Governed, Governing, concerned, order_governance
from chat.room_rules import Person
from chat.room_state import RoomState
from storage.model import LogEntry, Role, RoomKind, SanctionRow
from tests.chat.room_kit import AT_MS, member, room_row, send, state_of

PEOPLE: Final = (
    member("u_ann"),
    member("u_bob"),
    member("u_mod", "moderator"),
    member("u_nod", "moderator"),
    member("u_owner", "owner"),
)
EVE: Final = Person("u_eve", "Eve", "user")
ADMIN: Final = Person("u_root", "Root", "admin")
NOW_MS: Final = AT_MS + 1000


def room(kind: RoomKind = "public", *, members_max: int = 10, locked: bool = False) -> RoomState:
    """A room of two members, two moderators and an owner."""
    return state_of(row=room_row(kind=kind, locked=locked), members=PEOPLE, members_max=members_max)


def govern(
    state: RoomState,
    request: Governing,
    by: str | Person = "u_mod",
    *,
    target: Person | None = None,
    now_ms: int = NOW_MS,
) -> Governed:
    """Ask for something."""
    actor = by if isinstance(by, Person) else Person(by, by, "user")
    return order_governance(state, request, actor=actor, target=target, now_ms=now_ms)


def said(governed: Governed) -> tuple[str, dict[str, object]]:
    """The event's kind and fields."""
    assert governed.entry is not None
    assert governed.entry.data is not None
    return governed.entry.kind, json.loads(governed.entry.data)


def refused(
    state: RoomState, request: Governing, by: str | Person = "u_mod", *, target: Person | None = None
) -> tuple[ErrorCode, str | None]:
    """Ask for something that is refused, and changes nothing."""
    before = (state.head_seq, dict(state.members), state.row)
    with pytest.raises(Refused) as caught:
        govern(state, request, by, target=target)
    assert (state.head_seq, dict(state.members), state.row) == before
    return caught.value.code, caught.value.field


def mod(
    action: ModAction,
    target: str | None = "u_ann",
    *,
    role: Role | None = None,
    slow: float | None = None,
    ttl: float | None = None,
    reason: str | None = None,
    dry_run: bool = False,
) -> Mod:
    """A request of a moderator."""
    return Mod(
        id=1,
        room="tea",
        action=action,
        target=target,
        role=role,
        slow=slow,
        ttl=ttl,
        reason=reason,
        dry_run=dry_run,
    )


def update(*, topic: str | None = None, slow: float | None = None, retention: int | None = None) -> Update:
    """A request for other settings."""
    return Update(id=1, room="tea", topic=topic, slow=slow, retention=retention)


def announce() -> Mod:
    """A word to all."""
    return Mod(id=1, room="tea", action="announce", body="hear")


def invite(user: str = "u_eve") -> Invite:
    """An invitation."""
    return Invite(id=1, room="tea", user=user)


LEAVE: Final = Leave(id=1, room="tea")

# -- what is done ----------------------------------------------------------------------------------------


def test_an_invitation_makes_a_member_at_once() -> None:
    """With nothing unread, and said to be whose doing it is."""
    state = room("private")
    governed = govern(state, invite(), target=EVE)
    assert said(governed) == (
        "member",
        {"user": "u_eve", "name": "Eve", "role": "member", "action": "invite"},
    )
    assert governed.joined == state.members["u_eve"] == ("u_eve", "Eve", "member", NOW_MS, 1)
    assert (governed.left, governed.affected) == (None, 1)
    assert govern(state, invite(), target=EVE) == Governed(None, affected=0)


def test_leaving_a_private_room_is_an_event() -> None:
    """Owners may, while there is another one."""
    state = room("private")
    governed = govern(state, LEAVE, "u_ann")
    assert said(governed) == ("member", {"user": "u_ann", "name": "u_ann", "role": None, "action": "leave"})
    assert governed.left == "u_ann"
    assert "u_ann" not in state.members
    assert refused(state, LEAVE, "u_owner") == (ErrorCode.FORBIDDEN, None)
    govern(state, mod("role", "u_bob", role="owner"), "u_owner")
    assert govern(state, LEAVE, "u_owner").left == "u_owner"


def test_settings_that_change_are_named_and_the_others_stay() -> None:
    """Nothing happens when nothing changes."""
    state = room()
    assert said(govern(state, update(topic="news"))) == ("room", {"topic": "news"})
    assert said(govern(state, update(topic="news", slow=2.5))) == ("room", {"slow": 2.5})
    assert said(govern(state, update(topic="", slow=2.5))) == ("room", {"topic": ""})
    assert govern(state, update(topic="")) == Governed(None, affected=0)
    assert said(govern(state, mod("slow", None, slow=0.0, reason="calm"))) == (
        "room",
        {"slow": 0.0, "reason": "calm"},
    )
    assert (state.row.topic, state.row.slow_s, state.row.name) == ("", 0.0, "tea")


def test_a_locked_room_hears_moderators_only() -> None:
    """And everybody again when it is unlocked."""
    state = room()
    assert said(govern(state, mod("lock", None, reason="raid"))) == (
        "room",
        {"locked": True, "reason": "raid"},
    )
    with pytest.raises(Refused) as caught:
        send(state, "a", by="u_ann")
    assert caught.value.code is ErrorCode.LOCKED
    send(state, "b", by="u_mod")
    assert govern(state, mod("lock", None)) == Governed(None, affected=0)
    govern(state, mod("unlock", None))
    send(state, "c", by="u_ann")


def test_nobody_says_anything_in_an_archived_room() -> None:
    """Neither its owner nor the server's people; it is read, moderated, and taken out of the archive."""
    state = room()
    first = send(state, "a", by="u_ann")
    assert isinstance(first, LogEntry)
    assert said(govern(state, mod("archive", None, reason="over"), "u_owner")) == (
        "room",
        {"archived": True, "reason": "over"},
    )
    assert govern(state, mod("archive", None), "u_owner") == Governed(None, affected=0)
    thumb = React(id=1, room="tea", seq=1, emoji="👍")
    asks: list[Callable[[], object]] = [
        lambda: send(state, "b", by="u_owner"),
        lambda: order_change(state, thumb, by="u_bob", name="", now_ms=NOW_MS),
        lambda: state.admit("u_eve", "Eve", NOW_MS),
        lambda: govern(state, invite(), target=EVE),
        lambda: govern(state, update(topic="x"), ADMIN),
        lambda: govern(state, update(slow=1.0)),
        lambda: govern(state, mod("slow", None, slow=1.0)),
        lambda: govern(state, announce(), ADMIN),
    ]
    for ask in asks:
        with pytest.raises(Refused, match="archived") as caught:
            ask()
        assert caught.value.code is ErrorCode.LOCKED
    assert state.head_seq == 2
    state.require_reader("u_eve", NOW_MS)
    assert send(state, "a", by="u_ann") == (first,)
    govern(state, mod("kick"))
    govern(state, mod("mute", "u_bob"))
    govern(state, update(retention=60), "u_owner")
    order_change(state, Delete(id=1, room="tea", seq=1), by="u_mod", name="", now_ms=NOW_MS)
    assert said(govern(state, mod("unarchive", None), "u_owner")) == ("room", {"archived": False})
    send(state, "b", by="u_owner")


def test_nobody_is_taken_into_an_archived_direct_room() -> None:
    """From neither side."""
    ann = Person("u_ann", "Ann", "user")
    state = pair("u_ann")
    govern(state, mod("archive", None), ADMIN)
    assert refused(state, invite(), ann, target=EVE) == (ErrorCode.LOCKED, None)
    assert refused(state, invite("u_ann"), EVE, target=ann) == (ErrorCode.LOCKED, None)


def test_a_room_keeps_what_is_said_for_a_while_or_for_ever() -> None:
    """As its owner says."""
    state = room()
    assert said(govern(state, update(retention=60, topic="x"), "u_owner")) == (
        "room",
        {"topic": "x", "retention": 60},
    )
    assert govern(state, update(retention=60), "u_owner") == Governed(None, affected=0)
    assert said(govern(state, update(retention=0), "u_owner")) == ("room", {"retention": 0})
    assert govern(state, update(retention=0), "u_owner") == Governed(None, affected=0)
    assert state.row == replace(state.row, retention_s=None)


@pytest.mark.parametrize(
    ("retention_s", "reason"),
    [(86_400, "kept for 1 d"), (5_400, "kept for 90 min"), (7_200, "kept for 2 h"), (61, "kept for 61 s")],
)
def test_what_is_not_kept_any_more_is_deleted_by_the_server(retention_s: int, reason: str) -> None:
    """Under the policy by which it was chosen: under another one nothing is."""
    state = state_of(row=room_row(retention_s=retention_s), members=PEOPLE)
    send(state, "a", by="u_ann")
    expire = Expire(0, retention_s, "tea")
    purged = order_governance(state, expire, actor=SERVER, target=None, seqs=[1], now_ms=NOW_MS)
    assert said(purged) == ("purge", {"seqs": [1], "reason": reason})
    assert purged.entry is not None
    assert (purged.entry.by, purged.entry.name) == ("", "retention")
    other = order_governance(state, Expire(0, 60, "tea"), actor=SERVER, target=None, seqs=[1], now_ms=NOW_MS)
    assert other == Governed(None, affected=0)


def test_a_purged_message_is_deleted_already() -> None:
    """Who deletes it is answered with the purge."""
    state = room()
    send(state, "a", by="u_ann")
    purged = order_governance(
        state, mod("purge"), actor=Person("u_mod", "mod", "user"), target=None, seqs=[1], now_ms=NOW_MS
    )
    assert purged.entry is not None
    delete = Delete(id=1, room="tea", seq=1)
    assert order_change(state, delete, by="u_ann", name="ann", now_ms=NOW_MS) == Done(purged.entry.seq)


def test_who_is_removed_may_come_back() -> None:
    """A removal is no ban."""
    state = room()
    governed = govern(state, mod("kick", reason="rude"))
    assert said(governed) == (
        "member",
        {"user": "u_ann", "name": "u_ann", "role": None, "action": "kick", "reason": "rude"},
    )
    assert governed.left == "u_ann"
    assert state.admit("u_ann", "ann", NOW_MS) is not None


def test_who_is_banned_is_told_why_and_for_how_long() -> None:
    """Neither reads, nor joins, nor writes; when the time is over all of it is as before."""
    state = room()
    governed = govern(state, mod("ban", ttl=60.0, reason="spam"))
    assert said(governed) == (
        "sanction",
        {"user": "u_ann", "name": "u_ann", "action": "ban", "until": NOW_MS + 60_000, "reason": "spam"},
    )
    assert governed.left == "u_ann"
    for ask in (
        lambda: state.require_reader("u_ann", NOW_MS + 10_000),
        lambda: state.admit("u_ann", "ann", NOW_MS + 10_000),
        lambda: send(state, "a", by="u_ann", now_ms=NOW_MS + 10_000),
    ):
        with pytest.raises(Refused, match="spam") as caught:
            ask()
        assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.BANNED, 50.0)
    assert state.admit("u_ann", "ann", NOW_MS + 60_000) is not None


def test_a_ban_may_come_before_its_target_does() -> None:
    """Of somebody whom the server knows, or who was a guest here."""
    state = room("private")
    governed = govern(state, mod("ban", "u_eve"), target=EVE)
    assert (said(governed)[1]["name"], governed.left) == ("Eve", None)
    with pytest.raises(Refused) as caught:
        state.require_reader("u_eve", NOW_MS)
    assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.BANNED, None)
    assert refused(state, invite(), target=EVE) == (ErrorCode.BANNED, "user")
    assert said(govern(state, mod("unban", "u_eve"))) == (
        "sanction",
        {"user": "u_eve", "name": "Eve", "action": "unban"},
    )
    govern(state, invite(), target=EVE)


def test_who_is_muted_reads_and_takes_back_but_says_nothing() -> None:
    """Neither a message, nor an edit, nor a reaction, nor a value; also after leaving and joining again."""
    state = room()
    first = send(state, "a", by="u_ann")
    assert isinstance(first, LogEntry)
    govern(state, mod("mute", ttl=5.0))
    state.require_reader("u_ann", NOW_MS)
    changes = (
        Edit(id=1, room="tea", seq=1, body="x"),
        React(id=1, room="tea", seq=1, emoji="👍"),
        SetState(id=1, room="tea", key="k", value=1),
    )
    for change in changes:
        with pytest.raises(Refused) as caught:
            order_change(state, change, by="u_ann", name="ann", now_ms=NOW_MS, value="1")
        assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.MUTED, 5.0)
    state.remove("u_ann", NOW_MS)
    state.admit("u_ann", "ann", NOW_MS)
    with pytest.raises(Refused) as muted:
        send(state, "b", by="u_ann", now_ms=NOW_MS)
    assert muted.value.code is ErrorCode.MUTED
    order_change(state, Delete(id=1, room="tea", seq=1), by="u_ann", name="ann", now_ms=NOW_MS)
    govern(state, mod("unmute"))
    send(state, "b", by="u_ann", now_ms=NOW_MS)


def test_what_was_said_before_a_mute_is_still_answered() -> None:
    """A message that is sent again is known, not refused."""
    state = room()
    first = send(state, "a", by="u_ann")
    govern(state, mod("mute"))
    assert send(state, "a", by="u_ann") == (first,)


def test_a_sanction_ends_by_the_rooms_time() -> None:
    """A wall clock that was set back does not lengthen it, nor does one that jumped shorten others."""
    state = state_of(
        members=PEOPLE,
        sanctions=[
            SanctionRow("u_ann", "mute", "ann", NOW_MS + 10, None, 1),
            SanctionRow("u_bob", "mute", "bob", NOW_MS - 1, None, 2),
        ],
    )
    send(state, "b", by="u_bob", now_ms=NOW_MS)
    with pytest.raises(Refused):
        send(state, "a", by="u_ann", now_ms=NOW_MS)
    send(state, "c", by="u_bob", now_ms=NOW_MS + 10)
    send(state, "a", by="u_ann", now_ms=NOW_MS - 3_600_000)


def test_roles_count_from_the_event_on() -> None:
    """What was refused before is allowed after, and the other way round."""
    state = room()
    send(state, "a", by="u_bob")
    delete = Delete(id=1, room="tea", seq=1)
    with pytest.raises(Refused):
        order_change(state, delete, by="u_ann", name="ann", now_ms=NOW_MS)
    assert said(govern(state, mod("role", role="moderator", reason="help"), "u_owner")) == (
        "role",
        {"user": "u_ann", "name": "u_ann", "role": "moderator", "reason": "help"},
    )
    assert isinstance(order_change(state, delete, by="u_ann", name="ann", now_ms=NOW_MS), LogEntry)
    assert govern(state, mod("role", role="moderator"), "u_owner") == Governed(None, affected=0)
    govern(state, mod("role", role="member"), "u_owner")
    assert refused(state, mod("mute", "u_bob"), "u_ann") == (ErrorCode.FORBIDDEN, None)


def test_an_owner_steps_down_when_there_is_another() -> None:
    """Never the last one."""
    state = room()
    down = mod("role", "u_owner", role="member")
    assert refused(state, down, "u_owner") == (ErrorCode.FORBIDDEN, None)
    govern(state, mod("role", "u_ann", role="owner"), "u_owner")
    govern(state, down, "u_owner")
    assert state.roster.role_of("u_owner") == "member"


def test_what_is_only_tried_changes_nothing() -> None:
    """And says how many it would have concerned."""
    state = room()
    assert govern(state, mod("ban", dry_run=True)) == Governed(None)
    assert (state.head_seq, "u_ann" in state.members) == (0, True)


def test_the_server_s_own_people_govern_any_room() -> None:
    """Also private ones that they are not in, and owners."""
    state = room("private")
    assert govern(state, mod("kick", "u_owner"), ADMIN).left == "u_owner"
    assert govern(state, mod("lock", None), ADMIN).entry is not None
    assert state.roster.role_of("u_root") is None


def test_an_event_is_told_to_whom_it_is_about() -> None:
    """Settings are about nobody in particular."""
    state = room()
    kick, lock = govern(state, mod("kick")).entry, govern(state, mod("lock", None)).entry
    assert kick is not None
    assert lock is not None
    assert (concerned(kick), concerned(lock)) == ("u_ann", None)
    message = send(state, "a", by="u_mod")
    assert isinstance(message, LogEntry)
    assert concerned(message) is None


# -- direct rooms ----------------------------------------------------------------------------------------


def pair(*there: str) -> RoomState:
    """The direct room of ann and eve, of whom only some are members yet."""
    row = room_row(kind="direct", name=direct_room_name("u_ann", "u_eve"))
    return state_of(row=row, members=[member(user) for user in there])


def test_a_direct_room_has_one_name_for_both() -> None:
    """And another for any other two."""
    name = direct_room_name("u_ann", "u_eve")
    assert name == direct_room_name("u_eve", "u_ann")
    assert is_room_name(name)
    assert name.startswith(PREFIX)
    assert name != direct_room_name("u_ann", "u_bob")


def test_whoever_of_the_two_is_missing_is_taken_in() -> None:
    """From either side; then it is complete."""
    ann = Person("u_ann", "Ann", "user")
    state = pair("u_ann")
    assert said(govern(state, invite(), ann, target=EVE))[1]["action"] == "invite"
    assert govern(state, invite(), ann, target=EVE) == Governed(None, affected=0)
    other = pair("u_ann")
    assert said(govern(other, invite("u_ann"), EVE, target=ann)) == (
        "member",
        {"user": "u_eve", "name": "Eve", "role": "member", "action": "join"},
    )
    assert refused(other, invite("u_bob"), ann) == (ErrorCode.FORBIDDEN, None)
    assert refused(other, invite("u_ann"), "u_bob") == (ErrorCode.ROOM_NOT_FOUND, None)
    assert refused(pair("u_ann"), invite(), ann) == (ErrorCode.NOT_FOUND, "user")


# -- what is refused -------------------------------------------------------------------------------------

REFUSALS: Final[dict[str, tuple[RoomKind, Governing, str, ErrorCode, str | None]]] = {
    "an outsider changes the topic": ("public", update(topic="x"), "u_eve", ErrorCode.NOT_MEMBER, None),
    "an outsider of a private room": ("private", update(topic="x"), "u_eve", ErrorCode.ROOM_NOT_FOUND, None),
    "an outsider leaves": ("private", LEAVE, "u_eve", ErrorCode.ROOM_NOT_FOUND, None),
    "a member changes the topic": ("public", update(topic="x"), "u_ann", ErrorCode.FORBIDDEN, None),
    "a member makes it slow": ("public", update(slow=1.0), "u_ann", ErrorCode.FORBIDDEN, None),
    "a moderator archives": ("public", mod("archive", None), "u_mod", ErrorCode.FORBIDDEN, None),
    "a moderator unarchives": ("public", mod("unarchive", None), "u_mod", ErrorCode.FORBIDDEN, None),
    "one of a pair archives": ("direct", mod("archive", None), "u_owner", ErrorCode.FORBIDDEN, None),
    "a moderator says how long": ("public", update(retention=60), "u_mod", ErrorCode.FORBIDDEN, None),
    "one of a pair says how long": ("direct", update(retention=60), "u_owner", ErrorCode.FORBIDDEN, None),
    "for no time at all": ("public", update(retention=59), "u_owner", ErrorCode.BAD_REQUEST, "retention"),
    "nothing is to be updated": ("public", update(), "u_mod", ErrorCode.BAD_REQUEST, "topic"),
    "a member invites": ("private", invite(), "u_ann", ErrorCode.FORBIDDEN, None),
    "nobody is called so": ("private", invite("u_zoe"), "u_mod", ErrorCode.NOT_FOUND, "user"),
    "a direct room is left": ("direct", LEAVE, "u_ann", ErrorCode.FORBIDDEN, None),
    "somebody is banned from a direct room": ("direct", mod("ban"), "u_owner", ErrorCode.FORBIDDEN, None),
    "a member kicks": ("public", mod("kick", "u_bob"), "u_ann", ErrorCode.FORBIDDEN, None),
    "a moderator kicks a moderator": ("public", mod("kick", "u_nod"), "u_mod", ErrorCode.FORBIDDEN, None),
    "a moderator bans an owner": ("public", mod("ban", "u_owner"), "u_mod", ErrorCode.FORBIDDEN, None),
    "a moderator mutes himself": ("public", mod("mute", "u_mod"), "u_mod", ErrorCode.FORBIDDEN, None),
    "a moderator gives a role": (
        "public",
        mod("role", role="moderator"),
        "u_mod",
        ErrorCode.FORBIDDEN,
        None,
    ),
    "whom": ("public", mod("kick", None), "u_mod", ErrorCode.BAD_REQUEST, "target"),
    "which role": ("public", mod("role"), "u_owner", ErrorCode.BAD_REQUEST, "role"),
    "how slow": ("public", mod("slow", None), "u_mod", ErrorCode.BAD_REQUEST, "slow"),
    "who is no member is kicked": ("public", mod("kick", "u_eve"), "u_mod", ErrorCode.NOT_FOUND, "target"),
    "who is no member has no role": (
        "public",
        mod("role", "u_eve", role="member"),
        "u_owner",
        ErrorCode.NOT_FOUND,
        "target",
    ),
    "a stranger is banned": ("public", mod("ban", "u_zoe"), "u_mod", ErrorCode.NOT_FOUND, "target"),
    "no ban is lifted": ("public", mod("unban"), "u_mod", ErrorCode.NOT_FOUND, "target"),
    "no mute is lifted": ("public", mod("unmute"), "u_mod", ErrorCode.NOT_FOUND, "target"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_changes_nothing(name: str) -> None:
    """Each with the code, and the field where one is wrong."""
    kind, request, by, code, field = REFUSALS[name]
    assert refused(room(kind), request, by) == (code, field)


def test_a_full_room_takes_no_invitation() -> None:
    """As nobody joins it."""
    assert refused(room(members_max=5), invite(), target=EVE) == (ErrorCode.ROOM_FULL, None)


def test_a_sanction_that_has_ended_cannot_be_lifted() -> None:
    """The second of two moderators is told so, too."""
    state = room()
    govern(state, mod("mute", ttl=1.0))
    with pytest.raises(Refused) as caught:
        govern(state, mod("unmute"), now_ms=NOW_MS + 1000)
    assert caught.value.code is ErrorCode.NOT_FOUND
