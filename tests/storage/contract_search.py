"""What every store promises about search; a part of the contract. Rooms are of language `simple`."""

import pytest

from storage import BadData, LogEntry, RoomId, SearchAsk, SearchKey, SearchPage, Store
from tests.storage.rows import (
    AT_MS,
    change,
    changed,
    make_room,
    message,
    owned_room,
    take_over,
    void,
)


async def index(store: Store, *rooms: RoomId) -> None:
    """Index all that is stored of these rooms."""
    step = await store.index_rooms(rooms, max_rows=1000)
    assert set(step.done) == set(rooms)


async def said(store: Store, *bodies: str, room: str = "lobby") -> RoomId:
    """A room in which these messages were said, indexed."""
    room_id = await owned_room(store, room)
    await store.append([message(room_id, seq, body=body) for seq, body in enumerate(bodies, 1)])
    await index(store, room_id)
    return room_id


async def ask(
    store: Store,
    query: str,
    *,
    room: str | None = "lobby",
    user: str = "u_ann",
    before: SearchKey | None = None,
    limit: int = 50,
    now_ms: int = AT_MS,
) -> SearchPage:
    """Search; there is such a room."""
    asked = SearchAsk(user_id=user, query=query, now_ms=now_ms, room=room, before=before, limit=limit)
    page = await store.search(asked)
    assert page is not None
    return page


async def is_hidden(store: Store, room: str, *, user: str = "u_ann", now_ms: int = AT_MS) -> bool:
    """Whether a room is none for a user who searches it."""
    asked = SearchAsk(user_id=user, query="tea", now_ms=now_ms, room=room, limit=9)
    return await store.search(asked) is None


async def seqs(store: Store, query: str, *, room: str | None = "lobby", user: str = "u_ann") -> list[int]:
    """The seqs of what is found."""
    return [hit.seq for hit in (await ask(store, query, room=room, user=user)).items]


def later(room_id: RoomId, seq: int, kind: str, of: int, body: str | None = None) -> LogEntry:
    """An event about an earlier message."""
    return changed(room_id, seq, kind, f'{{"of": {of}, "version": 2}}', body=body)


