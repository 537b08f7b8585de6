"""Asking for descriptors, and waiting where there are none."""

import errno
import logging
import resource
import sys

import pytest
import trio
from trio.testing import MockClock

from chat.descriptors import PAUSE_S, PatientListener, allow_files


class Limits:
    """Stands for the system's limits on open files."""

    def __init__(self, soft: int, hard: int, *, most: int | None = None) -> None:
        self.now = (soft, hard)
        self._most = most

    def getrlimit(self, which: int) -> tuple[int, int]:
        """As `resource.getrlimit`."""
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        """As `resource.setrlimit`."""
        assert which == resource.RLIMIT_NOFILE
        if self._most is not None and limits[0] > self._most:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


@pytest.mark.parametrize(
    ("limits", "allowed", "soft"),
    [
        (Limits(1024, 1_000_000), 20_000, 20_000),
        (Limits(1024, 4096), 4096, 4096),
        (Limits(50_000, 100_000), 50_000, 50_000),
        (Limits(256, resource.RLIM_INFINITY), 20_000, 20_000),
        (Limits(256, resource.RLIM_INFINITY, most=10_240), 256, 256),
        (Limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY), sys.maxsize, resource.RLIM_INFINITY),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    limits: Limits, allowed: int, soft: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never lowered, never above the hard limit, and what comes of it is told."""
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)

    assert allow_files(20_000) == allowed
    assert limits.now[0] == soft


class Failing(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose first accepts fail as told."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.closed = False

    async def accept(self) -> trio.abc.Stream:
        """Fail, or accept."""
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise OSError(self.failures.pop(0), "as told")
        return trio.testing.memory_stream_pair()[0]

    async def aclose(self) -> None:
        """Take note."""
        await trio.lowlevel.checkpoint()
        self.closed = True


async def test_a_shortage_is_waited_out_and_told_without_a_traceback(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten attempts a second, each told to the owner; `serve_listeners` never hears of it, and serves."""
    shortages: list[int | None] = []
    listener = PatientListener(
        Failing(*[errno.EMFILE] * 20, errno.ENFILE), lambda error: shortages.append(error.errno)
    )
    served = trio.Event()

    async def serve(_stream: trio.abc.Stream) -> None:
        await trio.lowlevel.checkpoint()
        served.set()

    with caplog.at_level(logging.DEBUG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            await served.wait()
            nursery.cancel_scope.cancel()

    assert shortages == [errno.EMFILE] * 20 + [errno.ENFILE]
    assert autojump_clock.current_time() == pytest.approx(21 * PAUSE_S)
    assert not caplog.records


async def test_other_errors_are_raised_and_closing_closes_the_inner_one() -> None:
    """Only a shortage passes by itself."""
    inner = Failing(errno.EINVAL)
    listener = PatientListener(inner, lambda _: None)
    with pytest.raises(OSError, match="as told"):
        await listener.accept()
    await listener.aclose()

    assert inner.closed
