"""What every store promises about the present of messages, reactions, pins, threads and shared state."""

from storage import (
    CidConflict,
    Duplicate,
    FoldedMessage,
    LogEntry,
    MessagePage,
    MessageRange,
    ReactionCount,
    ReactionRow,
    RoomId,
    StateRow,
    Store,
    Stored,
)
from tests.storage.rows import AT_MS, bodies, changed, message, owned_room, read_log, take_over


async def _fold(store: Store, room: RoomId, seq: int, user_id: str = "u_ann") -> FoldedMessage:
    page = await store.fold_messages(room, [seq], user_id=user_id)
    return page.messages[seq]


class ChangeContract:
    """Edits, deletions, reactions and pins, and what is read of them."""

    async def test_a_message_that_nothing_happened_to_is_as_it_was_sent(self, store: Store) -> None:
        """Version 1, its own text, and nothing else; seqs that are not stored are left out."""
        room = await owned_room(store)
        await store.append([message(room, 1, body="hello")])

        page = await store.fold_messages(room, [1, 2], user_id="u_ann")

        assert page.durable_seq == 1
        assert page.messages == {
            1: FoldedMessage(1, "message", "u_ann", "hello", 1, None, None, None, None, 0, None, [])
        }
        assert (await store.fold_messages(room, [], user_id="u_ann")).durable_seq == 1

    async def test_an_edit_is_the_present_text(self, store: Store) -> None:
        """The last one counts; the log keeps what was said before."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a"),
            changed(room, 2, "edit", '{"of":1,"version":2}', body="b"),
            changed(room, 3, "edit", '{"of":1,"version":3,"here":true}', body="c"),
        ]

        assert await store.append(batch) == [Stored()] * 3

        found = await _fold(store, room, 1)
        assert (found.body, found.version, found.edited_at_ms) == ("c", 3, AT_MS + 3)
        assert found.edit_data == '{"of":1,"version":3,"here":true}'
        assert await read_log(store, room) == batch

    async def test_a_deletion_erases_every_text_of_the_message(self, store: Store) -> None:
        """The rows stay where they are, with their keys; other messages keep their texts."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a", cid="k"),
            message(room, 2, body="other"),
            changed(room, 3, "edit", '{"of":1,"version":2}', body="b", cid="e"),
            changed(room, 4, "react", '{"of":1,"emoji":"x"}'),
            changed(room, 5, "pin", '{"of":1}'),
            changed(room, 6, "delete", '{"of":1,"reason":"why"}'),
        ]
        await store.append(batch)

        assert bodies(await read_log(store, room)) == [None, "other", None, None, None, None]
        found = await _fold(store, room, 1)
        assert (found.body, found.delete_seq, found.pin_seq, found.reactions) == (None, 6, None, [])
        assert (await store.list_pins(room, user_id="u_ann", before=None, limit=9)).pins == []
        assert await store.list_reactions(room, 1, emoji=None, after=None, limit=9) == []
        known = await store.find_cids(room, "u_ann", ["k", "e"])
        assert {cid: (where.seq, where.body, where.kind) for cid, where in known.items()} == {
            "k": (1, None, "message"),
            "e": (3, None, "edit"),
        }

    async def test_a_purge_erases_many_at_once(self, store: Store) -> None:
        """As so many deletions do; what was deleted before keeps the event that did it, others stay."""
        room = await owned_room(store)
        await store.append(
            [
                message(room, 1, body="a"),
                changed(room, 2, "edit", '{"of":1,"version":2}', body="b"),
                changed(room, 3, "react", '{"of":1,"emoji":"x"}'),
                changed(room, 4, "pin", '{"of":1}'),
                message(room, 5, body="c"),
                message(room, 6, body="d"),
                changed(room, 7, "delete", '{"of":5}'),
            ]
        )
        batch = [changed(room, 8, "purge", '{"seqs":[1,5],"user":"u_ann","reason":"spam"}', by="u_mod")]
        assert await store.append(batch) == await store.append(batch) == [Stored()]

        assert bodies(await read_log(store, room)) == [None, None, None, None, None, "d", None, None]
        found = await _fold(store, room, 1)
        assert (found.body, found.delete_seq, found.pin_seq, found.reactions) == (None, 8, None, [])
        assert (await _fold(store, room, 5)).delete_seq == 7
        assert (await _fold(store, room, 6)).body == "d"
        (row,) = await store.read_audit(room, after=7, limit=9)
        assert (row.action, row.actor, row.target, row.reason) == ("purge", "u_mod", "u_ann", "spam")

    async def test_a_purge_is_of_what_came_before_it(self, store: Store) -> None:
        """Also in one batch with what comes after."""
        room = await owned_room(store)
        await store.append(
            [message(room, 1), changed(room, 2, "purge", '{"seqs":[1,3]}'), message(room, 3, body="later")]
        )

        assert bodies(await read_log(store, room)) == [None, None, "later"]
        assert (await _fold(store, room, 3)).delete_seq is None

    async def test_a_purge_that_does_not_say_of_what_is_passed_over(self, store: Store) -> None:
        """It is in the log, and about nothing."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a"),
            changed(room, 2, "purge", '{"seqs":7}'),
            changed(room, 3, "purge", "{}"),
            changed(room, 4, "purge", '{"seqs":[]}'),
        ]

        assert await store.append(batch) == [Stored()] * 4
        assert (await _fold(store, room, 1)).body == "a"

    async def test_messages_are_found_by_author_time_and_place(self, store: Store) -> None:
        """Those that are there, in order: no other events, and nothing that was deleted."""
        room = await owned_room(store)
        await store.append(
            [
                message(room, 1),
                message(room, 2, by="u_bob"),
                changed(room, 3, "react", '{"of":1,"emoji":"x"}'),
                message(room, 4),
                message(room, 5),
                message(room, 6, by="u_bob"),
                changed(room, 7, "delete", '{"of":4}'),
            ]
        )

        async def found(wanted: MessageRange, limit: int = 9) -> list[int]:
            page = await store.find_messages(room, wanted, limit=limit)
            assert page.next_after == (page.seqs[-1] if limit == 2 else None)
            return list(page.seqs)

        assert await found(MessageRange()) == [1, 2, 5, 6]
        assert await found(MessageRange(), 2) == [1, 2]
        assert await found(MessageRange(after=2)) == [5, 6]
        assert await found(MessageRange(author="u_ann")) == [1, 5]
        assert await found(MessageRange(since_ms=AT_MS + 2, until_ms=AT_MS + 6)) == [2, 5]
        assert await found(MessageRange(author="u_bob", since_ms=AT_MS + 3)) == [6]
        assert await found(MessageRange(since_ms=AT_MS + 99)) == []
        assert await found(MessageRange(until_ms=AT_MS)) == []
        assert await found(MessageRange(seqs=[6, 3, 4, 1, 99])) == [1, 6]
        assert await found(MessageRange(seqs=[6, 5, 1], author="u_ann", after=1)) == [5]
        nowhere = await store.find_messages(RoomId(999), MessageRange(since_ms=5), limit=9)
        assert nowhere == MessagePage([], None)

    async def test_a_batch_with_a_deletion_may_be_sent_again(self, store: Store) -> None:
        """An erased text equals any: the receipts are the same, and nothing comes back."""
        room = await owned_room(store)
        batch = [message(room, 1, body="a", cid="k"), changed(room, 2, "delete", '{"of":1}')]
        await store.append(batch)

        assert await store.append(batch) == [Stored()] * 2
        assert bodies(await read_log(store, room)) == [None, None]
        again = message(room, 3, body="anything", cid="k")
        assert await store.append([again]) == [Duplicate(1, 1, batch[0].at_ms)]

    async def test_a_key_belongs_to_its_kind_of_event(self, store: Store) -> None:
        """A message under the key of a reaction is a conflict, not a duplicate."""
        room = await owned_room(store)
        await store.append([message(room, 1), changed(room, 2, "react", '{"of":1,"emoji":"x"}', cid="k")])

        assert await store.append([message(room, 3, cid="k")]) == [CidConflict(2)]

    async def test_what_became_void_changes_nothing(self, store: Store) -> None:
        """Neither an edit, nor a reaction, nor a message of a thread whose key had been used."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a", cid="k"),
            changed(room, 2, "edit", '{"of":1,"version":2}', body="b", cid="k"),
            changed(room, 3, "react", '{"of":1,"emoji":"x"}', cid="k"),
            message(room, 4, body="c", cid="k", thread=1),
            changed(room, 5, "state", '{"key":"k","value":1,"version":1}', cid="k"),
        ]

        assert await store.append(batch) == [Stored(), *[CidConflict(1)] * 4]

        found = await _fold(store, room, 1)
        assert (found.body, found.version, found.thread_count, found.reactions) == ("a", 1, 0, [])
        assert (await store.read_state(room, key=None, after=None, limit=9)).rows == []

    async def test_events_that_do_not_say_what_they_are_about_change_nothing(self, store: Store) -> None:
        """They are stored all the same."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a"),
            changed(room, 2, "edit", "nonsense", body="b"),
            changed(room, 3, "edit", '{"of":1}', body="b"),
            changed(room, 4, "delete", '{"of":0}'),
            changed(room, 5, "react", '{"of":1}'),
            changed(room, 6, "state", '{"key":"k","value":1}'),
            changed(room, 7, "pin", "{}"),
        ]

        assert await store.append(batch) == [Stored()] * 7

        found = await _fold(store, room, 1)
        assert (found.body, found.version, found.pin_seq, found.reactions) == ("a", 1, None, [])
        assert (await store.read_state(room, key=None, after=None, limit=9)).rows == []

    async def test_reactions_are_counted_by_emoji(self, store: Store) -> None:
        """In the order of their first; a user's own are told; one that was taken back is gone."""
        room = await owned_room(store)
        given = [("u_ann", "z"), ("u_ann", "a"), ("u_bob", "z"), ("u_cat", "m")]
        batch: list[LogEntry] = [message(room, 1)]
        for seq, (by, emoji) in enumerate(given, start=2):
            batch.append(changed(room, seq, "react", f'{{"of":1,"emoji":"{emoji}"}}', by=by))
        batch.append(changed(room, 6, "react", '{"of":1,"emoji":"m","remove":true}', by="u_cat"))
        await store.append(batch)

        assert (await _fold(store, room, 1)).reactions == [
            ReactionCount("z", 2, 2),
            ReactionCount("a", 1, 3),
        ]
        assert (await _fold(store, room, 1, "u_bob")).reactions == [
            ReactionCount("z", 2, 4),
            ReactionCount("a", 1, None),
        ]

    async def test_who_reacted_is_listed_by_emoji_and_user(self, store: Store) -> None:
        """Pages continue after the last one; one emoji may be asked for alone."""
        room = await owned_room(store)
        given = [("u_bob", "z"), ("u_ann", "z"), ("u_ann", "a")]
        await store.append(
            [
                message(room, 1),
                *(
                    changed(room, seq, "react", f'{{"of":1,"emoji":"{emoji}"}}', by=by)
                    for seq, (by, emoji) in enumerate(given, start=2)
                ),
            ]
        )
        rows = [
            ReactionRow("a", "u_ann", "U_ANN", 4),
            ReactionRow("z", "u_ann", "U_ANN", 3),
            ReactionRow("z", "u_bob", "U_BOB", 2),
        ]

        assert await store.list_reactions(room, 1, emoji=None, after=None, limit=9) == rows
        assert await store.list_reactions(room, 1, emoji=None, after=("a", "u_ann"), limit=1) == rows[1:2]
        assert await store.list_reactions(room, 1, emoji="z", after=None, limit=1) == rows[1:2]
        assert await store.list_reactions(room, 1, emoji="z", after=("z", "u_ann"), limit=9) == rows[2:]
        assert await store.list_reactions(room, 1, emoji="z", after=("a", "u_bob"), limit=9) == rows[1:]
        assert await store.list_reactions(room, 1, emoji="a", after=("z", "u_ann"), limit=9) == []

    async def test_pins_are_listed_the_latest_first(self, store: Store) -> None:
        """With their messages; what was unpinned is not there."""
        room = await owned_room(store)
        batch = [message(room, seq) for seq in (1, 2, 3)]
        batch += [changed(room, seq, "pin", f'{{"of":{of}}}') for seq, of in ((4, 3), (5, 1), (6, 2))]
        batch.append(changed(room, 7, "pin", '{"of":2,"remove":true}'))
        await store.append(batch)

        for before, limit, expected in ((None, 9, [(1, 5), (3, 4)]), (None, 1, [(1, 5)]), (5, 9, [(3, 4)])):
            page = await store.list_pins(room, user_id="u_ann", before=before, limit=limit)
            assert page.durable_seq == 7
            assert [(entry.seq, folded.pin_seq) for entry, folded in page.pins] == expected
            assert [entry for entry, _ in page.pins] == [batch[entry.seq - 1] for entry, _ in page.pins]

    async def test_a_page_may_have_the_present_of_its_messages(self, store: Store) -> None:
        """Of those that are in it, and of no other event."""
        room = await owned_room(store)
        batch = [
            message(room, 1, body="a"),
            message(room, 2, body="b", thread=1),
            changed(room, 3, "edit", '{"of":1,"version":2}', body="c"),
            changed(room, 4, "react", '{"of":2,"emoji":"x"}'),
        ]
        await store.append(batch)

        page = await store.history(room, after=0, fold_for="u_ann", limit=3)
        assert list(page.items) == batch[:3]
        assert page.folded == (await store.fold_messages(room, [1, 2], user_id="u_ann")).messages
        assert (await store.history(room, limit=9)).folded == {}
        thread = await store.history(room, thread=1, fold_for="u_bob", limit=9)
        assert thread.folded == (await store.fold_messages(room, [2], user_id="u_bob")).messages
        empty = await store.history(room, after=3, fold_for="u_ann", limit=9)
        assert (list(empty.items), empty.folded) == (batch[3:], {})

    async def test_a_thread_is_read_as_a_log_of_its_own(self, store: Store) -> None:
        """Its pages have their own ends, and its root knows how many there are."""
        room = await owned_room(store)
        log = [message(room, seq, thread=1 if seq in {2, 4, 5, 7} else None) for seq in range(1, 9)]
        await store.append(log)

        found = await _fold(store, room, 1)
        assert (found.thread_count, found.thread_last) == (4, 7)
        latest = await store.history(room, thread=1, limit=2)
        assert [entry.seq for entry in latest.items] == [5, 7]
        assert (latest.more_before, latest.more_after, latest.durable_seq) == (True, False, 8)
        older = await store.history(room, thread=1, before=5, limit=9)
        assert [entry.seq for entry in older.items] == [2, 4]
        assert (older.more_before, older.more_after) == (False, True)
        newer = await store.history(room, thread=1, after=2, limit=2)
        assert [entry.seq for entry in newer.items] == [4, 5]
        assert (newer.more_before, newer.more_after) == (True, True)
        around = await store.history(room, thread=1, around=4, limit=2)
        assert [entry.seq for entry in around.items] == [2, 4]
        none = await store.history(room, thread=3, limit=2)
        assert (list(none.items), none.more_before, none.more_after) == ([], False, False)


