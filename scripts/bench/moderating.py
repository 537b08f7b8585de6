"""Moderation while the server is busy: how soon a mute is there, and what a large purge costs the others."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import msgspec
import trio

from chat.client import Client as ChatClient
from chat.client import open_client
from chat.client_feed import Notice
from chat.tokens import create_token
from scripts.bench.budgets import FLOOD, PURGED, PURGED_ROWS, Workload
from scripts.bench.dialects import PARLEY, parley_connection, parley_handshake
from scripts.bench.driver import Client, Pace
from scripts.bench.history import fill_room
from scripts.bench.measured import Measured
from scripts.bench.moderating_lines import Moderated, Purged
from scripts.bench.process import BenchError
from scripts.bench.scrape import read_value
from scripts.bench.script import render_script
from scripts.bench.server import Target, open_server
from storage import PostgresStore, migrate, open_database
from storage.database import Tx

_WARMUP_S: Final = 2.0
_BETWEEN_S: Final = 0.2
_NOTICE_S: Final = 10.0
_FILL_S: Final = 180.0
_ACKS: Final = "parley_acks_total"
_NOW_MS: Final = 1_700_000_000_000


class ModeratingRuns:
    """Makes them, each against a fresh server.

    Args:
        client: the measuring client.
        dsn: the database of all servers.
        cores: the server's and everybody else's.
        seconds: measured in each run.
        before_run: called before each.
    """

    def __init__(
        self,
        client: Client,
        dsn: str,
        *,
        cores: tuple[int, int],
        seconds: float,
        before_run: Callable[[], None],
    ) -> None:
        self._client = client
        self._dsn = dsn
        self._cores = cores
        self._seconds = seconds
        self._before_run = before_run
        self._runs = 0

    async def flood(self, encoding: str) -> tuple[Measured, Moderated]:
        """Mute and unmute somebody in a room that others flood, again and again.

        Raises:
            BenchError: a notice did not come.
        """
        times_ms: list[float] = []

        async def moderate(admin: ChatClient, target: Target, prefix: str) -> None:
            room = f"{prefix}-0"
            async with open_client(_url(target), rng=Random(2), guest="victim") as victim:  # noqa: S311  cids
                await victim.request("room", room=room)
                user = victim.welcome["user"]
                user_id = str(user["id"]) if isinstance(user, dict) else ""
                # A member that does not receive the room: a notice is the first that it hears of an act.
                await admin.invite(room, user_id)
                await _notice(victim, "an invitation")
                while True:
                    for action in ("mute", "unmute"):
                        began_s = trio.current_time()
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(_act, admin, action, room, user_id)
                            await _notice(victim, f"a {action}")
                        times_ms.append(1000 * (trio.current_time() - began_s))
                        await trio.sleep(_BETWEEN_S)

        measured = await self._run(FLOOD, encoding, moderate)
        # Between messages the client sees a seq missing for each act, which is an event of the room, too; the
        # first was the invitation, and the last may not have been timed.
        gaps = measured.gaps
        if gaps in {(len(times_ms) + more) * measured.connections for more in (1, 2)}:
            gaps = 0
        measured = msgspec.structs.replace(
            measured, gaps=gaps, first_error=measured.first_error if gaps else ""
        )
        return measured, Moderated(times_ms=times_ms)

    async def purge(self, encoding: str) -> tuple[Measured, Measured, Purged]:
        """Other rooms' deliveries without a purge, and beside one of a large room."""
        alone = await self._run(PURGED, encoding, None)
        deleted: list[int] = []
        took_s: list[float] = []

        async def moderate(admin: ChatClient, _target: Target, prefix: str) -> None:
            # As long as it is measured, and longer: the rest is not waited for.
            began_s = trio.current_time()
            async for affected in admin.purge(f"{prefix}-purged", reason="bench"):
                deleted.append(affected)
                took_s[:] = [trio.current_time() - began_s]
            await trio.sleep_forever()

        beside = await self._run(PURGED, encoding, moderate, rows=PURGED_ROWS)
        return alone, beside, Purged(messages=sum(deleted), seconds=took_s[0] if took_s else 0.0)

    async def _run(
        self,
        workload: Workload,
        encoding: str,
        moderate: Callable[[ChatClient, Target, str], Awaitable[None]] | None,
        *,
        rows: int = 0,
    ) -> Measured:
        self._runs += 1
        prefix = f"{workload.name}-{encoding}-{os.getpid()}-{self._runs}"
        token = await self._prepare(prefix, rows)
        async with open_server(self._dsn, core=self._cores[0]) as target, _admin(target, token) as admin:
            greeting = parley_handshake(target.host, target.port, encoding)
            people = [
                parley_connection(
                    encoding, greeting=greeting, index=index, room=index % workload.rooms, prefix=prefix
                )
                for index in range(workload.connections)
            ]
            pace = Pace(
                rate=workload.rate,
                window=workload.window,
                settle_s=workload.settle_s,
                warmup_s=min(_WARMUP_S, self._seconds / 3),
                measure_s=self._seconds,
            )
            self._before_run()
            async with trio.open_nursery() as nursery:
                if moderate is not None:
                    nursery.start_soon(_when_running, target, moderate, admin, prefix)
                script = render_script(PARLEY[encoding], people)
                measured = await self._client.run(target, script, pace, cores=self._cores)
                nursery.cancel_scope.cancel()
        return measured

    async def _prepare(self, prefix: str, rows: int) -> str:
        """An admin's token, and a room to be purged."""

        async def fill(tx: Tx) -> int:
            return await fill_room(tx, f"{prefix}-purged", rows)

        async with open_database(self._dsn, max_size=1) as database:
            await migrate(database)
            if rows:
                await database.run(fill, timeout_s=_FILL_S)
            issued = await create_token(
                PostgresStore(database),
                f"admin {prefix}"[:32],
                "admin",
                now_ms=_NOW_MS,
                random_bytes=os.urandom,
            )
        return issued.token


async def _notice(client: ChatClient, of: str) -> None:
    with trio.move_on_after(_NOTICE_S):
        async for update in client.events():
            if isinstance(update, Notice) and update.envelope["t"] == "notice":
                return
    raise BenchError(f"no notice of {of} in {_NOTICE_S:.0f} s")


async def _act(admin: ChatClient, action: str, room: str, user_id: str) -> None:
    ttl_s = 60.0 if action == "mute" else None
    await admin.request("mod", action=action, room=room, target=user_id, ttl=ttl_s)


async def _when_running(
    target: Target,
    moderate: Callable[[ChatClient, Target, str], Awaitable[None]],
    admin: ChatClient,
    prefix: str,
) -> None:
    """Begin when messages are sent."""
    while read_value(await target.scrape(), _ACKS) == 0.0:  # noqa: ASYNC110  another process
        await trio.sleep(_BETWEEN_S)
    await moderate(admin, target, prefix)


@asynccontextmanager
async def _admin(target: Target, token: str) -> AsyncGenerator[ChatClient]:
    async with open_client(_url(target), rng=Random(1), token=token) as client:  # noqa: S311  cids
        yield client


def _url(target: Target) -> str:
    return f"ws://{target.host}:{target.port}/ws"
