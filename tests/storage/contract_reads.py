"""What every store promises about read pointers, and about what is unread and who is mentioned after them."""

from collections.abc import Sequence

import pytest

from storage import Entry, LogEntry, Membership, PointerMove, RoomId, Store, Stored
from storage.model import COUNTED_MAX
from tests.storage.rows import AT_MS, change, changed, event, message, owned_room, take_over


async def _membership(store: Store, user_id: str) -> Membership:
    """The one room of a user."""
    (found,) = (await store.memberships([user_id], after=None, limit=9))[user_id].rooms
    return found


async def _counts(store: Store, user_id: str) -> tuple[int, int, int]:
    """Pointer, unread and mentions in the one room of a user."""
    found = await _membership(store, user_id)
    return found.read_seq, found.unread, found.mentions


async def _room_of(store: Store, *users: str) -> RoomId:
    room = await owned_room(store)
    await store.append([change(room, user) for user in users])
    return room


def _mention(room: RoomId, seq: int, data: str, *, by: str = "u_ann") -> LogEntry:
    return message(room, seq, by=by, data=data)


class ReadContract:
    """Pointers, and the counts of a welcome."""

    async def test_a_pointer_moves_to_what_was_read(self, store: Store) -> None:
        """It is told wherever members are, and the next owner has it."""
        room = await _room_of(store, "u_bob")
        await store.append([message(room, seq) for seq in (1, 2, 3)])

        assert await store.move_pointers([PointerMove(room, "u_bob", 2)]) == {(room, "u_bob"): 2}

        bob = (await store.list_members(room, after=None, limit=1))[0]
        assert bob == ("u_bob", "U_BOB", "member", AT_MS, 2)
        assert (await take_over(store)).members[0] == bob
        assert await _counts(store, "u_bob") == (2, 1, 0)

    async def test_a_pointer_never_goes_back(self, store: Store) -> None:
        """A lower or an equal one changes nothing, and hears where it is."""
        room = await _room_of(store, "u_bob")
        await store.append([message(room, 1), message(room, 2)])
        await store.move_pointers([PointerMove(room, "u_bob", 2)])

        for seq in (0, 1, 2):
            assert await store.move_pointers([PointerMove(room, "u_bob", seq)]) == {(room, "u_bob"): 2}
        assert await _counts(store, "u_bob") == (2, 0, 0)

    @pytest.mark.parametrize("seq", [0, 3, 2**60])
    async def test_a_seq_that_is_not_stored_moves_nothing(self, store: Store, seq: int) -> None:
        """No pointer is above the log."""
        room = await _room_of(store, "u_bob")
        await store.append([message(room, 1), message(room, 2)])

        assert await store.move_pointers([PointerMove(room, "u_bob", seq)]) == {(room, "u_bob"): 0}
        assert await _counts(store, "u_bob") == (0, 2, 0)

    async def test_who_is_no_member_has_no_pointer(self, store: Store) -> None:
        """Such are left out, and the others are moved."""
        room = await _room_of(store, "u_bob")
        await store.append([message(room, 1)])
        moves = [
            PointerMove(room, "u_none", 1),
            PointerMove(room, "u_bob", 1),
            PointerMove(RoomId(999), "u_bob", 1),
        ]

        assert await store.move_pointers(moves) == {(room, "u_bob"): 1}
        assert await store.move_pointers([]) == {}

    async def test_many_pointers_move_at_once(self, store: Store) -> None:
        """Of several users, in several rooms."""
        first, second = await owned_room(store, "a"), await owned_room(store, "b")
        await store.append([change(room, user) for room in (first, second) for user in ("u_bob", "u_cat")])
        await store.append([message(room, seq) for room in (first, second) for seq in (1, 2)])
        moves = [
            PointerMove(second, "u_cat", 2),
            PointerMove(first, "u_bob", 1),
            PointerMove(second, "u_bob", 1),
        ]

        assert await store.move_pointers(moves) == {(room, user): seq for room, user, seq in moves}
        pages = await store.memberships(["u_bob", "u_cat"], after=None, limit=9)
        assert [(room.read_seq, room.unread) for room in pages["u_bob"].rooms] == [(1, 1), (1, 1)]
        assert [(room.read_seq, room.unread) for room in pages["u_cat"].rooms] == [(0, 2), (2, 0)]

    async def test_a_new_name_keeps_the_pointer_and_a_new_membership_does_not(self, store: Store) -> None:
        """Who comes back begins at the head of that time."""
        room = await _room_of(store, "u_bob")
        await store.append([message(room, 1), message(room, 2)])
        await store.move_pointers([PointerMove(room, "u_bob", 1)])
        await store.append([change(room, "u_bob", name="Robert")])
        assert await _counts(store, "u_bob") == (1, 1, 0)

        again = change(room, "u_bob", at_ms=AT_MS + 9, read_seq=2, read_n=2)
        await store.append([change(room, "u_bob", None), again])
        assert await _counts(store, "u_bob") == (2, 0, 0)

    async def test_a_batch_sent_again_takes_no_pointer_back(self, store: Store) -> None:
        """Its commit's reply was lost, and whoever came back in it has read since then."""
        room = await _room_of(store, "u_bob")
        batch: list[Entry] = [
            message(room, 1),
            change(room, "u_bob", None),
            change(room, "u_bob", at_ms=AT_MS + 9, read_seq=1, read_n=1),
            message(room, 2),
        ]
        await store.append(batch)
        await store.move_pointers([PointerMove(room, "u_bob", 2)])

        assert await store.append(batch) == [Stored()] * 4

        assert await _counts(store, "u_bob") == (2, 0, 0)
        await store.append([*batch, change(room, "u_bob", None)])
        assert (await store.memberships(["u_bob"], after=None, limit=9))["u_bob"].rooms == []

    async def test_only_messages_of_others_are_unread(self, store: Store) -> None:
        """Edits, reactions and the like are not, nor what one said oneself."""
        room = await _room_of(store, "u_ann", "u_bob")
        await store.append(
            [
                message(room, 1),
                message(room, 2, by="u_bob", n=2),
                changed(room, 3, "edit", '{"of":1,"version":2}', body="b")._replace(n=2),
                changed(room, 4, "react", '{"of":1,"emoji":"x"}', by="u_bob")._replace(n=2),
                event(room, 5, n=2),
                message(room, 6, n=3),
                changed(room, 7, "delete", '{"of":6}')._replace(n=3),
            ]
        )

        assert await _counts(store, "u_owner") == (0, 3, 0)
        assert await _counts(store, "u_ann") == (0, 1, 0)
        assert await _counts(store, "u_bob") == (0, 2, 0)
        await store.move_pointers([PointerMove(room, "u_ann", 1), PointerMove(room, "u_bob", 5)])
        assert await _counts(store, "u_ann") == (1, 1, 0)
        assert await _counts(store, "u_bob") == (5, 1, 0)

    async def test_a_message_that_became_void_may_count_one_too_many(self, store: Store) -> None:
        """Its ordinal is not given twice; it is never counted against others as one's own."""
        room = await _room_of(store, "u_ann")
        await store.append([message(room, 1, cid="k"), message(room, 2, cid="k"), message(room, 3)])

        assert await _counts(store, "u_ann") == (0, 1, 0)
        assert await _counts(store, "u_owner") == (0, 3, 0)

    async def test_mentions_of_a_user_are_counted(self, store: Store) -> None:
        """By name or as everybody, once a message; not one's own, and only after the pointer."""
        room = await _room_of(store, "u_ann", "u_bob")
        await store.append(
            [
                _mention(room, 1, '{"mentions":["u_bob","u_cat"]}'),
                _mention(room, 2, '{"mentions":["u_bob"],"here":true}'),
                message(room, 3),
                _mention(room, 4, '{"here":true}', by="u_bob"),
                _mention(room, 5, '{"mentions":["u_bob"]}', by="u_bob"),
                _mention(room, 6, '{"mentions":["u_owner"]}'),
            ]
        )

        assert (await _counts(store, "u_bob"))[2] == 2
        assert (await _counts(store, "u_ann"))[2] == 1
        assert (await _counts(store, "u_owner"))[2] == 3
        await store.move_pointers([PointerMove(room, "u_bob", 1), PointerMove(room, "u_owner", 4)])
        assert (await _counts(store, "u_bob"))[2] == 1
        assert (await _counts(store, "u_owner"))[2] == 1

    @pytest.mark.parametrize(
        ("kind", "data", "mentioned"),
        [
            ("edit", '{"of":1,"version":2,"mentions":["u_cat"]}', (0, 1)),
            ("edit", '{"of":1,"version":2,"here":true}', (1, 1)),
            ("edit", '{"of":1,"version":2}', (0, 0)),
            ("delete", '{"of":1}', (0, 0)),
            ("edit", '{"of":1,"mentions":["u_cat"]}', (1, 0)),
            ("edit", '{"of":0,"version":2,"mentions":["u_cat"]}', (1, 0)),
            ("edit", "nonsense", (1, 0)),
            ("delete", "{}", (1, 0)),
            ("react", '{"of":1,"emoji":"x","mentions":["u_cat"]}', (1, 0)),
        ],
    )
    async def test_the_present_text_mentions(
        self, store: Store, kind: str, data: str, mentioned: tuple[int, int]
    ) -> None:
        """An edit replaces whom its message mentions, a deletion ends it, and other events change nothing."""
        room = await _room_of(store, "u_bob", "u_cat")
        batch = [_mention(room, 1, '{"mentions":["u_bob"]}'), changed(room, 2, kind, data)]

        assert await store.append(batch) == [Stored()] * 2

        counts = [(await _counts(store, user))[2] for user in ("u_bob", "u_cat")]
        assert tuple(counts) == mentioned

    @pytest.mark.parametrize("data", ["nonsense", '{"a":1}', '{"mentions":"u_bob"}', '{"here":false}', "{}"])
    async def test_data_without_mentions_mentions_nobody(self, store: Store, data: str) -> None:
        """It is stored all the same."""
        room = await _room_of(store, "u_bob")

        assert await store.append([_mention(room, 1, data)]) == [Stored()]
        assert await _counts(store, "u_bob") == (0, 1, 0)

    async def test_a_mention_that_became_void_is_none(self, store: Store) -> None:
        """Neither of a message nor of an edit whose key had been used, nor twice when it is sent again."""
        room = await _room_of(store, "u_bob")
        batch: Sequence[LogEntry] = [
            message(room, 1, cid="k"),
            message(room, 2, cid="k", data='{"mentions":["u_bob"]}'),
            changed(room, 3, "edit", '{"of":1,"version":2,"here":true}', body="b", cid="k"),
            _mention(room, 4, '{"mentions":["u_bob","u_bob"]}'),
        ]
        for _ in range(2):
            await store.append(batch)
            assert (await _counts(store, "u_bob"))[2] == 1

    async def test_what_is_looked_at_is_bounded(self, store: Store) -> None:
        """Own messages among so many events are known, and so many mentions, after one pointer."""
        room = await _room_of(store, "u_ann", "u_bob")
        await store.append(
            [_mention(room, seq, '{"mentions":["u_bob"]}') for seq in range(1, COUNTED_MAX + 3)]
        )

        assert await _counts(store, "u_ann") == (0, 2, 0)
        assert await _counts(store, "u_bob") == (0, COUNTED_MAX + 2, COUNTED_MAX)
        await store.move_pointers([PointerMove(room, "u_ann", 2), PointerMove(room, "u_bob", 3)])
        assert await _counts(store, "u_ann") == (2, 0, 0)
        assert await _counts(store, "u_bob") == (3, COUNTED_MAX - 1, COUNTED_MAX - 1)
