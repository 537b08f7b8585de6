"""Search as only a real database can do it, and the pure parts of it."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Database, MemoryStore, PostgresStore, RoomId, SearchAsk, Store, Tx
from storage.fragments import FRAGMENT_CHARACTERS, START, STOP, pieces
from storage.memory_search import matches, parse
from storage.search_fold import Event, fold_events
from storage.search_model import LANGUAGES
from storage.search_tags import SPANS, next_window, windows
from tests.storage.contract_search import ask, index, seqs
from tests.storage.rows import AT_MS, event, message, new_room, owned_room, take_over

ROOM = RoomId(1)


@pytest.fixture
async def store(database: Database) -> Store:
    """A store on a fresh database."""
    return PostgresStore(database)


async def said_in(store: Store, language: str, *bodies: str) -> RoomId:
    """A room of a language, named like it, in which these messages were said."""
    room = await store.create_room(replace(new_room(language), language=language))
    assert room.language == language
    await take_over(store, language)
    await store.append([message(room.room_id, seq, body=body) for seq, body in enumerate(bodies, 1)])
    await index(store, room.room_id)
    return room.room_id


async def test_a_room_s_language_decides_what_a_word_is(store: Store) -> None:
    """Stems are one word in English, and another one in a room without a language."""
    await said_in(store, "english", "she was running", "the runner")
    await said_in(store, "simple", "she was running", "to run")

    assert await seqs(store, "run", room="english") == [1]
    assert await seqs(store, "run", room="simple") == [2]
    found = (await ask(store, "run", room=None)).items
    assert {(hit.room, hit.seq) for hit in found} == {("english", 1), ("simple", 2)}
    (hit,) = (await ask(store, "run", room="english")).items
    assert list(hit.fragment[1::2]) == ["running"]


async def test_a_query_of_stop_words_has_nothing_to_look_for(store: Store) -> None:
    """In English; a room of language `simple` has no stop words, and is searched."""
    await said_in(store, "english", "to be or not to be")
    assert not (await ask(store, "the of", room="english")).searchable
    assert not (await ask(store, "the of", room=None)).searchable

    await said_in(store, "simple", "the best of all")
    assert await seqs(store, "the of", room="simple") == [1]
    assert [hit.room for hit in (await ask(store, "the of", room=None)).items] == ["simple"]


async def test_every_language_of_the_list_is_known(store: Store) -> None:
    """A room of each can be filled and searched."""
    for language in sorted(LANGUAGES):
        await said_in(store, language, "parley")
        assert await seqs(store, "parley", room=language) == [1]


async def test_a_message_that_is_erased_shows_no_more(database: Database, store: Store) -> None:
    """Also while the index has not heard of it; the page goes on behind it."""
    room = await owned_room(store)
    await store.append([message(room, seq, body="tea") for seq in (1, 2, 3)])
    await index(store, room)

    async def erase(tx: Tx) -> None:
        await tx.execute("UPDATE log SET body = NULL WHERE seq = 3")

    await database.read(erase)

    page = await ask(store, "tea", limit=1)
    assert list(page.items) == []
    assert page.next is not None
    page = await ask(store, "tea", before=page.next, limit=1)
    assert [hit.seq for hit in page.items] == [2]


async def test_text_cannot_forge_a_tag(store: Store) -> None:
    """Neither a message nor a query reaches another room's messages by its tag."""
    room = await owned_room(store)
    other = await owned_room(store, "other")
    tag = f"'r {room}' r\\ {room} r {room} l simple"
    await store.append([message(room, 1, body="tea"), message(other, 1, body=f"tea {tag}")])
    await index(store, room, other)

    assert len((await ask(store, "tea", room="lobby")).items) == 1
    assert await seqs(store, f"tea or 'r {room}'", room="other") == [1]


