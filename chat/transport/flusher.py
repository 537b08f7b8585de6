"""One flusher per server: takes all dirty outboxes and gives each connection one `send`.

Cost is one system call a connection and flush, however many frames wait; when to flush is
`pace.Pace`'s rule. A connection whose kernel buffer is full is handed to a draining task of its
own, at most one a connection, and delays nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import structlog
import trio

from chat.transport.outbox import Outbox
from chat.transport.pace import MAX_INTERVAL_S, Pace
from chat.transport.wire import CloseCause

SENDS_PER_TURN: Final = 256
"""Sends between two checkpoints: about a millisecond."""

DEFAULT_SEND_TIMEOUT_S: Final = 10.0

_JOIN_BYTES: Final = 256 * 1024
"""Above this an outbox is drained in chunks at once: joining it whole would copy it twice."""

_log = structlog.get_logger()


class FlushObserver(Protocol):
    """Hears of every flush, for the metrics."""

    def flush(self, frames: int, size_bytes: int, seconds: float) -> None:
        """Take note of one flush: what it handed over and how long it was busy. Must not raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlusherStatistics:
    """Totals since the flusher was made."""

    flushes: int
    frames: int
    """Whole frames handed over, by flush or drain: the deliveries."""
    bytes: int
    sends: int
    """System calls made by flushes."""
    partial: int
    """Times a connection could not take all and was handed to a draining task."""
    shed: int
    """Ephemeral frames not queued."""
    overflowed: int
    """Connections cut at the bound, or for taking nothing during the send timeout."""
    busy_s: float
    wait_s: float
    """Total of the pauses in which frames were left to gather."""
    last_interval_s: float
    """The pause before the last flush."""
    draining: int
    """Connections being drained now."""


