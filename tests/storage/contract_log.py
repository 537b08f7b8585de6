"""What every store promises about batches, poison rows and memberships; a part of the contract."""

import pytest

from storage import (
    BadData,
    CidConflict,
    Duplicate,
    Entry,
    Fenced,
    LogGap,
    MemberRow,
    Poisoned,
    RoomId,
    Store,
    Stored,
)
from tests.storage.rows import (
    AT_MS,
    change,
    event,
    message,
    owned_room,
    read_log,
    take_over,
    void,
)


class AppendContract:
    """Batches, their receipts, and what stands in the log afterwards."""

    async def test_a_batch_is_stored_as_it_was_sent(self, store: Store) -> None:
        """Every column of every row comes back, whatever it holds."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="grüße\n\t🦜 \\ ' \" {}"),
            event(room, 2, n=1),
            message(room, 3, n=2, reply_to=1, thread=1, data='{"a":1}', by="u_bob"),
        ]

        assert await store.append(batch) == [Stored()] * 3
        assert await read_log(store, room) == batch

    async def test_rooms_of_one_batch_are_independent(self, store: Store) -> None:
        """Entries of several rooms mix freely and each room has its own seq."""
        first, second = await owned_room(store, "a"), await owned_room(store, "b")
        batch = [message(first, 1), message(second, 1), message(first, 2), message(second, 2)]

        assert await store.append(batch) == [Stored()] * 4
        assert await read_log(store, first) == batch[::2]
        assert await read_log(store, second) == batch[1::2]

    async def test_an_empty_batch_has_no_receipts(self, store: Store) -> None:
        """Nothing in, nothing out."""
        assert list(await store.append([])) == []

    async def test_a_batch_sent_twice_is_stored_once(self, store: Store) -> None:
        """After a lost commit reply the same batch gets the same receipts and changes nothing."""
        room = await owned_room(store)
        batch: list[Entry] = [message(room, 1), event(room, 2), change(room, "u_bob"), message(room, 3)]
        await store.append(batch)

        assert await store.append(batch) == [Stored()] * 4
        assert await read_log(store, room) == [batch[0], batch[1], batch[3]]

    async def test_a_batch_sent_again_may_have_grown(self, store: Store) -> None:
        """Known entries followed by new ones: the new ones are written."""
        room = await owned_room(store)
        batch = [message(room, seq) for seq in range(1, 6)]
        await store.append(batch[:3])

        assert await store.append(batch) == [Stored()] * 5
        assert await read_log(store, room) == batch

    async def test_a_known_key_becomes_void(self, store: Store) -> None:
        """The same key and body again: the first seq is told, the new seq carries nothing."""
        room = await owned_room(store)
        first, again = message(room, 1, cid="k"), message(room, 2, cid="k")
        await store.append([first])

        assert await store.append([again, message(room, 3)]) == [
            Duplicate(1, 1, first.at_ms),
            Stored(),
        ]
        assert await read_log(store, room) == [first, void(again), message(room, 3)]

    async def test_a_known_key_with_another_body_is_a_conflict(self, store: Store) -> None:
        """A key belongs to its first body for ever."""
        room = await owned_room(store)
        await store.append([message(room, 1, cid="k", body="a")])

        assert await store.append([message(room, 2, cid="k", body="b")]) == [CidConflict(1)]
        assert [entry.kind for entry in await read_log(store, room)] == ["message", "void"]

    async def test_a_key_twice_in_one_batch(self, store: Store) -> None:
        """Of two equal keys in a batch the first one wins."""
        room = await owned_room(store)
        batch = [
            message(room, 1, cid="k"),
            message(room, 2, cid="k"),
            message(room, 3, cid="k", body="other"),
            message(room, 4),
        ]

        receipts = [Stored(), Duplicate(1, 1, batch[0].at_ms), CidConflict(1), Stored()]
        assert await store.append(batch) == receipts
        assert await store.append(batch) == receipts

    async def test_a_key_is_the_senders_and_the_rooms_own(self, store: Store) -> None:
        """Other senders and other rooms may use the same key."""
        first, second = await owned_room(store, "a"), await owned_room(store, "b")
        batch = [
            message(first, 1, cid="k"),
            message(first, 2, cid="k", by="u_bob"),
            message(second, 1, cid="k"),
        ]

        assert await store.append(batch) == [Stored()] * 3

    async def test_a_duplicate_sent_again_is_a_duplicate_again(self, store: Store) -> None:
        """The receipt of a void seq does not change when its batch is retried, even by a later epoch."""
        room = await owned_room(store)
        batch = [message(room, 1, cid="k"), message(room, 2, cid="k"), message(room, 3, cid="k", body="x")]
        receipts = await store.append(batch)
        await take_over(store)

        assert await store.append(batch) == receipts

    async def test_a_stale_owner_writes_nothing(self, store: Store) -> None:
        """Once another activation has begun, entries of the old epoch are fenced, members included."""
        room = await owned_room(store)
        await store.append([message(room, 1)])
        await take_over(store)

        assert await store.append([message(room, 2), change(room, "u_bob")]) == [Fenced(), Fenced()]
        assert await read_log(store, room) == [message(room, 1)]
        assert [member.user_id for member in await store.list_members(room, after=None, limit=9)] == [
            "u_owner"
        ]

    async def test_fencing_one_room_leaves_the_others_alone(self, store: Store) -> None:
        """The rest of a batch is written when one of its rooms has a newer owner."""
        stale, fine = await owned_room(store, "a"), await owned_room(store, "b")
        await take_over(store, "a")
        batch = [message(stale, 1), message(fine, 1), message(stale, 2), message(fine, 2)]

        assert await store.append(batch) == [Fenced(), Stored(), Fenced(), Stored()]
        assert await read_log(store, fine) == batch[1::2]
        assert await read_log(store, stale) == []

    async def test_what_a_former_owner_stored_stays_stored(self, store: Store) -> None:
        """A batch that was committed, and is sent again after a take-over, is Stored, the rest is fenced."""
        room = await owned_room(store)
        await store.append([message(room, 1)])
        await take_over(store)

        assert await store.append([message(room, 1), message(room, 2)]) == [Stored(), Fenced()]

    async def test_an_unknown_room_is_fenced(self, store: Store) -> None:
        """Nobody owns a room that does not exist."""
        assert await store.append([message(RoomId(999), 1), change(RoomId(999), "u_bob")]) == [
            Fenced(),
            Fenced(),
        ]

    @pytest.mark.parametrize("seqs", [(2,), (1, 3), (1, 2, 2)])
    async def test_a_hole_cannot_be_committed(self, store: Store, seqs: tuple[int, ...]) -> None:
        """A batch that does not continue a room's log is refused as a whole."""
        other, room = await owned_room(store, "a"), await owned_room(store, "b")
        batch = [message(other, 1), *(message(room, seq, cid=f"k{i}") for i, seq in enumerate(seqs))]

        with pytest.raises(LogGap):
            await store.append(batch)
        assert await read_log(store, room) == []
        assert await read_log(store, other) == []

    async def test_a_seq_cannot_be_overwritten(self, store: Store) -> None:
        """Another event under a stored seq is refused."""
        room = await owned_room(store)
        await store.append([message(room, 1)])

        with pytest.raises(LogGap):
            await store.append([message(room, 1, cid="other")])
        assert await read_log(store, room) == [message(room, 1)]

    @pytest.mark.parametrize("body", ["a\x00b", "\ud800"])
    async def test_text_that_no_database_holds_is_bad_data(self, store: Store, body: str) -> None:
        """A NUL or a lone surrogate refuses the batch as a whole."""
        room = await owned_room(store)

        with pytest.raises(BadData):
            await store.append([message(room, 1), message(room, 2, body=body)])
        assert await read_log(store, room) == []

    async def test_a_number_beyond_64_bits_is_bad_data(self, store: Store) -> None:
        """A row out of range refuses the batch."""
        room = await owned_room(store)

        with pytest.raises(BadData):
            await store.append([message(room, 1, reply_to=2**63)])


