"""The bytes that wait to leave one connection, bounded.

Frames are shared: a broadcast is one bytes object in many outboxes. What leaves is decided by the
`Flusher`; an outbox only counts, refuses and remembers. `push` runs no foreign code: whoever must
hear of an overflow is told by the flusher, never from inside a broadcast.
"""

from typing import Final, Protocol

import trio

from chat.transport.wire import CloseCause, Wire

DEFAULT_LIMIT_BYTES: Final = 1024 * 1024
_REFUSE_ALL: Final = -1


class OutboxOwner(Protocol):
    """What an outbox needs of its flusher."""

    shed: int

    def mark(self, outbox: "Outbox") -> None:
        """Take note that `outbox`, clean until now, has something to send."""
        ...

    def mark_overflow(self, outbox: "Outbox") -> None:
        """Take note that `outbox` has overflowed and its listener is to hear of it."""
        ...


class OutboxListener(Protocol):
    """Who hears of an outbox's end: its connection. Called by the flusher; must not raise."""

    def on_outbox_overflow(self) -> None:
        """Hear, once, that the peer is too slow: the bound was passed or nothing was taken."""
        ...

    def on_outbox_failed(self, cause: CloseCause) -> None:
        """Hear that the wire is gone; the outbox is shut already."""
        ...


class Waiter:
    """Someone who waits until the bytes that are queued now have left."""

    __slots__ = ("event", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.event = trio.Event()


class Outbox:
    """One connection's queue of frames, bounded in bytes.

    Full (the next frame would pass `limit_bytes`): the outbox is overflowed for ever. All that has
    not begun to leave is dropped (the client resumes by position), nothing more is taken, and
    its listener hears of it once, from the flusher. Half full: ephemeral frames are shed and counted.

    The attributes without underscore below `push` are the flusher's; everyone else reads them only.
    """

    __slots__ = (
        "clean",
        "draining",
        "flushed_at_s",
        "frames",
        "limit_bytes",
        "listener",
        "overflowed",
        "owner",
        "queued_bytes",
        "rest",
        "send",
        "shed",
        "waiters",
        "wire",
    )

    def __init__(self, wire: Wire, owner: OutboxOwner, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.wire = wire
        self.send = wire.send
        self.owner = owner
        self.frames: list[bytes] = []
        self.rest: memoryview | None = None
        """What is left of bytes that began to leave; goes before `frames`."""
        self.queued_bytes = 0
        """Exactly the bytes not yet handed to the wire: `rest` and `frames`."""
        self.limit_bytes = limit_bytes
        """The bound; negative when nothing is taken any more, so that one comparison tells."""
        self.clean = True
        """Not in the flusher's list, not being drained."""
        self.draining = False
        self.flushed_at_s = 0.0
        self.overflowed = False
        self.shed = 0
        self.listener: OutboxListener | None = None
        self.waiters: list[Waiter] = []
        """Whoever sends bytes by itself looks here first: mostly there is nobody to `tell_waiters`."""

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more: overflowed, sealed or shut."""
        return self.limit_bytes < 0

    def push(self, frame: bytes, *, ephemeral: bool = False) -> bool:
        """Queue a frame; never blocks, copies nothing, runs nobody's code.

        Args:
            frame: One whole frame, as `build_frame` makes it; never empty.
            ephemeral: May be shed when the outbox is half full or more.

        Returns:
            Whether it was queued. False: shed, or the outbox is closed or overflowed by this.
        """
        queued = self.queued_bytes + len(frame)
        if queued > self.limit_bytes:
            self.refuse(ephemeral=ephemeral)
            return False
        if ephemeral and self.queued_bytes * 2 >= self.limit_bytes:
            self.note_shed()
            return False
        self.queued_bytes = queued
        self.frames.append(frame)
        if self.clean:
            self.owner.mark(self)
        return True

    def push_control(self, data: bytes) -> None:
        """Queue bytes of the protocol itself, beyond the bound if need be.

        Only for `ConnectionStream`: the handshake's answer, what a caller of `send_all` waits for, and
        the close frame. So no more than one such piece a task is ever queued.
        """
        self.queued_bytes += len(data)
        self.frames.append(data)
        if self.clean:
            self.owner.mark(self)

    def refuse(self, *, ephemeral: bool) -> None:
        """Deal with a frame that does not fit: shed it, or overflow."""
        if self.limit_bytes < 0:
            return
        if ephemeral:
            self.note_shed()
            return
        self.overflowed = True
        self.limit_bytes = _REFUSE_ALL
        self._drop_frames()
        self._wake_waiters()
        self.owner.mark_overflow(self)

    def note_shed(self) -> None:
        """Count one ephemeral frame that was not queued."""
        self.shed += 1
        self.owner.shed += 1

    def seal(self) -> None:
        """Take nothing more; what is queued still leaves. For after a close frame."""
        self.limit_bytes = _REFUSE_ALL

    def shut(self) -> None:
        """Take nothing more and drop everything: the wire is gone. Waiters wake. Idempotent."""
        self.limit_bytes = _REFUSE_ALL
        self.rest = None
        self._drop_frames()
        self._wake_waiters()

    async def wait_sent(self) -> None:
        """Wait until all bytes queued now were handed to the wire, or the outbox was shut.

        Ends at the latest when the flusher's send timeout finds no progress. Cancellation: the
        bytes stay queued, whole, and will leave in their place.
        """
        if not self.queued_bytes:
            await trio.lowlevel.checkpoint()
            return
        waiter = Waiter(self.queued_bytes)
        self.waiters.append(waiter)
        try:
            await waiter.event.wait()
        finally:
            if waiter in self.waiters:
                self.waiters.remove(waiter)

    def take_chunk(self) -> bytes | memoryview:
        """Return the next bytes to send, about the wire's chunk at most; b"" when empty.

        They stay counted in `queued_bytes` until `advance` says that they left.
        """
        if self.rest is not None:
            return self.rest[: self.wire.chunk_bytes]
        frames = self.frames
        if not frames:
            return b""
        count = size = 0
        for frame in frames:
            if count and size + len(frame) > self.wire.chunk_bytes:
                break
            size += len(frame)
            count += 1
        data = b"".join(frames[:count])
        del frames[:count]
        self.rest = memoryview(data)
        return self.rest[: self.wire.chunk_bytes]

    def advance(self, sent: int) -> None:
        """Record that the first `sent` bytes of the last chunk left (0 when shut meanwhile)."""
        if self.rest is None:
            return
        self.rest = self.rest[sent:] if sent < len(self.rest) else None
        self.queued_bytes -= sent
        if self.waiters:
            self.tell_waiters(sent)

    def tell_waiters(self, sent: int) -> None:
        """Tell those who wait that the first `sent` bytes that were queued have left."""
        for waiter in self.waiters:
            waiter.left -= sent
            if waiter.left <= 0:
                waiter.event.set()
        self.waiters = [waiter for waiter in self.waiters if waiter.left > 0]

    def _wake_waiters(self) -> None:
        for waiter in self.waiters:
            waiter.event.set()
        self.waiters.clear()

    def _drop_frames(self) -> None:
        self.frames.clear()
        self.queued_bytes = len(self.rest) if self.rest is not None else 0