async def test_the_newest_come_first_at_any_distance_in_time(store: Store) -> None:
    """Both stores give the same pages of messages that are seconds or years apart, in rooms of any size."""
    rng = Random(11)  # noqa: S311  the same messages every time
    memory = MemoryStore()
    for each in (store, memory):
        rooms = [await owned_room(each, name) for name in ("big", "mid", "small")]
        for room, count in zip(rooms, (2500, 300, 5), strict=True):
            chance, at_ms = Random(int(room)), AT_MS  # noqa: S311  the same messages in both
            batch = []
            for seq in range(1, count + 1):
                at_ms += int(10 ** chance.uniform(0, 9 if seq % 100 == 0 else 5))
                body = " ".join(chance.choices(["tea", "milk", "rare"], weights=[60, 39, 1], k=3))
                batch.append(message(room, seq, body=body)._replace(at_ms=at_ms))
            await each.append(batch)
            left = [room]
            while left:
                step = await each.index_rooms(left, max_rows=1000)
                left = [room for room in left if room not in step.done]

    for query in ("tea", "rare", "rare milk", "rare -milk", '"tea rare"', "nothing"):
        for room_name in ("big", "mid", "small", None):
            before = None
            for _ in range(3):
                asked = SearchAsk(
                    user_id="u_ann",
                    query=query,
                    now_ms=0,
                    room=room_name,
                    before=before,
                    limit=rng.choice([1, 7, 50]),
                )
                page, expected = await store.search(asked), await memory.search(asked)
                assert page is not None
                assert expected is not None
                assert [hit.key for hit in page.items] == [hit.key for hit in expected.items], asked
                assert page.next == expected.next
                before = page.next
                if before is None:
                    break


@given(st.integers(0, 2**53), st.lists(st.integers(0, 2**53), max_size=20))
def test_windows_reach_back_to_the_beginning(newest_ms: int, times: list[int]) -> None:
    """Each further than the one before, the last one everywhere; the tags of a time say which have it."""
    looks = windows(newest_ms)
    lows = [look.low_ms for look in looks]

    assert lows == sorted(lows, reverse=True)
    assert (looks[-1].tags, looks[-1].low_ms) == (None, 0)
    for look, (name, power) in zip(looks, SPANS.items(), strict=False):
        for at_ms in [*times, newest_ms]:
            if at_ms <= newest_ms:
                inside = f"'{name} {at_ms >> power}'" in (look.tags or "")
                assert inside is (at_ms >= look.low_ms)


def test_a_window_without_hits_saves_the_next_one() -> None:
    """But the last is never passed over."""
    assert [next_window(place, 0, 5) for place in range(5)] == [2, 3, 4, 5, 5]
    assert [next_window(place, 3, 5) for place in range(5)] == [1, 2, 3, 4, 5]


@given(st.text(alphabet="ab \n\x01\x02", max_size=600))
def test_pieces_are_bounded_and_hold_no_marks(marked: str) -> None:
    """Whatever is marked, the pieces together are no longer than they may be."""
    split = pieces(marked)

    assert sum(map(len, split)) <= FRAGMENT_CHARACTERS
    assert START not in "".join(split)


def test_a_long_text_is_cut_around_what_was_found() -> None:
    """The hit stays, with a little before it."""
    split = pieces("x" * 500 + f" {START}hit{STOP} " + "y" * 500)

    assert split[1] == "hit"
    assert split[0].startswith("…x")
    assert split[2].endswith("y…")


def test_the_last_change_of_a_message_wins() -> None:
    """A step does not write what the same step takes back."""
    events = [
        Event(ROOM, 1, 0, "message", None),
        Event(ROOM, 2, 0, "edit", '{"of": 1}'),
        Event(ROOM, 3, 0, "message", None),
        Event(ROOM, 4, 0, "delete", '{"of": 3}'),
        Event(ROOM, 5, 0, "edit", '{"of": 1}'),
        Event(ROOM, 6, 0, "void", None),
        Event(ROOM, 7, 0, "react", '{"of": 1}'),
        Event(ROOM, 8, 0, "edit", '{"of": true}'),
    ]

    changes = fold_events(events)
    assert list(changes.texts) == [(ROOM, 1, 5)]
    assert list(changes.gone) == [(ROOM, 3)]
    assert list(changes.unreadable) == [(ROOM, 8)]


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("a b", "b x a", True),
        ('"a b"', "b a", False),
        ("a OR b", "b", True),
        ("a -b", "a b", False),
        ('-"a b" c', "a c b", True),
        ("or", "or", False),
    ],
)
def test_the_double_s_own_parser(query: str, text: str, found: bool) -> None:
    """Words, phrases, alternatives, exclusions."""
    assert matches(parse(query), text) is found


async def test_an_event_that_came_with_another_kind_is_no_message(store: Store) -> None:
    """An edit of what is no message adds nothing."""
    room = await owned_room(store)
    edit = event(room, 2, kind="edit")._replace(body="tea", data='{"of": 1}')
    await store.append([event(room, 1), edit])
    await index(store, room)

    assert await seqs(store, "tea") == []
