"""Runs of other requests than messages, each against a fresh server, beside an idle one where that counts."""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

import msgspec
import trio

from chat.tokens import TOKEN_PREFIX
from scripts.bench import budgets
from scripts.bench.asking import comers, editors, presence_users, typing_users
from scripts.bench.asking_lines import (
    Cost,
    Idle,
    edit_lines,
    presence_lines,
    typing_lines,
    welcome_lines,
)
from scripts.bench.budgets import Workload
from scripts.bench.dialects import PARLEY, parley_handshake
from scripts.bench.driver import Client, Pace
from scripts.bench.lines import Line
from scripts.bench.machine import cpu_s
from scripts.bench.measured import Measured
from scripts.bench.scrape import read_value
from scripts.bench.script import Connection, SeqKind, render_script
from scripts.bench.server import Target, open_server
from storage import open_database
from storage.database import Tx

_WARMUP_S: Final = 2.0
_DRAIN_S: Final = 1.0
_STATEMENTS: Final = "parley_db_statements_total"

_MAKE_ROOMS: Final = """
WITH made AS (
    INSERT INTO rooms (created_at_ms, slow_s, strict, kind, name, topic, created_by)
    SELECT 0, 0, false, 'public', $1 || '-' || i, '', 'g_bench' FROM generate_series(1, $2::int) AS i
    RETURNING id, name
), people AS (
    INSERT INTO users (id, name, name_key, role, created_at_ms)
    SELECT 'u_' || $1 || i, $1 || ' user ' || i, $1 || ' user ' || i, 'user', 0
    FROM generate_series(1, cardinality($3::bytea[])) AS i
    RETURNING id
)
INSERT INTO members (room_id, joined_at_ms, read_seq, read_n, user_id, name, role, room_name)
SELECT made.id, 0, 0, 0, people.id, people.id, 'member', made.name FROM made CROSS JOIN people
"""
_MAKE_TOKENS: Final = """
INSERT INTO tokens (hash, user_id, created_at_ms)
SELECT hash, 'u_' || $1 || i, 0 FROM unnest($2::bytea[]) WITH ORDINALITY AS token (hash, i)
"""

Connections = Callable[[bytes, str], Iterator[Connection]]
"""Of a handshake, and of a prefix for names."""
Tell = Callable[[str, Sequence[Line], Sequence[Measured]], None]


