"""What every store promises of what follows from the log: settings, members, roles, sanctions, the audit."""

import json
from collections.abc import Sequence

from storage import (
    AuditKey,
    AuditRow,
    Entry,
    LogEntry,
    MemberRow,
    RetainedRoom,
    RoomId,
    SanctionRow,
    Store,
    Stored,
)
from storage.audit_chain import chain_hash
from tests.storage.rows import AT_MS, change, changed, message, owned_room, take_over


def act(
    room: RoomId, seq: int, kind: str, *, by: str = "u_mod", epoch: int = 1, **fields: object
) -> LogEntry:
    """An event that governs the room."""
    return changed(room, seq, kind, json.dumps(fields), by=by, epoch=epoch)


def invite(room: RoomId, seq: int, user: str = "u_ann") -> LogEntry:
    """Somebody becomes a member by somebody else's doing."""
    return act(room, seq, "member", user=user, name=user.upper(), role="member", action="invite")


def kick(room: RoomId, seq: int, user: str = "u_ann") -> LogEntry:
    """Somebody's membership ends by somebody else's doing."""
    return act(room, seq, "member", user=user, name=user.upper(), role=None, action="kick", reason="why")


def promote(room: RoomId, seq: int, user: str = "u_ann") -> LogEntry:
    """Somebody becomes a moderator."""
    return act(room, seq, "role", user=user, name=user.upper(), role="moderator")


def sanction(
    room: RoomId,
    seq: int,
    action: str,
    user: str = "u_ann",
    *,
    until: int | None = None,
    reason: str | None = None,
) -> LogEntry:
    """A ban or a mute, or the end of one."""
    said = {"until": until, "reason": reason}
    fields = {field: value for field, value in said.items() if value is not None}
    data = json.dumps({"user": user, "name": user.upper(), "action": action, **fields})
    return changed(room, seq, "sanction", data, by="u_mod")


async def members(store: Store, room: RoomId) -> dict[str, str]:
    """Who is a member, and as what."""
    return {row.user_id: row.role for row in await store.list_members(room, after=None, limit=99)}


async def audit(store: Store, room: RoomId) -> list[tuple[str, str | None]]:
    """What was done, and upon whom."""
    return [(row.action, row.target) for row in await store.read_audit(room, after=0, limit=99)]