class SearchContract:
    """Words, order, pages, rights, and the index behind them."""

    async def test_messages_are_found_by_their_words(self, store: Store) -> None:
        """All words of the query, in any order and case, and only whole words."""
        await said(store, "The quick brown Fox", "a slow brown dog", "foxes are quick")

        assert await seqs(store, "brown") == [2, 1]
        assert await seqs(store, "FOX quick") == [1]
        assert await seqs(store, "brow") == []
        assert await seqs(store, "brown cat") == []

    async def test_phrases_alternatives_and_exclusions(self, store: Store) -> None:
        """What people type means what it means elsewhere."""
        await said(store, "quick brown fox", "brown quick fox", "green apple", "brown bear")

        assert await seqs(store, '"quick brown"') == [1]
        assert await seqs(store, "apple or bear") == [4, 3]
        assert await seqs(store, "brown -fox") == [4]
        assert await seqs(store, 'fox -"brown quick"') == [1]

    async def test_a_hit_tells_where_it_is_and_shows_what_was_found(self, store: Store) -> None:
        """Room, seq, time and author; the text in pieces, of which every second is what was found."""
        await said(store, "see the quick fox")
        (hit,) = (await ask(store, "quick")).items

        assert (hit.room, hit.seq, hit.at_ms) == ("lobby", 1, AT_MS + 1)
        assert (hit.by, hit.name) == ("u_ann", "U_ANN")
        assert "".join(hit.fragment) == "see the quick fox"
        assert list(hit.fragment[1::2]) == ["quick"]

    async def test_marks_in_a_text_cannot_be_taken_for_hits(self, store: Store) -> None:
        """Whatever characters a message holds, only what was found is shown as found."""
        await said(store, "\x01forged\x02 quick \x01x <b>y</b>")
        (hit,) = (await ask(store, "quick")).items

        assert list(hit.fragment[1::2]) == ["quick"]

    async def test_a_query_needs_a_word_that_must_be_there(self, store: Store) -> None:
        """Nothing but exclusions or punctuation finds nothing, and the answer says why."""
        await said(store, "hello")

        for query in ("-hello", "!?", "hello or -world", '""', " "):
            page = await ask(store, query)
            assert (page.searchable, list(page.items)) == (False, []), query
        assert (await ask(store, "nobody")).searchable

    async def test_newest_first_and_page_by_page(self, store: Store) -> None:
        """The next page begins where the last one ended, in one room and in all."""
        first = await said(store, *["tea"] * 5)
        await said(store, *["tea"] * 5, room="other")
        await store.append([message(first, 6, body="tea")])
        await index(store, first)

        for room, total in (("lobby", 6), (None, 11)):
            found: list[SearchKey] = []
            before: SearchKey | None = None
            while True:
                page = await ask(store, "tea", room=room, before=before, limit=2)
                found += [hit.key for hit in page.items]
                before = page.next
                if before is None:
                    break
            assert len(set(found)) == len(found) == total
            assert [key.at_ms for key in found] == sorted((key.at_ms for key in found), reverse=True)

    async def test_only_what_may_be_read_is_found(self, store: Store) -> None:
        """Public rooms and one's own; a private room of others does not exist."""
        await said(store, "tea")
        private = await make_room(store, "secret", "private")
        await take_over(store, "secret")
        await store.append([message(private, 1, body="tea"), change(private, "u_bob")])
        await index(store, private)

        assert await is_hidden(store, "secret")
        assert await is_hidden(store, "nowhere")
        assert [hit.room for hit in (await ask(store, "tea", room=None)).items] == ["lobby"]
        assert await seqs(store, "tea", room="secret", user="u_bob") == [1]
        found = await ask(store, "tea", room=None, user="u_bob")
        assert {hit.room for hit in found.items} == {"lobby", "secret"}

        await store.append([change(private, "u_bob", None)])
        assert await is_hidden(store, "secret", user="u_bob")
        assert await seqs(store, "tea", room=None, user="u_bob") == [1]

    async def test_what_was_purged_is_not_found(self, store: Store) -> None:
        """Whether the index has followed or not."""
        room = await said(store, "tea one", "tea two", "tea three")
        await store.append([changed(room, 4, "purge", '{"seqs":[1,3]}')])

        assert await seqs(store, "tea") == [2]
        await index(store, room)
        assert await seqs(store, "tea") == [2]

    async def test_who_is_banned_finds_nothing_until_the_ban_ends(self, store: Store) -> None:
        """Neither in the room nor everywhere; others do, and who is only muted does."""
        room = await said(store, "tea")
        other = await said(store, "tea", room="other")
        ban = f'{{"user":"u_ann","name":"ann","action":"ban","until":{AT_MS + 5}}}'
        mute = '{"user":"u_ann","name":"ann","action":"mute"}'
        await store.append([changed(room, 2, "sanction", ban, by="u_mod")])
        await store.append([changed(other, 2, "sanction", mute, by="u_mod")])
        await index(store, room, other)

        assert await is_hidden(store, "lobby", now_ms=AT_MS + 4)
        assert not await is_hidden(store, "lobby", now_ms=AT_MS + 5)
        assert not await is_hidden(store, "lobby", user="u_bob")
        found = await ask(store, "tea", room=None, now_ms=AT_MS + 4)
        assert [hit.room for hit in found.items] == ["other"]
        later_on = await ask(store, "tea", room=None, now_ms=AT_MS + 5)
        assert {hit.room for hit in later_on.items} == {"lobby", "other"}

    async def test_an_answer_says_how_far_the_index_is(self, store: Store) -> None:
        """What is stored and not indexed is not found, and the positions tell."""
        room = await said(store, "tea")
        await store.append([message(room, 2, body="tea")])

        page = await ask(store, "tea")
        assert ([hit.seq for hit in page.items], page.indexed_seq, page.durable_seq) == ([1], 1, 2)
        await index(store, room)
        page = await ask(store, "tea")
        assert ([hit.seq for hit in page.items], page.indexed_seq, page.durable_seq) == ([2, 1], 2, 2)

    async def test_an_edited_message_is_found_by_its_new_words(self, store: Store) -> None:
        """At its own place, with its new text, however the edits are spread over steps."""
        room = await said(store, "tea", "water")
        await store.append([later(room, 3, "edit", 1, "coffee"), later(room, 4, "edit", 1, "hot cocoa")])
        await index(store, room)

        assert await seqs(store, "tea") == await seqs(store, "coffee") == []
        (hit,) = (await ask(store, "cocoa")).items
        assert (hit.seq, hit.at_ms, "".join(hit.fragment)) == (1, AT_MS + 1, "hot cocoa")

    async def test_a_deleted_message_is_not_found(self, store: Store) -> None:
        """Whether it was indexed before or is deleted in the same step."""
        room = await said(store, "tea one")
        await store.append(
            [later(room, 2, "delete", 1), message(room, 3, body="tea two"), later(room, 4, "delete", 3)]
        )
        await index(store, room)

        assert await seqs(store, "tea") == []

    async def test_what_was_never_stored_is_not_found(self, store: Store) -> None:
        """A void seq, and the news of it."""
        room = await owned_room(store)
        await store.append([void(message(room, 1)), later(room, 2, "void", 1), message(room, 3, body="tea")])
        await index(store, room)

        assert await seqs(store, "tea") == [3]

    async def test_the_index_goes_on_where_it_stopped(self, store: Store) -> None:
        """Steps are bounded, say which rooms they finished, and may be repeated."""
        first, second = await owned_room(store, "a"), await owned_room(store, "b")
        await store.append([message(first, seq, body="tea") for seq in range(1, 6)])
        await store.append([message(second, 1, body="tea")])

        rows: dict[RoomId, int] = {}
        left = {first, second}
        for _ in range(10):
            step = await store.index_rooms(sorted(left), max_rows=3)
            assert sum(step.rows.values()) <= 3
            for room, count in step.rows.items():
                rows[room] = rows.get(room, 0) + count
            left -= set(step.done)
            if not left:
                break
        assert (rows, left) == ({first: 5, second: 1}, set())
        assert not (await store.index_rooms([first, second], max_rows=3)).rows
        assert len(await seqs(store, "tea", room=None)) == 6

    async def test_events_that_say_nothing_are_passed_over(self, store: Store) -> None:
        """They are told, and what comes after them is indexed."""
        room = await owned_room(store)
        bad = [later(room, 1, "edit", 1)._replace(data="nonsense"), later(room, 2, "delete", 0)]
        await store.append([*bad, message(room, 3, body="tea")])

        step = await store.index_rooms([room], max_rows=10)
        assert list(step.unreadable) == [(room, 1), (room, 2)]
        assert await seqs(store, "tea") == [3]

    async def test_one_event_can_be_skipped(self, store: Store) -> None:
        """The position moves over it, and over nothing at the end of the log."""
        room = await owned_room(store)
        await store.append([message(room, 1, body="tea"), message(room, 2, body="tea")])

        assert await store.skip_event(room) == 1
        await index(store, room)
        assert await seqs(store, "tea") == [2]
        assert await store.skip_event(room) is None

    async def test_rooms_that_do_not_exist_need_no_index(self, store: Store) -> None:
        """They are done at once."""
        step = await store.index_rooms([RoomId(77)], max_rows=10)
        assert (step.rows, list(step.done)) == ({}, [RoomId(77)])

    async def test_a_start_looks_only_at_rooms_that_were_open(self, store: Store) -> None:
        """A room is due until it is indexed to its end with nobody to write more, and again when opened."""
        first, second = await owned_room(store, "a"), await owned_room(store, "b")
        await store.append([message(first, 1), message(second, 1)])
        await index(store, first)

        due = await store.rooms_due(after=RoomId(0), limit=9)
        assert [(room.room_id, room.epoch, room.behind) for room in due] == [(first, 1, 0), (second, 1, 1)]
        assert [room.room_id for room in await store.rooms_due(after=first, limit=9)] == [second]
        assert [room.room_id for room in await store.rooms_due(after=RoomId(0), limit=1)] == [first]

        await store.settle_rooms(due)
        assert [room.room_id for room in await store.rooms_due(after=RoomId(0), limit=9)] == [second]
        await index(store, second)
        await take_over(store, "b")
        await store.settle_rooms(due)
        assert [room.room_id for room in await store.rooms_due(after=RoomId(0), limit=9)] == [second]
        await store.settle_rooms(await store.rooms_due(after=RoomId(0), limit=9))
        assert not await store.rooms_due(after=RoomId(0), limit=9)
        await take_over(store, "a")
        assert [room.room_id for room in await store.rooms_due(after=RoomId(0), limit=9)] == [first]

    async def test_a_query_that_is_no_text(self, store: Store) -> None:
        """A NUL cannot be looked for."""
        await said(store, "tea")
        with pytest.raises(BadData):
            await ask(store, "te\0a")
