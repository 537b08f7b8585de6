"""What every store promises; the same suite for Postgres and for its double.

A subclass provides the fixture `store`: an empty one.
"""

import pytest
import trio

from storage import (
    MAX_EPOCHS,
    Conflict,
    EpochStart,
    Fenced,
    MemberRow,
    RoomId,
    Store,
    Stored,
)
from tests.storage.contract_accounts import AccountContract
from tests.storage.contract_changes import ChangeContract, StateContract
from tests.storage.contract_governance import GovernanceContract
from tests.storage.contract_log import AppendContract, MemberContract, ParkContract
from tests.storage.contract_reads import ReadContract
from tests.storage.contract_reviews import RemovedContract, ReportContract, RulesContract
from tests.storage.contract_search import SearchContract
from tests.storage.rows import (
    AT_MS,
    change,
    event,
    make_room,
    message,
    new_room,
    owned_room,
    take_over,
)


class RoomContract:
    """Rooms, activation and history."""

    async def test_a_room_is_found_as_it_was_created(self, store: Store) -> None:
        """Its settings come back, and its creator is the owner."""
        created = await store.create_room(new_room("lobby", "private", by="u_ann"))

        assert await store.find_room("lobby") == created
        assert (created.kind, created.topic, created.slow_s) == ("private", "about lobby", 0.5)
        assert await store.list_members(created.room_id, after=None, limit=9) == [
            MemberRow("u_ann", "U_ANN", "owner", AT_MS, 0)
        ]
        assert await store.find_room("nowhere") is None

    async def test_a_name_is_taken_once(self, store: Store) -> None:
        """The second room of a name is a conflict, and the first one stays."""
        first = await store.create_room(new_room())

        with pytest.raises(Conflict):
            await store.create_room(new_room(by="u_other"))
        assert await store.find_room("lobby") == first

    async def test_public_rooms_are_listed_by_name(self, store: Store) -> None:
        """Private ones are not, and pages follow each other by code point."""
        for name in ("b", "a-1", "a.1", "a_1", "c"):
            await make_room(store, name)
        await make_room(store, "a", "private")

        first = await store.list_rooms(after=None, limit=3)
        assert [room.name for room in first] == ["a-1", "a.1", "a_1"]
        assert [room.name for room in await store.list_rooms(after="a_1", limit=3)] == ["b", "c"]
        everything = await store.list_rooms(after=None, limit=2, all_kinds=True)
        assert [room.name for room in everything] == ["a", "a-1"]

    async def test_activation_of_no_room(self, store: Store) -> None:
        """A room that does not exist cannot be taken over."""
        assert await store.activate("nowhere", tail_events=1, at_ms=AT_MS) is None

    async def test_activation_reads_all_that_an_owner_needs(self, store: Store) -> None:
        """The new epoch, the head, the tail in order, the members and the epochs."""
        room = await owned_room(store)
        log = [message(room, 1), message(room, 2), event(room, 3, n=2)]
        await store.append([*log, change(room, "u_bob", read_seq=2)])

        taken = await take_over(store, tail_events=2)
        assert taken.room == await store.find_room("lobby")
        assert (taken.epoch, taken.head_seq, taken.head_n, taken.head_at_ms) == (2, 3, 2, log[2].at_ms)
        assert list(taken.tail) == log[1:]
        assert [member.user_id for member in taken.members] == ["u_bob", "u_owner"]
        assert list(taken.epochs) == [EpochStart(1, 0), EpochStart(2, 3)]

    async def test_activation_without_a_tail(self, store: Store) -> None:
        """The head is known even when no tail is wanted, and in an empty log it is 0."""
        room = await make_room(store)
        empty = await take_over(store, tail_events=0)
        assert (empty.head_seq, empty.head_n, empty.head_at_ms, list(empty.tail)) == (0, 0, 0, [])

        await store.append([message(room, 1)])
        taken = await take_over(store, tail_events=0)
        assert (taken.head_seq, taken.head_n, list(taken.tail)) == (1, 1, [])

    async def test_epochs_that_wrote_nothing_are_left_out(self, store: Store) -> None:
        """The answer for every older epoch stays the same without them."""
        room = await owned_room(store)
        await take_over(store)
        await take_over(store)
        await store.append([message(room, 1, epoch=3)])
        await take_over(store)

        assert list((await take_over(store)).epochs) == [EpochStart(3, 0), EpochStart(5, 1)]

    async def test_the_epochs_kept_are_bounded(self, store: Store) -> None:
        """The oldest are forgotten, and a head above 0 at the oldest says so."""
        room = await owned_room(store)
        for epoch in range(1, MAX_EPOCHS + 3):
            await store.append([message(room, epoch, epoch=epoch)])
            await take_over(store, tail_events=1)

        taken = await take_over(store, tail_events=1)
        assert len(taken.epochs) == MAX_EPOCHS
        assert taken.epochs[-1] == EpochStart(MAX_EPOCHS + 4, MAX_EPOCHS + 2)
        assert taken.epochs[0].head_seq > 0

    async def test_concurrent_activations_get_different_epochs(self, store: Store) -> None:
        """Each of several who take a room over at once has its own epoch; the highest owns it."""
        room = await make_room(store)
        epochs: list[int] = []

        async def take() -> None:
            epochs.append((await take_over(store)).epoch)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(take)
        assert sorted(epochs) == [1, 2, 3, 4, 5]
        assert await store.append([message(room, 1, epoch=4)]) == [Fenced()]
        assert await store.append([message(room, 1, epoch=5)]) == [Stored()]

    async def test_an_append_is_seen_by_the_next_owner_or_fenced(self, store: Store) -> None:
        """However an append and an activation interleave, the new owner's head tells the append's fate."""
        for round_ in range(10):
            name = f"room{round_}"
            room = await owned_room(store, name)
            heads: list[int] = []
            receipts: list[object] = []

            async def write(room: RoomId = room, receipts: list[object] = receipts) -> None:
                receipts += await store.append([message(room, 1)])

            async def take(name: str = name, heads: list[int] = heads) -> None:
                heads.append((await take_over(store, name)).head_seq)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                nursery.start_soon(take)
            assert receipts == ([Stored()] if heads == [1] else [Fenced()])

    async def test_the_latest_page(self, store: Store) -> None:
        """Without a position history is the end of the log."""
        room = await owned_room(store)
        await store.append([message(room, seq) for seq in range(1, 8)])

        page = await store.history(room, limit=3)
        assert [item.seq for item in page.items] == [5, 6, 7]
        assert (page.more_before, page.more_after, page.epoch, page.durable_seq) == (True, False, 1, 7)

    @pytest.mark.parametrize(
        ("where", "seq", "limit", "seqs", "more"),
        [
            ("before", 4, 2, [2, 3], (True, True)),
            ("before", 3, 5, [1, 2], (False, True)),
            ("before", 1, 5, [], (False, True)),
            ("before", 99, 2, [6, 7], (True, False)),
            ("after", 0, 2, [1, 2], (False, True)),
            ("after", 5, 5, [6, 7], (True, False)),
            ("after", 7, 5, [], (True, False)),
            ("after", 99, 5, [], (True, False)),
            ("around", 4, 3, [3, 4, 5], (True, True)),
            ("around", 4, 4, [2, 3, 4, 5], (True, True)),
            ("around", 0, 4, [1, 2], (False, True)),
            ("around", 1, 4, [1, 2], (False, True)),
            ("around", 7, 4, [5, 6, 7], (True, False)),
            ("around", 99, 4, [6, 7], (True, False)),
            ("around", 4, 1, [4], (True, True)),
        ],
    )
    async def test_a_page_by_position(
        self, store: Store, where: str, seq: int, limit: int, seqs: list[int], more: tuple[bool, bool]
    ) -> None:
        """Pages below, above and around a seq, in rising order, with what lies beyond."""
        room = await owned_room(store)
        await store.append([message(room, number) for number in range(1, 8)])

        page = await store.history(
            room,
            before=seq if where == "before" else None,
            after=seq if where == "after" else None,
            around=seq if where == "around" else None,
            limit=limit,
        )
        assert [item.seq for item in page.items] == seqs
        assert (page.more_before, page.more_after) == more
        assert (page.epoch, page.durable_seq) == (1, 7)

    async def test_pages_of_nothing(self, store: Store) -> None:
        """An empty log and an unknown room have empty pages."""
        room = await owned_room(store)

        page = await store.history(room, limit=5)
        assert (list(page.items), page.more_before, page.more_after) == ([], False, False)
        assert (page.epoch, page.durable_seq) == (1, 0)
        nowhere = await store.history(RoomId(999), limit=5)
        assert (list(nowhere.items), nowhere.epoch, nowhere.durable_seq) == ([], 0, 0)

    async def test_keys_are_found_again(self, store: Store) -> None:
        """The keys that a sender has used tell where; others do not appear."""
        room = await owned_room(store)
        await store.append([message(room, 1, cid="a", body="x"), message(room, 2, cid="b", by="u_bob")])

        found = await store.find_cids(room, "u_ann", ["a", "b", "c"])
        assert found == {"a": (1, 1, AT_MS + 1, "x", "message", None)}
        assert await store.find_cids(RoomId(999), "u_ann", ["a"]) == {}


class StoreContract(
    AppendContract,
    ParkContract,
    MemberContract,
    ChangeContract,
    GovernanceContract,
    StateContract,
    ReadContract,
    RoomContract,
    AccountContract,
    SearchContract,
    RulesContract,
    ReportContract,
    RemovedContract,
):
    """All of it."""
