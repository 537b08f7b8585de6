"""PURE: the read short cut, sans I/O: received bytes in, payloads to a callback, the rest passed on.

Rules (design.md 5). A complete, unfragmented, masked data frame within the limit is taken here, and so is
a ping or pong, also while messages are dropped. Everything else is returned, byte for byte, for wsproto.
Order never changes:

- bytes passed on and frames taken keep their order: a frame that follows passed bytes waits until
  wsproto has had those bytes, that is until the next `feed`;
- while a fragmented message is under way, or a data message was passed on and not yet reported by
  `slow_message_delivered`, data frames, pings and pongs are passed on too;
- after a close frame, or a frame that RFC 6455 forbids, all bytes are passed on for ever: the
  connection is ending and nothing after that point is a message.

What is no message costs something too, so a client must not have it for free: each frame is told
once, as itself (`on_passed`), or as the message that it completes.
"""

from collections.abc import Callable
from typing import Final

from chat.transport.frames import (
    FIN,
    OP_CLOSE,
    OP_CONTINUATION,
    OP_PING,
    OPCODE_BITS,
    Verdict,
    parse_header,
    parse_masked_control,
    parse_masked_frame,
)

FRAMES_PER_TURN: Final = 64
"""Frames taken, passed on or dropped in one `feed`: 16 KiB of empty frames are 2,700, too many for a turn."""
RAW_BYTES_PER_TURN: Final = 512
"""Bytes passed on in one `feed` where they are no frames any more: wsproto may find as many in them."""
FRAGMENTS_MAX: Final = 1024
"""Frames of one message: whoever puts it together keeps each of them, and empty ones add no bytes."""

_NO_FRAGMENT: Final = -1


