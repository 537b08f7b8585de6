"""Copies of texts in reports that nobody closes: their worker, on the virtual clock."""

import trio

from chat.config import Config
from chat.report_copies import KEPT_MS, PAGE
from storage import MemoryStore, NewReport, RoomId, Unavailable
from storage.testing import Fault
from tests.sim.harness import BEGIN_MS, Sim, as_late_as, open_sim, virtual_time

ROUND_S = 5.0
CONFIG = Config(rate_limits=False, retention_every_s=ROUND_S)
OLD_MS = BEGIN_MS - KEPT_MS


async def old_reports(count: int) -> MemoryStore:
    """A store with reports of one millisecond before they are too old."""
    store = MemoryStore()
    await store.file_reports(
        [
            NewReport(
                *(RoomId(seq), "tea", "person", seq, "u_ann", "ann", "u_eve", "eve", "spam", None, OLD_MS),
                body="spam",
            )
            for seq in range(1, count + 1)
        ]
    )
    return store


async def copies(sim: Sim) -> int:
    """How many reports have a text."""
    rows = await sim.store.list_reports(room_id=None, waiting=True, after=0, limit=10 * PAGE)
    return sum(row.body is not None for row in rows)


@virtual_time
async def test_a_report_that_nobody_closes_loses_its_text() -> None:
    """After thirty days, also where there are more than a page; the report itself waits on."""
    async with open_sim(CONFIG, store=await old_reports(PAGE + 1)) as sim:
        assert await copies(sim) == PAGE + 1
        await trio.sleep(2 * ROUND_S)
        assert await copies(sim) == 0
        last = await sim.store.find_report(PAGE + 1)
        assert last is not None
        assert last.state == "open"


@virtual_time
async def test_younger_copies_stay() -> None:
    """The report says since when, by the wall clock."""
    async with open_sim(CONFIG, store=await old_reports(1)) as sim:
        await sim.store.file_reports(
            [
                NewReport(
                    *(RoomId(1), "tea", "person", 2, "u_ann", "ann", "u_eve", "eve", "spam", None),
                    at_ms=OLD_MS + 60_000,
                    body="spam",
                )
            ]
        )
        await trio.sleep(2 * ROUND_S)
        assert await copies(sim) == 1
        await trio.sleep(60.0)
        assert await copies(sim) == 0


@virtual_time
async def test_a_database_that_is_away_puts_it_off() -> None:
    """To the next round."""
    async with open_sim(CONFIG, store=await old_reports(1)) as sim:
        sim.faults["erase_copies"] = Fault(refusal=Unavailable("away"))
        await trio.sleep(2 * ROUND_S)
        assert sim.calls["erase_copies"] > 0
        assert await copies(sim) == 1
        sim.faults.clear()
        await trio.sleep(2 * ROUND_S)
        assert await copies(sim) == 0


@virtual_time
async def test_nothing_is_erased_while_the_server_is_pressed() -> None:
    """It can wait for the next round."""
    async with open_sim(CONFIG, store=await old_reports(1), prepare=as_late_as(0.2)) as sim:
        await trio.sleep(3 * ROUND_S)
        assert sim.calls["erase_copies"] == 0
        assert await copies(sim) == 1
