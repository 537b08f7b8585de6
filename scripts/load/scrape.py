"""Asks a server for its metrics once a second, without ever standing in the way of the run."""

import os
from pathlib import Path
from typing import Final, NamedTuple

import h11
import msgspec
import trio

from scripts.http_address import BadAnswer, Connect, HttpAddress
from scripts.load.record import ServerTick
from scripts.load.server_metrics import Sample, parse_metrics, server_tick

TIMEOUT_S: Final = 1.0
"""For one scrape as a whole."""
_HTTP_OK: Final = 200


class _Usage(NamedTuple):
    cpu_s: float
    memory_bytes: int


class Scraper:
    """One server's `/metrics`, as a series.

    Attributes:
        problem: why the last scrape gave nothing; "" when it gave something.
    """

    def __init__(
        self, url: str | None, *, pid: int | None = None, connect: Connect = trio.open_tcp_stream
    ) -> None:
        """A scraper that has not asked yet.

        Args:
            url: the operators' port, `http://HOST:PORT[/metrics]`; None: the server has none.
            pid: of a server on this machine whose CPU and memory are read from /proc where its metrics do
                not tell them.
            connect: opens a stream to a host and a port, or raises OSError.

        Raises:
            ValueError: the URL is none of this kind.
        """
        self.problem = ""
        self._address = None if url is None else HttpAddress.parse(url)
        self._pid = pid
        self._connect = connect
        self._sample: Sample | None = None
        self._sampled_s = 0.0
        self._usage: _Usage | None = None
        self._used_s = 0.0

    async def tick(self) -> ServerTick | None:
        """Ask now; what happened since the last call that was answered. Takes `TIMEOUT_S` at most.

        None: nothing is known, and `problem` says why. Never raises for what the server does. Not to be
        called while a call is under way.

        Cancellation: nothing is remembered of the scrape.
        """
        found = await self._scrape()
        cpu, memory_bytes = self._process()
        if found is None:
            if cpu is None and memory_bytes is None:
                return None
            found = ServerTick()
        return msgspec.structs.replace(
            found,
            cpu=cpu if found.cpu is None else found.cpu,
            memory_bytes=memory_bytes if found.memory_bytes is None else found.memory_bytes,
        )

    async def _scrape(self) -> ServerTick | None:
        if self._address is None:
            self.problem = "no address of its metrics was given"
            return None
        text = None
        try:
            with trio.move_on_after(TIMEOUT_S):
                answer = await self._address.get(self._connect)
                if answer.status != _HTTP_OK:
                    raise BadAnswer(f"it answers {answer.status}")  # noqa: TRY301  as for other odd answers
                text = answer.body
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError, BadAnswer) as error:
            self.problem = str(error) or type(error).__name__
            return None
        if text is None:
            self.problem = f"no answer within {TIMEOUT_S:g} s"
            return None
        self.problem = ""
        before, before_s = self._sample, self._sampled_s
        self._sample, self._sampled_s = parse_metrics(text), trio.current_time()
        return server_tick(before, self._sample, self._sampled_s - before_s)

    def _process(self) -> tuple[float | None, int | None]:
        usage = None if self._pid is None else _read_usage(self._pid)
        before, before_s = self._usage, self._used_s
        self._usage, self._used_s = usage, trio.current_time()
        if usage is None:
            return None, None
        elapsed_s = self._used_s - before_s
        if before is None or elapsed_s <= 0:
            return None, usage.memory_bytes
        return (usage.cpu_s - before.cpu_s) / elapsed_s, usage.memory_bytes


def _read_usage(pid: int) -> _Usage | None:
    """A process's CPU time so far and memory (proc(5)); None: there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        user, system = stat.rpartition(")")[2].split()[11:13]  # the name before may hold blanks and brackets
        cpu_s = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return _Usage(cpu_s, pages * os.sysconf("SC_PAGE_SIZE"))
