"""Whole runs: the command in a process of its own, against real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from scripts.load.record import RunRecord, parse_record
from storage.child import Child, Identity
from tests.e2e.server_process import ROOT, children_of, open_server, parley, until

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

RUN_S: Final = 120.0


class Run:
    """A `parley load` that runs, and what it has printed."""

    def __init__(self, child: Child, json: Path) -> None:
        self.child = child
        self.printed = ""
        self._json = json

    def take(self, data: bytes) -> None:
        """More of what it prints."""
        self.printed += data.decode()

    async def until_printed(self, words: str) -> None:
        """Wait for words of it."""
        await until(
            lambda: words in self.printed or self.child.returncode is not None, words, timeout_s=RUN_S
        )
        assert words in self.printed, self.printed

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        with trio.fail_after(RUN_S):
            code = await self.child.wait()
            await self.child.silent.wait()
        return code

    def record(self) -> RunRecord:
        """What it has written."""
        return parse_record(self._json.read_bytes())


@asynccontextmanager
async def running(tmp_path: Path, *arguments: str) -> AsyncGenerator[Run]:
    """The command, for as long as the body runs."""
    json = tmp_path / "record.json"
    child = Child(
        [sys.executable, "-m", "scripts.loadtest", *arguments, "--json", str(json)],
        identity=Identity(),
        directory=ROOT,
        death_signal=signal.SIGKILL,
    )
    run = Run(child, json)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.read_output, run.take)
        try:
            yield run
        finally:
            with trio.CancelScope(shield=True):
                await child.stop((signal.SIGKILL, 10.0))
        nursery.cancel_scope.cancel()


def small(url: str | None, *more: str, duration_s: float = 3.0, users: int = 20) -> list[str]:
    """Twenty users in rooms of ten."""
    where = [] if url is None else ["--url", url]
    return [
        *where,
        *("--users", str(users), "--duration", str(duration_s), "--rate", "40"),
        *("--set", "users_per_room=10", "--set", "ramp_s=0.5", "--set", "settle_s=0.5"),
        *more,
    ]


async def test_a_run_with_a_server_of_its_own_finds_nothing_wrong(tmp_path: Path) -> None:
    """Everything in the record adds up, and every room and every `ok` was checked."""
    async with running(
        tmp_path,
        "steady",
        *small(None, "--processes", "2", "--set", "encoding=both"),
        *("--set", "chat.refused=0.1", "--set", "watchers=0.3", "--set", "chat.typing=0.5"),
    ) as run:
        code = await run.ended()
        record = run.record()
        totals = record.totals
        assert record.ended == "finished", run.printed
        # A machine with other things to do may make the figures invalid, never the checks.
        assert code in {0, 3}, run.printed
        assert (record.processes, totals.users, totals.connects) == (2, 20, 20)
        assert totals.violation_count == 0
        assert totals.errors == {}
        assert 0 < totals.oks < totals.sends
        # Those of the ramp go to whoever is there already.
        assert 8 * totals.oks < totals.deliveries <= 10 * totals.oks
        assert (totals.checked_rooms, totals.checked_oks) == (2, totals.oks)
        assert totals.latency["delivery"].count > totals.latency["ok"].count > 0
        assert sum(tick.sends for tick in record.ticks) == totals.sends


async def test_many_kinds_of_users_at_once_find_nothing_wrong(tmp_path: Path) -> None:
    """They drop, leave, stall, read, change their status, and watch each other; in the end all is right."""
    async with (
        open_server(tmp_path) as server,
        running(
            tmp_path,
            "mixed",
            *("--url", server.url, "--users", "40", "--duration", "6", "--rate", "40"),
            # Nobody has figures there: the run goes on, and says why they are missing.
            *("--metrics", f"http://127.0.0.1:{server.port}"),
            *("--set", "ramp_s=0.5", "--set", "settle_s=0.5", "--set", "watchers=0.5"),
            *("--set", "users_per_room=20", "--set", "storm.first_s=2", "--set", "storm.every_s=2"),
            *("--set", "storm.back_s=0.5", "--set", "churn.stay_s=2", "--set", "churn.away_s=1"),
            *("--set", "slow.every_s=2", "--set", "slow.for_s=1", "--set", "churn.lost=0"),
        ) as run,
    ):
        assert await run.ended() in {0, 3}, run.printed
        record = run.record()
        assert record.totals.violation_count == 0, run.printed
        assert record.totals.resumes > 0
        assert record.totals.latency["resume"].count > 0
        assert "its figures are missing: it answers 404" in run.printed
        assert "in the end because of this: it answers 404" in run.printed
        assert record.totals.latency["history"].count > 0
        assert record.totals.checked_rooms == 4


async def test_a_server_that_dies_in_the_middle_fails_the_run(tmp_path: Path) -> None:
    """What was measured until then is in the record."""
    async with (
        open_server(tmp_path) as server,
        running(tmp_path, "steady", *small(server.url, "--set", "gone_s=2", duration_s=60)) as run,
    ):
        await run.until_printed("steady     20/20")
        await server.kill()
        assert await run.ended() == 1
        record = run.record()
        assert (record.ended, "has gone" in record.failure) == ("failed", True)
        assert record.totals.oks > 0
        assert "connect_refused" in record.totals.errors


async def test_a_server_that_is_killed_and_comes_back_keeps_its_promises(tmp_path: Path) -> None:
    """Everybody resumes, and what was answered `ok` is there exactly once."""
    async with (
        open_server(tmp_path) as server,
        running(tmp_path, "steady", *small(server.url, "--set", "reconnect_s=1", duration_s=6)) as run,
    ):
        await run.until_printed("steady     20/20")
        await server.kill()
        await server.start()
        assert await run.ended() in {0, 3}, run.printed
        record = run.record()
        assert record.totals.resumes >= 20
        assert record.totals.violation_count == 0
        assert record.totals.checked_oks == record.totals.oks > 0


async def test_a_server_that_answers_nothing_any_more_does_not_hold_the_run(tmp_path: Path) -> None:
    """It ends when its time is over, and says what could not be checked."""
    async with (
        open_server(tmp_path) as server,
        running(tmp_path, "steady", *small(server.url, "--set", "drain_s=1")) as run,
    ):
        await run.until_printed("steady     20/20")
        server.send_signal(signal.SIGSTOP)
        code = await run.ended()
        server.send_signal(signal.SIGCONT)
        assert code == 1
        record = run.record()
        assert record.ended == "failed"
        assert "histories could not be read" in record.failure
        assert record.totals.errors["unanswered"] > 0


async def test_ctrl_c_reports_what_was_measured_so_far(tmp_path: Path) -> None:
    """With its checks."""
    async with (
        open_server(tmp_path) as server,
        running(tmp_path, "steady", *small(server.url, duration_s=60)) as run,
    ):
        await run.until_printed("steady     20/20")
        run.child.send_signal(signal.SIGINT)
        assert await run.ended() == 130, run.printed
        record = run.record()
        assert record.ended == "interrupted"
        assert record.totals.oks > 0
        assert record.totals.checked_rooms == 2
        assert record.totals.violation_count == 0


async def test_a_worker_that_dies_fails_the_run(tmp_path: Path) -> None:
    """By its number and its last words."""
    async with (
        open_server(tmp_path) as server,
        running(tmp_path, "steady", *small(server.url, "--processes", "2", duration_s=60)) as run,
    ):
        await run.until_printed("steady     20/20")
        victims = _workers_of(run.child.pid)
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        assert await run.ended() == 1
        assert "ended with -9" in run.record().failure
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in victims), "workers are left")


async def test_a_server_that_lets_no_guests_in_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Tokens are the other way."""
    async with open_server(tmp_path, settings='guests = "off"\n') as server:
        async with running(tmp_path, "steady", *small(server.url)) as run:
            assert await run.ended() == 1
            assert "--tokens" in run.printed
        made = [
            await parley("token", "create", f"user{number}", "--data-dir", str(server.data_dir))
            for number in range(3)
        ]
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(one.stdout for one in made))
        async with running(
            tmp_path, "steady", *small(server.url, "--tokens", str(tokens), duration_s=1)
        ) as run:
            assert await run.ended() in {0, 3}, run.printed
            assert run.record().totals.connects == 20


async def test_the_capacity_of_a_server_is_stated_with_the_limit_that_was_hit(tmp_path: Path) -> None:
    """A goal that nobody can hold breaks at once."""
    async with (
        open_server(tmp_path) as server,
        running(
            tmp_path,
            "steady",
            *small(server.url, "--find-capacity", "--goal-p99", "0.01", duration_s=1, users=3),
        ) as run,
    ):
        assert await run.ended() == 0, run.printed
        assert "capacity: below" in run.printed
        assert "delivery p99" in run.printed


def _workers_of(pid: int) -> list[int]:
    """The processes that it has started."""
    return [child for child, _ in children_of(pid)]


def test_the_command_runs_as_a_script_too() -> None:
    """From any directory."""
    command = [sys.executable, str(ROOT / "scripts" / "loadtest.py"), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd="/")
    assert "--find-capacity" in told.stdout