class StateContract:
    """The shared state of a room."""

    async def test_the_last_value_of_a_key_is_kept(self, store: Store) -> None:
        """As it was written, to the letter; read by key or page by page, and handed to the next owner."""
        room = await owned_room(store)
        values = ['{"a": [1,2.50],"b":"\\u00fc"}', "7", "8"]
        batch = [
            changed(room, seq, "state", f'{{"key":"{key}","value":{value},"version":{version}}}')
            for seq, (key, value, version) in enumerate(
                [("b", values[1], 1), ("a", values[0], 1), ("b", values[2], 2)], start=1
            )
        ]
        await store.append(batch)
        rows = [StateRow("a", values[0], 1, 2), StateRow("b", "8", 2, 3)]

        page = await store.read_state(room, key=None, after=None, limit=9)
        assert (page.durable_seq, list(page.rows)) == (3, rows)
        assert list((await store.read_state(room, key=None, after=None, limit=1)).rows) == rows[:1]
        assert list((await store.read_state(room, key=None, after="a", limit=9)).rows) == rows[1:]
        assert list((await store.read_state(room, key="b", after=None, limit=9)).rows) == rows[1:]
        assert list((await store.read_state(room, key="c", after=None, limit=9)).rows) == []
        assert list((await take_over(store)).state) == rows

    async def test_a_removed_key_leaves_its_version_behind(self, store: Store) -> None:
        """The highest of them stays, for the next owner alone: no version comes twice."""
        room = await owned_room(store)
        steps = [
            ("a", "1", 1),
            ("a", "null", 2),
            ("b", "1", 7),
            ("b", "null", 8),
            ("c", "1", 3),
            ("c", "null", 4),
        ]
        await store.append(
            [
                changed(room, seq, "state", f'{{"key":"{key}","value":{value},"version":{version}}}')
                for seq, (key, value, version) in enumerate(steps, start=1)
            ]
        )

        assert list((await store.read_state(room, key=None, after=None, limit=9)).rows) == []
        assert list((await take_over(store)).state) == [StateRow("", None, 8, 6)]