class Flusher:
    """Sends what the outboxes hold; see the module. One task runs `run` for the server's life.

    Args:
        send_timeout_s: A connection that takes nothing for this long is slow: told and aborted.
        observer: Hears of every flush.
        clock: Seconds, not going back; trio's by default, so that a virtual clock is obeyed.
    """

    def __init__(
        self,
        *,
        send_timeout_s: float = DEFAULT_SEND_TIMEOUT_S,
        observer: FlushObserver | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.shed = 0
        self._send_timeout_s = send_timeout_s
        self._observer = observer
        self._clock = clock
        self._pace = Pace()
        self._dirty: list[Outbox] = []
        self._overflows: list[Outbox] = []
        self._parked: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._flushes = self._frames = self._bytes = self._sends = self._partial = 0
        self._repeats = self._overflowed = self._draining = 0
        self._busy_s = self._wait_s = self._last_interval_s = 0.0

    def statistics(self) -> FlusherStatistics:
        """Return the totals so far."""
        return FlusherStatistics(
            flushes=self._flushes,
            frames=self._frames,
            bytes=self._bytes,
            sends=self._sends,
            partial=self._partial,
            shed=self.shed,
            overflowed=self._overflowed,
            busy_s=self._busy_s,
            wait_s=self._wait_s,
            last_interval_s=self._last_interval_s,
            draining=self._draining,
        )

    def broadcast(self, outboxes: Iterable[Outbox], frame: bytes, *, ephemeral: bool = False) -> None:
        """Push one frame to many outboxes of this flusher: `Outbox.push`, unrolled for speed.

        60 ns a member when it is already dirty, 100 when not. Runs nobody's code, so `outboxes`
        may be the live set of subscribers.
        """
        if ephemeral:
            for outbox in outboxes:
                outbox.push(frame, ephemeral=True)
            return
        size = len(frame)
        dirty = self._dirty
        for outbox in outboxes:
            queued = outbox.queued_bytes + size
            if queued > outbox.limit_bytes:
                outbox.refuse(ephemeral=False)
                continue
            outbox.queued_bytes = queued
            outbox.frames.append(frame)
            if outbox.clean:
                outbox.clean = False
                dirty.append(outbox)
        if dirty:
            self._wake()

    def mark(self, outbox: Outbox) -> None:
        """List an outbox that was clean for the next flush."""
        outbox.clean = False
        self._dirty.append(outbox)
        self._wake()

    def mark_overflow(self, outbox: Outbox) -> None:
        """Have the listener of an outbox told by the run loop, soon."""
        self._overflowed += 1
        self._overflows.append(outbox)
        self._wake()

    def flush_now(self, outbox: Outbox) -> None:
        """Send what one outbox holds at once, out of turn; what is left is drained.

        When something is left and `run` is not running, the connection fails (ABORTED).
        """
        if not outbox.draining:
            self._send((outbox,))

    def close_forcefully(self, resource: trio.abc.AsyncResource) -> None:
        """Start closing something that has no synchronous close; nothing when not running."""
        if self._nursery is not None:
            self._nursery.start_soon(_close_forcefully, resource)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Flush until cancelled; no connection's error ends it.

        Cancellation: what is queued stays unsent and draining stops, so close the connections first
        (`ConnectionStream.aclose` sends what it holds).
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                while True:
                    await self._gather()
                    self._tell_overflows()
                    await self._flush()
            finally:
                self._nursery = None
        raise AssertionError("the loop above ends by an exception only")

    async def _gather(self) -> None:
        """Wait until something is dirty, and then for as long as the pace says."""
        if not self._dirty and not self._overflows:
            await self._park()
        else:
            await trio.lowlevel.checkpoint()
        wait_s = self._pace.wait_s(self._clock())
        self._last_interval_s = wait_s
        if wait_s:
            self._wait_s += wait_s
            await trio.sleep(wait_s)

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self) -> None:
        task = self._parked
        if task is not None:
            self._parked = None
            trio.lowlevel.reschedule(task)

    def _tell_overflows(self) -> None:
        overflows, self._overflows = self._overflows, []
        for outbox in overflows:
            if outbox.listener is not None:
                outbox.listener.on_outbox_overflow()

    async def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        frames, size_bytes, sends = self._frames, self._bytes, self._sends
        self._repeats = 0
        busy_s = 0.0
        for start in range(0, len(dirty), SENDS_PER_TURN):
            if start:
                await trio.lowlevel.checkpoint()
            started_s = self._clock()
            self._send(dirty[start : start + SENDS_PER_TURN])
            busy_s += self._clock() - started_s
        self._flushes += 1
        self._busy_s += busy_s
        self._pace.after_flush(
            self._clock(),
            busy_s=busy_s,
            sends=self._sends - sends,
            frames=self._frames - frames,
            repeats=self._repeats,
        )
        if self._observer is not None:
            self._observer.flush(self._frames - frames, self._bytes - size_bytes, busy_s)

    def _send(self, outboxes: Sequence[Outbox]) -> None:
        """One send for each outbox; those that could not take all go to draining tasks."""
        now_s = self._clock()
        repeat_since_s = now_s - MAX_INTERVAL_S
        sends = all_frames = all_bytes = repeats = 0
        join = b"".join
        for outbox in outboxes:
            if outbox.draining:
                continue
            frames = outbox.frames
            outbox.clean = True
            if not frames:
                continue
            queued = outbox.queued_bytes
            if queued > _JOIN_BYTES:
                self._start_drain(outbox)
                continue
            count = len(frames)
            data = frames[0] if count == 1 else join(frames)
            try:
                sent = outbox.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._fail(outbox, CloseCause.RESET)
                continue
            sends += 1
            all_frames += count
            all_bytes += sent
            if outbox.flushed_at_s > repeat_since_s:
                repeats += 1
            outbox.flushed_at_s = now_s
            frames.clear()
            if sent == queued:
                outbox.queued_bytes = 0
            else:
                outbox.rest = memoryview(data)[sent:]
                outbox.queued_bytes = queued - sent
                self._start_drain(outbox)
            if outbox.waiters:
                outbox.tell_waiters(sent)
        self._sends += sends
        self._frames += all_frames
        self._bytes += all_bytes
        self._repeats += repeats

    def _start_drain(self, outbox: Outbox) -> None:
        if self._nursery is None:
            # The server is going down (or was never up): nobody would ever send the rest.
            self._fail(outbox, CloseCause.ABORTED)
            return
        outbox.draining = True
        outbox.clean = False
        self._partial += 1
        self._draining += 1
        self._nursery.start_soon(self._drain, outbox)

    async def _drain(self, outbox: Outbox) -> None:
        """Send what one connection holds as fast as it takes it, until it is empty or gone."""
        try:
            while True:
                waiting = len(outbox.frames)
                data = outbox.take_chunk()
                if not data:
                    break
                self._frames += waiting - len(outbox.frames)
                with trio.move_on_after(self._send_timeout_s) as patience:
                    try:
                        sent = await outbox.wire.send_some(data)
                    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                        self._fail(outbox, CloseCause.RESET)
                        break
                    self._bytes += sent
                    outbox.advance(sent)
                if patience.cancelled_caught:
                    self._cut(outbox)
                    break
        except trio.Cancelled:
            # Half a frame may be out, and whoever waits for the rest must not wait for ever.
            self._fail(outbox, CloseCause.ABORTED)
            raise
        finally:
            self._draining -= 1
            outbox.draining = False
            outbox.clean = True

    def _cut(self, outbox: Outbox) -> None:
        """End a connection that took nothing in time; nothing can be said to such a peer."""
        if not outbox.overflowed:
            outbox.overflowed = True
            self._overflowed += 1
            if outbox.listener is not None:
                outbox.listener.on_outbox_overflow()
        self._fail(outbox, CloseCause.SLOW)

    def _fail(self, outbox: Outbox, cause: CloseCause) -> None:
        outbox.shut()
        if outbox.listener is not None:
            outbox.listener.on_outbox_failed(cause)


async def _close_forcefully(resource: trio.abc.AsyncResource) -> None:
    try:
        await trio.aclose_forcefully(resource)
    except (OSError, trio.BrokenResourceError) as error:
        _log.debug("transport.close_failed", error=repr(error))