class Intake:
    """One connection's inbound frames. Synchronous; the callback runs inside `feed`.

    Bounds: holds less than one frame (`max_frame_bytes` and its header) plus what one `feed`
    brought. A raising callback ends the intake: `feed` must not be called again.
    """

    __slots__ = (
        "_controls",
        "_discarding",
        "_fragment_bytes",
        "_fragments",
        "_need",
        "_on_message",
        "_on_passed",
        "_on_ping",
        "_on_too_large",
        "_raw",
        "_rest",
        "_skip",
        "_slow",
        "fast",
        "frames_in",
        "max_frame_bytes",
        "paused",
        "pending",
    )

    def __init__(self, *, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.frames_in = 0
        self.paused = False
        self.pending = False
        self._on_message: Callable[[bytes, bool], bool | None] | None = None
        self._on_too_large: Callable[[int], None] | None = None
        self._on_passed: Callable[[int], None] | None = None
        self._on_ping: Callable[[bytes], None] | None = None
        self._rest: bytearray | None = None
        self._need = 0
        self._skip = 0
        self._slow = 0
        self._fragment_bytes = _NO_FRAGMENT
        self._fragments = 0
        self._raw = False
        self._discarding = False
        self._controls = False
        self.fast = False

    def enable(
        self,
        on_message: Callable[[bytes, bool], bool | None],
        on_too_large: Callable[[int], None] | None = None,
        on_passed: Callable[[int], None] | None = None,
        on_ping: Callable[[bytes], None] | None = None,
    ) -> None:
        """Take data frames from the next frame boundary on, as soon as order allows.

        Args:
            on_message: Gets each message taken; False says "no more", see `paused`.
            on_too_large: Hears of a message over `max_frame_bytes`, or of more than `FRAGMENTS_MAX`
                frames, with its bytes so far; it is dropped, and so is all data behind it. None:
                wsproto gets it, whatever its size.
            on_passed: Hears the opcode of each frame that neither is nor completes a message; of
                frames, that is, not of the bytes behind the end of framing. It may `discard`.
            on_ping: Answers a ping with this payload; pongs need nothing. None: both are passed on.
        """
        self._on_message = on_message
        self._on_too_large = on_too_large
        self._on_passed = on_passed
        self._on_ping = on_ping
        self._judge()

    def slow_message_delivered(self) -> None:
        """Report one passed-on data message as handled; the last one ends the slow path."""
        if self._slow:
            self._slow -= 1
            self._judge()

    def discard(self) -> None:
        """Drop data frames from here on, unread and uncounted; control frames are dealt with as before."""
        self._discarding = True
        self.paused = False
        self._judge()

    def feed(self, data: bytes) -> bytes:
        """Work through received bytes; return those that wsproto must have before more is fed.

        Args:
            data: What was received, or b"" to go on after `pending` bytes were left.

        Returns:
            Bytes to pass on, or b"": at most `FRAMES_PER_TURN` frames. Afterwards `pending` says
            that bytes are left which may need no more input (passed bytes come first, the turn was
            used up, or `paused`): let others run before the next `feed`. `paused` says that the
            callback returned False.
        """
        rest = self._rest
        if rest is not None:
            rest += data
            if len(rest) < self._need:
                return b""
            data = bytes(rest)
            self._rest = None
        self._need = 0
        self.pending = False
        passed: list[bytes] = []
        offset = 0
        size = len(data)
        taken = 0
        left = FRAMES_PER_TURN
        while offset < size:
            if not left:
                self.pending = True
                break
            left -= 1
            if self.fast:
                frame = parse_masked_frame(data, offset, self.max_frame_bytes)
                if isinstance(frame, tuple):
                    if passed:
                        self.pending = True
                        break
                    payload, offset, is_text = frame
                    taken += 1
                    # The callback is looked up each time: it may end the short cut from inside.
                    if self._on_message is not None and self._on_message(payload, is_text) is False:
                        self.paused = not self._discarding
                        self.pending = offset < size
                        if self.paused:
                            break
                    continue
            after = 0 if passed or not self._controls else self._take_control(data, offset)
            if after:
                offset = after
                continue
            if self._raw:
                offset = self._pass_raw(data, offset, passed)
                break
            after = self._pass_on(data, offset, passed)
            if after < 0:
                break
            offset = after
        self.frames_in += taken
        if offset < size:
            self._rest = bytearray(data[offset:]) if offset else bytearray(data)
        if not passed:
            return b""
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _take_control(self, data: bytes, offset: int) -> int:
        """Deal with a whole ping or pong; the offset after it, 0 where there is none to be taken."""
        on_ping = self._on_ping
        # Inside a message that is being dropped nothing is a frame.
        control = None if on_ping is None or self._skip else parse_masked_control(data, offset)
        if on_ping is None or control is None:
            return 0
        opcode, payload, end = control
        if opcode == OP_PING:
            on_ping(payload)
        if self._on_passed is not None:
            self._on_passed(opcode)
        return end

    def _pass_on(self, data: bytes, offset: int, passed: list[bytes]) -> int:
        """Pass on, or drop, what is at `offset`; return the offset after it, -1 to await more."""
        if self._skip:
            step = min(self._skip, len(data) - offset)
            self._skip -= step
            return offset + step
        header = parse_header(data, offset)
        if not isinstance(header, tuple):
            return -1 if header is Verdict.NEED_MORE else self._go_raw(offset)
        first, start, length = header
        opcode = first & OPCODE_BITS
        if opcode < OP_CLOSE:
            if self._discarding:
                self._skip = start + length - offset
                return self._pass_on(data, offset, passed)
            if (opcode == OP_CONTINUATION) == (self._fragment_bytes == _NO_FRAGMENT):
                return self._go_raw(offset)
            total = length + max(self._fragment_bytes, 0)
            if total > self.max_frame_bytes or self._fragments == FRAGMENTS_MAX:
                return self._too_large(offset, total)
        end = start + length
        if end > len(data):
            self._need = end - offset
            return -1
        passed.append(data[offset:end])
        if opcode >= OP_CLOSE:
            if opcode == OP_CLOSE:
                self._go_raw(end)
        elif first & FIN:
            self._fragment_bytes = _NO_FRAGMENT
            self._fragments = 0
            self._slow += 1
            self._judge()
            return end
        else:
            self._fragment_bytes = length + max(self._fragment_bytes, 0)
            self._fragments += 1
            self._judge()
        # Last of all: it may discard the client's messages.
        if self._on_passed is not None:
            self._on_passed(opcode)
        return end

    def _pass_raw(self, data: bytes, offset: int, passed: list[bytes]) -> int:
        end = offset + RAW_BYTES_PER_TURN
        passed.append(data[offset:end])
        self.pending = end < len(data)
        return min(end, len(data))

    def _too_large(self, offset: int, total: int) -> int:
        """Tell of a message over a limit and drop it, or leave it to wsproto."""
        if self._on_too_large is None:
            return self._go_raw(offset)
        self.discard()
        self._on_too_large(total)
        return offset

    def _go_raw(self, offset: int) -> int:
        self._raw = True
        self._judge()
        return offset

    def _judge(self) -> None:
        in_order = not self._slow and self._fragment_bytes == _NO_FRAGMENT and not self._raw
        self._controls = in_order and self._on_ping is not None
        self.fast = in_order and self._on_message is not None and not self._discarding
