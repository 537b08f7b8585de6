"""Users of outside issuers: one user for ever, many in a query, and known ones for free."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from chat.issuers import Claims
from chat.strangers import Strangers, stranger_id
from storage import IssuedUser, MemoryStore, NewUser, Store, Stranger, Unavailable
from storage.testing import Fault, FaultyStore
from tests.sim.harness import virtual_time


class CountingStore(MemoryStore):
    """Notes how many users each call asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def admit_users(self, strangers: Sequence[Stranger], *, at_ms: int) -> Mapping[str, IssuedUser]:
        """See `Store.admit_users`."""
        self.asked.append(len(strangers))
        return await super().admit_users(strangers, at_ms=at_ms)


@asynccontextmanager
async def open_strangers(store: Store) -> AsyncGenerator[Strangers]:
    """Those who find them, at work."""
    strangers = Strangers(
        store,
        now_ms=lambda: 0,
        random_bytes=Random(1).randbytes,  # noqa: S311  a test's chance
        timeout_s=5.0,
        max_batch=500,
        max_waiting=500,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(strangers.run)
        yield strangers
        nursery.cancel_scope.cancel()


def claims(subject: str = "7f3a", name: str | None = "Ann", issuer: str = "https://id.test") -> Claims:
    """What a good token says."""
    return Claims(issuer, subject, name, None, 9_999, None)


def test_an_id_is_the_issuers_and_the_subjects_own() -> None:
    """The same for ever; where one ends and the other begins makes a difference."""
    assert stranger_id("https://id.test", "7f3a") == "u_wew5rqnl2vws7rb3yrsjlhbujvmlzgcf"
    ids = {
        stranger_id(*pair) for pair in (("a", "bc"), ("ab", "c"), ("abc", ""), ("a", "b\0c"), ("a", "\ud800"))
    }
    assert len(ids) == 5
    assert all(len(user_id) == 34 for user_id in ids)


@virtual_time
async def test_a_crowd_is_one_query_and_those_who_come_back_are_none() -> None:
    """For some minutes; then the store is asked again."""
    store = CountingStore()
    async with open_strangers(store) as strangers:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(strangers.find, claims(f"{number}", f"user {number}"))
        assert len(store.asked) <= 2
        assert sum(store.asked) == 100
        store.asked.clear()
        await trio.sleep(299)
        assert (await strangers.find(claims("7"))).user.name == "user 7"
        assert store.asked == []
        await trio.sleep(2)
        assert (await strangers.find(claims("7"))).user.name == "user 7"
        assert store.asked == [1]


@pytest.mark.parametrize(
    ("claimed", "shown"),
    [
        ("Ann", "Ann"),
        (" Zoe\u0308 ", "Zo\u00eb"),
        ("x" * 500, "x" * 32),
        ("\ud800", None),
        ("a\u202eb", None),
        ("", None),
        (None, None),
    ],
)
@virtual_time
async def test_a_name_is_shown_as_far_as_it_can_be(claimed: str | None, shown: str | None) -> None:
    """An issuer's names are its own; who has none that can be shown gets one."""
    async with open_strangers(MemoryStore()) as strangers:
        name = (await strangers.find(claims(name=claimed))).user.name
    if shown is None:
        assert name.startswith("user ")
    else:
        assert name == shown


@virtual_time
async def test_a_name_that_is_taken_gets_a_mark() -> None:
    """Nobody becomes somebody else by an issuer's names; the name stays as it was at first sight."""
    store = MemoryStore()
    await store.create_user(NewUser("u_1", "Ann", "ann", "admin"), at_ms=0)
    async with open_strangers(store) as strangers:
        one = await strangers.find(claims("1", "ANN"))
        long = await strangers.find(claims("2", "x" * 32))
        other = await strangers.find(claims("3", "X" * 32))
        strangers.forget(one.user.user_id)
        again = await strangers.find(claims("1", "Anna"))

    assert one.user.name.startswith("ANN #")
    assert one.user.role == "user"
    assert one == again
    assert long.user.name == "x" * 32
    assert other.user.name.startswith("X" * 22 + " #")
    assert len(other.user.name) == 32


@virtual_time
async def test_a_look_up_that_a_change_overtakes_is_not_remembered() -> None:
    """Who was forgotten in the meantime is asked for again."""
    store = CountingStore()
    faults = {"admit_users": Fault(after_s=1.0)}
    async with open_strangers(FaultyStore(store, faults.get)) as strangers, trio.open_nursery() as nursery:
        nursery.start_soon(strangers.find, claims())
        await trio.sleep(0.5)
        strangers.forget(stranger_id("https://id.test", "7f3a"))
        await trio.sleep(1)
        await strangers.find(claims())
        await strangers.find(claims())
        assert store.asked == [1, 1]


@virtual_time
async def test_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are too many the one found the longest time ago is asked for again."""
    monkeypatch.setattr("chat.strangers.KEPT_MAX", 2)
    store = CountingStore()
    async with open_strangers(store) as strangers:
        for subject in ("1", "2", "3", "3", "2", "1"):
            await strangers.find(claims(subject, f"user {subject}"))
    assert len(store.asked) == 4


@virtual_time
async def test_who_finds_no_name_is_told_to_come_again() -> None:
    """Both names are taken, which chance does not do twice."""
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:

        async def nobody(_strangers: object, *, at_ms: int) -> Mapping[str, IssuedUser]:
            del at_ms
            await trio.lowlevel.checkpoint()
            return {}

        patch.setattr(store, "admit_users", nobody)
        async with open_strangers(store) as strangers:
            with pytest.raises(Unavailable):
                await strangers.find(claims())
