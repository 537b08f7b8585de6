"""Calls under way: waited for by tests, never slept for."""

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from storage import Database, Tx


async def wait_in_flight(db: Database, calls: int) -> None:
    """Wait until so many calls are under way."""
    with trio.fail_after(10):
        while db.statistics().in_flight != calls:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def locked(database: Database, mode: str) -> AsyncGenerator[None]:
    """Hold a lock of the table of rooms, on one connection, for the time of the body."""
    token = trio.lowlevel.current_trio_token()
    held, over = trio.Event(), threading.Event()

    async def lock(tx: Tx) -> None:
        await tx.execute(f"LOCK TABLE rooms IN {mode} MODE")
        token.run_sync_soon(held.set)
        # The call's time limit bounds this.
        while not over.is_set():
            await tx.fetchval("SELECT 1")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, lock)
        await held.wait()
        try:
            yield
        finally:
            over.set()