class GovernanceContract:
    """Events that govern a room, and what is read of them."""

    async def test_an_invitation_makes_a_member_with_nothing_unread(self, store: Store) -> None:
        """The read pointer begins at the event itself; whoever is a member stays as they are."""
        room = await owned_room(store)
        await store.append([message(room, 1), invite(room, 2), promote(room, 3), invite(room, 4)])

        rows = await store.list_members(room, after=None, limit=9)
        assert rows[0] == MemberRow("u_ann", "U_ANN", "moderator", AT_MS + 2, 2)
        pages = await store.memberships(["u_ann"], after=None, limit=9)
        assert [(found.room, found.role, found.read_seq) for found in pages["u_ann"].rooms] == [
            ("lobby", "moderator", 2)
        ]

    async def test_who_is_removed_is_no_member(self, store: Store) -> None:
        """Neither after a removal nor after a ban, and the room is none of theirs any more."""
        room = await owned_room(store)
        await store.append([invite(room, 1), invite(room, 2, "u_bob"), kick(room, 3)])
        await store.append([sanction(room, 4, "ban", "u_bob")])

        assert await members(store, room) == {"u_owner": "owner"}
        pages = await store.memberships(["u_ann", "u_bob"], after=None, limit=9)
        assert [page.rooms for page in pages.values()] == [[], []]

    async def test_a_role_belongs_to_the_log_alone(self, store: Store) -> None:
        """A membership that is written once more, for a name, keeps it; a role of nobody is nothing."""
        room = await owned_room(store)
        await store.append([change(room, "u_ann"), promote(room, 1), promote(room, 2, "u_nobody")])
        await store.append([change(room, "u_ann", name="Annie")])

        assert await members(store, room) == {"u_ann": "moderator", "u_owner": "owner"}
        assert (await store.list_members(room, after=None, limit=1))[0].name == "Annie"

    async def test_settings_follow_the_log(self, store: Store) -> None:
        """What an event does not name stays."""
        room = await owned_room(store)
        await store.append([act(room, 1, "room", topic="tea"), act(room, 2, "room", slow=3.5, locked=True)])

        row = await store.find_room("lobby")
        assert row is not None
        assert (row.topic, row.slow_s, row.locked) == ("tea", 3.5, True)
        await store.append([act(room, 3, "room", locked=False)])
        assert (await take_over(store)).room.locked is False

    async def test_an_archived_room_is_listed_among_all_rooms_alone(self, store: Store) -> None:
        """Until it is taken out of the archive."""
        room = await owned_room(store)
        await store.append([act(room, 1, "room", archived=True)])

        assert await store.list_rooms(after=None, limit=9) == []
        (row,) = await store.list_rooms(after=None, limit=9, all_kinds=True)
        assert row.archived
        assert (await take_over(store)).room == row
        await store.append([act(room, 2, "room", archived=False, epoch=2)])
        assert [row.archived for row in await store.list_rooms(after=None, limit=9)] == [False]

    async def test_rooms_that_keep_nothing_for_ever_are_listed_by_number(self, store: Store) -> None:
        """With how far each was looked through, which does not go back; 0 ends it."""
        rooms = [await owned_room(store, name) for name in ("a", "b", "c", "d")]
        await store.append([act(room, 1, "room", retention=60 * room) for room in rooms[1:]])
        await store.append([act(rooms[2], 2, "room", retention=0)])
        await store.note_retained(rooms[1], 7)
        await store.note_retained(rooms[1], 5)

        assert await store.rooms_retained(after=RoomId(0), limit=9) == [
            RetainedRoom(rooms[1], "b", 60 * rooms[1], 7),
            RetainedRoom(rooms[3], "d", 60 * rooms[3], 0),
        ]
        assert len(await store.rooms_retained(after=RoomId(0), limit=1)) == 1
        assert [row.name for row in await store.rooms_retained(after=rooms[1], limit=9)] == ["d"]
        kept = [await store.find_room(name) for name in ("c", "d")]
        assert [row and row.retention_s for row in kept] == [None, 60 * rooms[3]]

    async def test_what_is_done_to_accounts_is_in_the_audit(self, store: Store) -> None:
        """Also upon oneself, and upon nobody; what does not say what it is is not."""
        room = await owned_room(store)
        await store.append(
            [
                act(room, 1, "act", action="reset", user="u_ann", name="Ann", reason="lost"),
                act(room, 2, "act", by="u_ann", action="disconnect", user="u_ann", name="Ann"),
                act(room, 3, "act", action="drain"),
                act(room, 4, "act", user="u_ann"),
            ]
        )

        assert await audit(store, room) == [("reset", "u_ann"), ("disconnect", "u_ann"), ("drain", None)]
        assert await members(store, room) == {"u_owner": "owner"}

    async def test_sanctions_are_there_at_the_next_activation(self, store: Store) -> None:
        """One of a kind a user, the last; those that were lifted are gone."""
        room = await owned_room(store)
        await store.append(
            [
                sanction(room, 1, "mute", until=5, reason="loud"),
                sanction(room, 2, "mute", until=7),
                sanction(room, 3, "ban"),
                sanction(room, 4, "mute", "u_bob"),
                sanction(room, 5, "unmute", "u_bob"),
                sanction(room, 6, "unban", "u_cyd"),
            ]
        )

        assert (await take_over(store)).sanctions == [
            SanctionRow("u_ann", "ban", "U_ANN", None, None, 3),
            SanctionRow("u_ann", "mute", "U_ANN", 7, None, 2),
        ]

    async def test_sanctions_of_a_user_are_listed_over_all_rooms(self, store: Store) -> None:
        """By room and kind, page by page; those of others are not."""
        rooms = [await owned_room(store), await owned_room(store, "other")]
        for room in rooms:
            await store.append(
                [
                    sanction(room, 1, "mute", until=5, reason="loud"),
                    sanction(room, 2, "ban"),
                    sanction(room, 3, "ban", "u_bob"),
                ]
            )

        first = await store.user_sanctions("u_ann", after=None, limit=3)
        assert [(name, row.kind) for name, _, row in first] == [
            ("lobby", "ban"),
            ("lobby", "mute"),
            ("other", "ban"),
        ]
        assert first[1] == ("lobby", rooms[0], SanctionRow("u_ann", "mute", "U_ANN", 5, "loud", 1))
        rest = await store.user_sanctions("u_ann", after=(rooms[1], "ban"), limit=3)
        assert [(name, row.kind) for name, _, row in rest] == [("other", "mute")]

    async def test_a_room_s_sanctions_that_have_not_ended_are_paged(self, store: Store) -> None:
        """By user and kind; one that ends at the time that is asked for has ended."""
        room, other = await owned_room(store), await owned_room(store, "other")
        await store.append([sanction(other, 1, "ban")])
        await store.append(
            [
                sanction(room, 1, "mute", until=5, reason="loud"),
                sanction(room, 2, "ban", until=4),
                sanction(room, 3, "mute", "u_bob"),
                sanction(room, 4, "ban", "u_bob"),
                sanction(room, 5, "mute", "u_cyd", until=4),
            ]
        )

        first = await store.room_sanctions(room, at_ms=4, after=None, limit=2)
        assert first == [
            SanctionRow("u_ann", "mute", "U_ANN", 5, "loud", 1),
            SanctionRow("u_bob", "ban", "U_BOB", None, None, 4),
        ]
        rest = await store.room_sanctions(room, at_ms=4, after=("u_bob", "ban"), limit=2)
        assert [(row.user_id, row.kind) for row in rest] == [("u_bob", "mute")]
        every = await store.room_sanctions(room, at_ms=3, after=None, limit=9)
        assert len(every) == len(await store.list_sanctions(room)) == 5
        assert await store.room_sanctions(RoomId(room + other), at_ms=0, after=None, limit=9) == []

    async def test_the_log_and_what_stands_beside_it_take_effect_in_their_order(self, store: Store) -> None:
        """In one batch: who joins after a removal is a member, who is removed after joining is not."""
        room = await owned_room(store)
        batch: list[Entry] = [
            change(room, "u_ann"),
            promote(room, 1),
            kick(room, 2),
            change(room, "u_ann"),
            change(room, "u_bob"),
            kick(room, 3, "u_bob"),
            change(room, "u_cyd"),
            promote(room, 4, "u_cyd"),
        ]

        assert await store.append(batch) == [Stored()] * len(batch)

        expected = {"u_ann": "member", "u_cyd": "moderator", "u_owner": "owner"}
        assert await members(store, room) == expected

    async def test_a_batch_that_is_sent_again_brings_nobody_back(self, store: Store) -> None:
        """Its changes beside the log are known by the events that came after them."""
        room = await owned_room(store)
        batch: list[Entry] = [
            change(room, "u_ann"),
            kick(room, 1),
            change(room, "u_bob"),
            promote(room, 2, "u_bob"),
        ]
        await store.append(batch)

        assert await store.append(batch) == [Stored()] * 4
        assert await members(store, room) == {"u_bob": "moderator", "u_owner": "owner"}

    async def test_what_one_does_to_others_is_in_the_audit(self, store: Store) -> None:
        """And what is done to the room; nothing that one does to oneself, and no message."""
        room = await owned_room(store)
        await store.append(
            [
                message(room, 1),
                invite(room, 2),
                act(room, 3, "member", by="u_ann", user="u_ann", name="A", role=None, action="leave"),
                act(room, 4, "room", topic="tea"),
                changed(room, 5, "delete", '{"of":1,"reason":"spam"}', by="u_mod"),
                message(room, 6),
                changed(room, 7, "delete", '{"of":6}'),
                sanction(room, 8, "mute", until=9, reason="loud"),
            ]
        )

        assert await audit(store, room) == [
            ("invite", "u_ann"),
            ("update", None),
            ("delete", "u_ann"),
            ("mute", "u_ann"),
        ]
        rows = await store.read_audit(room, after=0, limit=99)
        assert rows[2][:-1] == (
            *(room, "lobby", 5, AT_MS + 5, "u_mod", "U_MOD", "delete", "u_ann", "spam"),
            '{"of":1,"reason":"spam"}',
        )

    async def test_a_role_that_one_gives_up_is_in_the_audit(self, store: Store) -> None:
        """As is what one purges of one's own: others may ask for either."""
        room = await owned_room(store)
        await store.append(
            [
                message(room, 1),
                act(room, 2, "role", by="u_ann", user="u_ann", name="A", role="member"),
                act(room, 3, "purge", by="u_ann", user="u_ann", seqs=[1]),
            ]
        )

        assert await audit(store, room) == [("role", "u_ann"), ("purge", "u_ann")]

    async def test_a_sanction_in_place_of_another_has_the_name_of_its_time(self, store: Store) -> None:
        """Not that of the first one."""
        room = await owned_room(store)
        await store.append([sanction(room, 1, "mute")])
        later = act(room, 2, "sanction", user="u_ann", name="Annie", action="mute")
        await store.append([later])

        assert (await take_over(store)).sanctions == [SanctionRow("u_ann", "mute", "Annie", None, None, 2)]

    async def test_the_audit_is_a_chain_of_hashes(self, store: Store) -> None:
        """Each covers the row and the hash before it; a room has its own, and sending again adds nothing."""
        room = await owned_room(store)
        other = await owned_room(store, "other")
        batch = [invite(room, 1, "u_ä"), kick(room, 2, "u_ä"), invite(other, 1)]
        await store.append(batch)
        await store.append(batch)

        assert _is_chain(await store.read_audit(room, after=0, limit=9))
        assert _is_chain(await store.read_audit(other, after=0, limit=9))
        assert [row.seq for row in await store.read_audit(room, after=1, limit=9)] == [2]
        rows = await store.read_audit(room, after=0, limit=9)
        assert not _is_chain([row._replace(reason="other") for row in rows])
        assert not _is_chain(rows[1:])

    async def test_the_audit_is_read_by_page_the_latest_first(self, store: Store) -> None:
        """Of one room, or of all by time."""
        room = await owned_room(store)
        other = await owned_room(store, "other")
        await store.append([invite(room, 1), kick(room, 2), invite(other, 1)])

        everywhere = await store.list_audit(room_id=None, before=None, limit=2)
        assert [(row.room, row.seq) for row in everywhere] == [("lobby", 2), ("other", 1)]
        last = everywhere[-1]
        rest = await store.list_audit(
            room_id=None, before=AuditKey(last.at_ms, last.room_id, last.seq), limit=9
        )
        assert [(row.room, row.seq) for row in rest] == [("lobby", 1)]
        here = await store.list_audit(room_id=room, before=None, limit=1)
        assert [row.seq for row in here] == [2]
        below = AuditKey(2**63 - 1, 0, 2)
        assert [row.seq for row in await store.list_audit(room_id=room, before=below, limit=9)] == [1]

    async def test_an_event_that_does_not_say_what_it_is_about_changes_nothing(self, store: Store) -> None:
        """It is in the log."""
        room = await owned_room(store)
        batch = [
            changed(room, 1, "member", "{}"),
            changed(room, 2, "role", "null"),
            changed(room, 3, "sanction", "{}"),
        ]

        assert await store.append(batch) == [Stored()] * 3
        assert await members(store, room) == {"u_owner": "owner"}
        assert await audit(store, room) == []


def _is_chain(rows: Sequence[AuditRow]) -> bool:
    before = b""
    for row in rows:
        if row.hash != chain_hash(before, row):
            return False
        before = row.hash
    return bool(rows)