class ParkContract:
    """Rows that can never be stored."""

    async def test_a_parked_row_leaves_its_seq_void(self, store: Store) -> None:
        """The log stays gapless and goes on after a poison row."""
        room = await owned_room(store)
        poison = message(room, 2, body="\x00")
        await store.append([message(room, 1)])

        assert await store.park(poison, "no\x00way") == Poisoned("no\\x00way")
        assert await store.append([message(room, 3)]) == [Stored()]
        assert await read_log(store, room) == [message(room, 1), void(poison), message(room, 3)]

    async def test_parking_twice_is_parking_once(self, store: Store) -> None:
        """A park is retried after a lost reply, and keeps its first error."""
        room = await owned_room(store)
        poison = message(room, 1, by="\x00", cid="\ud800")
        await store.park(poison, "first")

        assert await store.park(poison, "second") == Poisoned("first")
        assert await read_log(store, room) == [void(poison)]

    async def test_a_parked_row_does_not_use_up_its_key(self, store: Store) -> None:
        """The sender may mend the message and send it with the same key."""
        room = await owned_room(store)
        await store.park(message(room, 1, cid="k", data="\x00"), "bad")

        assert await store.append([message(room, 2, cid="k")]) == [Stored()]

    async def test_a_parked_row_in_a_retried_batch_is_poisoned_again(self, store: Store) -> None:
        """A row that was parked, although it could be stored, keeps its receipt."""
        room = await owned_room(store)
        await store.park(message(room, 1), "bad")

        assert await store.append([message(room, 1), message(room, 2)]) == [Poisoned("bad"), Stored()]

    async def test_parking_is_fenced(self, store: Store) -> None:
        """A stale owner parks nothing."""
        room = await owned_room(store)
        await take_over(store)

        assert await store.park(message(room, 1), "bad") == Fenced()
        assert await store.park(change(room, "u_\x00"), "bad") == Fenced()
        assert await read_log(store, room) == []

    async def test_parking_what_is_stored_says_so(self, store: Store) -> None:
        """A row that turns out to be stored stays stored; another event under its seq is a gap."""
        room = await owned_room(store)
        await store.append([event(room, 1)])

        assert await store.park(event(room, 1), "bad") == Stored()
        with pytest.raises(LogGap):
            await store.park(message(room, 1), "bad")

    async def test_parking_cannot_make_a_hole(self, store: Store) -> None:
        """A poison row that does not continue the log is refused."""
        room = await owned_room(store)

        with pytest.raises(LogGap):
            await store.park(message(room, 2), "bad")

    async def test_a_membership_can_be_parked(self, store: Store) -> None:
        """A membership has no seq, so that only the row is kept."""
        room = await owned_room(store)

        assert await store.park(change(room, "u_\x00"), "bad") == Poisoned("bad")
        assert await read_log(store, room) == []