class AskingRuns:
    """Makes them.

    Args:
        client: the measuring client.
        dsn: the database of all servers.
        postgres_pid: its first process.
        cores: the server's and everybody else's.
        seconds: measured in each run, times the workload's scale.
        connections_max: of one run.
        before_run: called before each.
        tell: takes the lines of a case and the runs they come from.
    """

    def __init__(
        self,
        client: Client,
        dsn: str,
        *,
        postgres_pid: int,
        cores: tuple[int, int],
        seconds: float,
        connections_max: int,
        before_run: Callable[[], None],
        tell: Tell,
    ) -> None:
        self._client = client
        self._dsn = dsn
        self._postgres_pid = postgres_pid
        self._cores = cores
        self._seconds = seconds
        self._connections_max = connections_max
        self._before_run = before_run
        self._tell = tell
        self._runs = 0

    def case(self, name: str) -> Callable[[str], Awaitable[None]]:
        """The case of this name; to be called with an encoding.

        It raises `BenchError` where it cannot be measured.
        """
        return {
            budgets.PRESENCE.name: self._presence,
            budgets.TYPING.name: self._typing,
            budgets.EDIT.name: self._edit,
            budgets.WELCOME.name: self._welcome,
        }[name]

    async def _presence(self, encoding: str) -> None:
        workload = self._fitting(budgets.PRESENCE)

        def users(greeting: bytes, prefix: str) -> Iterator[Connection]:
            return presence_users(workload, encoding, greeting=greeting, prefix=prefix)

        idle = await self._idle(workload, encoding, users)
        measured = await self._run(workload, encoding, users)
        sent_s = self._pace(workload).warmup_s + measured.seconds
        self._tell(
            f"{workload.name} {encoding}",
            presence_lines(encoding, measured, idle, sent_s=sent_s),
            [measured],
        )

    async def _typing(self, encoding: str) -> None:
        for whole in (budgets.TYPING, budgets.TYPING_DEAF, budgets.TYPING_TOLD):
            workload = self._fitting(whole)
            print(f"  {workload.title}", flush=True)

            def users(greeting: bytes, prefix: str, workload: Workload = workload) -> Iterator[Connection]:
                return typing_users(workload, encoding, greeting=greeting, prefix=prefix)

            idle = await self._idle(workload, encoding, users)
            measured = await self._run(workload, encoding, users)
            self._tell(
                f"{workload.name} {encoding} {workload.connections} {workload.rate:.0f}",
                typing_lines(encoding, measured, idle, is_judged=whole is budgets.TYPING),
                [measured],
            )

    async def _edit(self, encoding: str) -> None:
        workload = self._fitting(budgets.EDIT)
        costs: list[Cost] = []
        runs: list[Measured] = []
        for edits in (False, True):

            def users(greeting: bytes, prefix: str, edits: bool = edits) -> Iterator[Connection]:  # noqa: FBT001
                return editors(workload, encoding, greeting=greeting, prefix=prefix, edits=edits)

            before_s = cpu_s(self._postgres_pid)
            measured = await self._run(workload, encoding, users, delivers=True)
            used_s = cpu_s(self._postgres_pid) - before_s
            runs.append(measured)
            costs.append(
                Cost(
                    server_us=measured.cpu_per(lambda shot: shot.oks)[0],
                    postgres_us=1e6 * used_s / max(1, measured.sent),
                    ok_p99_ms=measured.ok.p99_ns / 1e6,
                )
            )
        self._tell(f"{workload.name} {encoding}", edit_lines(encoding, costs[0], costs[1], runs), runs)

    async def _welcome(self, encoding: str) -> None:
        workload = self._fitting(budgets.WELCOME)
        tokens = await self._make_people(encoding)
        async with open_server(self._dsn, core=self._cores[0]) as target:
            greeting = parley_handshake(target.host, target.port, encoding)
            people = comers(encoding, greeting=greeting, tokens=tokens, connections=workload.connections)
            idle_per_s = await self._idle_statements_per_s(target)
            began_s = trio.current_time()
            before = read_value(await target.scrape(), _STATEMENTS)
            pace = Pace(rate=0, window=1, settle_s=0.0, warmup_s=0.0, measure_s=1.0, drain_s=0.0)
            measured = await self._measure(target, list(people), encoding, pace)
            statements = read_value(await target.scrape(), _STATEMENTS) - before
            statements -= idle_per_s * (trio.current_time() - began_s)
        self._tell(
            f"{workload.name} {encoding}",
            welcome_lines(encoding, measured, queries_each=statements / max(1, measured.live)),
            [measured],
        )

    async def _idle_statements_per_s(self, target: Target) -> float:
        before = read_value(await target.scrape(), _STATEMENTS)
        began_s = trio.current_time()
        await trio.sleep(self._seconds / 2)
        after = read_value(await target.scrape(), _STATEMENTS)
        return (after - before) / (trio.current_time() - began_s)

    async def _make_people(self, encoding: str) -> list[str]:
        """Users with many rooms, each with a token."""
        self._runs += 1
        prefix = f"welcome{encoding}{os.getpid()}x{self._runs}"
        tokens = [
            TOKEN_PREFIX + f"{prefix}x{number:04d}".rjust(43, "0") for number in range(budgets.WELCOME_USERS)
        ]
        hashes = [sha256(token.encode()).digest() for token in tokens]

        async def make(tx: Tx) -> None:
            await tx.execute(_MAKE_ROOMS, prefix, budgets.WELCOME_ROOMS, hashes)
            await tx.execute(_MAKE_TOKENS, prefix, hashes)
            await tx.execute("ANALYZE members")

        async with open_database(self._dsn, max_size=1) as database:
            await database.run(make, timeout_s=60.0)
        return tokens

    def _fitting(self, workload: Workload) -> Workload:
        """The workload with fewer people in its rooms, where so many connections are not possible."""
        return replace(workload, per_room=min(workload.per_room, self._connections_max // workload.rooms))

    def _pace(self, workload: Workload) -> Pace:
        seconds = self._seconds * workload.scale
        return Pace(
            rate=workload.rate,
            window=workload.window,
            settle_s=workload.settle_s,
            warmup_s=min(_WARMUP_S, seconds / 3),
            measure_s=seconds,
            drain_s=_DRAIN_S,
        )

    async def _idle(self, workload: Workload, encoding: str, users: Connections) -> Idle:
        measured = await self._run(budgets.at_rate(workload, 0), encoding, users)
        return Idle(load=measured.server_load)

    async def _run(
        self, workload: Workload, encoding: str, users: Connections, *, delivers: bool = False
    ) -> Measured:
        """One run against a server of its own.

        Args:
            workload: at its rate.
            encoding: of all connections.
            users: who they are.
            delivers: each request becomes an event for everybody in its room, which is checked.
        """
        self._runs += 1
        # Rooms of their own for every run: the database is the same.
        prefix = f"{workload.name}-{encoding}-{os.getpid()}-{self._runs}"
        async with open_server(self._dsn, core=self._cores[0]) as target:
            greeting = parley_handshake(target.host, target.port, encoding)
            measured = await self._measure(
                target, list(users(greeting, prefix)), encoding, self._pace(workload), delivers=delivers
            )
        # Nobody was to receive an event.
        return measured if delivers else msgspec.structs.replace(measured, incomplete=0)

    async def _measure(
        self,
        target: Target,
        people: Sequence[Connection],
        encoding: str,
        pace: Pace,
        *,
        delivers: bool = False,
    ) -> Measured:
        dialect = PARLEY[encoding]
        if not delivers:
            dialect = replace(dialect, seq_kind=SeqKind.NONE)
        self._before_run()
        return await self._client.run(target, render_script(dialect, people), pace, cores=self._cores)