class MemberContract:
    """Memberships written with the log."""

    async def test_members_join_and_leave_with_the_log(self, store: Store) -> None:
        """A join keeps name, role, time and read pointer; a leave removes the row."""
        room = await owned_room(store)
        await store.append(
            [message(room, 1), change(room, "u_bob", read_seq=1, read_n=1), change(room, "u_cat")]
        )
        await store.append([change(room, "u_cat", None)])

        assert await store.list_members(room, after=None, limit=9) == [
            MemberRow("u_bob", "U_BOB", "member", AT_MS, 1),
            MemberRow("u_owner", "U_OWNER", "owner", AT_MS, 0),
        ]

    async def test_the_last_change_wins(self, store: Store) -> None:
        """Several changes of one member in one batch come to what they come to one after another."""
        room = await owned_room(store)
        await store.append(
            [
                change(room, "u_a", None),
                change(room, "u_a", "member", at_ms=1, read_seq=1),
                change(room, "u_a", "moderator", at_ms=2, read_seq=2, name="A"),
                change(room, "u_b"),
                change(room, "u_b", None),
            ]
        )

        assert (await store.list_members(room, after=None, limit=1)) == [
            MemberRow("u_a", "A", "member", 1, 1)
        ]

    async def test_a_change_keeps_the_read_pointer(self, store: Store) -> None:
        """Who is a member already keeps role, time of joining and pointer, who came back does not."""
        room = await owned_room(store)
        await store.append(
            [change(room, "u_a", at_ms=1, read_seq=1), change(room, "u_b", at_ms=1, read_seq=1)]
        )
        await store.append(
            [
                change(room, "u_a", "moderator", at_ms=2, read_seq=2),
                change(room, "u_b", None),
                change(room, "u_b", at_ms=2, read_seq=2),
            ]
        )

        assert (await store.list_members(room, after=None, limit=2)) == [
            MemberRow("u_a", "U_A", "member", 1, 1),
            MemberRow("u_b", "U_B", "member", 2, 2),
        ]

    async def test_members_are_paged_by_user_id(self, store: Store) -> None:
        """Pages follow each other by code point, without overlap."""
        room = await owned_room(store)
        ids = ["u_Z", "u_a", "u_z", "u_é"]
        await store.append([change(room, user_id) for user_id in reversed(ids)])

        pages = []
        after = None
        while page := await store.list_members(room, after=after, limit=2):
            pages.append([member.user_id for member in page])
            after = page[-1].user_id
        assert pages == [["u_Z", "u_a"], ["u_owner", "u_z"], ["u_é"]]

    async def test_memberships_are_paged_by_room_name(self, store: Store) -> None:
        """Each user's rooms come by name with what the welcome tells, all users in one call."""
        rooms = {name: await owned_room(store, name) for name in ("c", "a", "b")}
        await store.append([message(rooms["b"], 1), event(rooms["b"], 2, n=1)])
        await store.append([change(rooms["b"], "u_bob", read_seq=1, read_n=1), change(rooms["a"], "u_bob")])

        pages = await store.memberships(["u_bob", "u_owner", "u_none"], after=None, limit=2)
        assert pages["u_bob"].rooms == [
            ("a", 1, 0, "member", 0, 0, 0),
            ("b", 1, 2, "member", 1, 0, 0),
        ]
        assert pages["u_bob"].next_after is None
        assert [room.room for room in pages["u_owner"].rooms] == ["a", "b"]
        assert pages["u_owner"].next_after == "b"
        assert pages["u_none"] == ([], None)
        rest = await store.memberships(["u_owner"], after="b", limit=2)
        assert [room.room for room in rest["u_owner"].rooms] == ["c"]
