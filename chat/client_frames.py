"""PURE: a server's WebSocket frames (RFC 6455, 5) as a client takes them out of the bytes.

Whole data messages go to `on_message`; control frames, and whatever a server must not send, are returned for
somebody who knows the rest of the protocol.
"""

from collections.abc import Callable
from typing import Final

from chat.client_errors import ServerMisbehaved

MESSAGE_MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest page: 100 bodies of 8 KiB, each byte escaped in JSON six-fold at worst, and their fields."""

_FIN: Final = 0x80
_CONTROL_FROM: Final = 0x8


class ServerFrames:
    """The frames of one connection, in whatever pieces their bytes come.

    Args:
        text: whether messages are text frames; any other kind is refused.
        on_message: called with every message's payload, synchronously.
    """

    __slots__ = ("_on_message", "_parts", "_plain", "_rest")

    def __init__(self, *, text: bool, on_message: Callable[[bytes], None]) -> None:
        self._plain = 0x81 if text else 0x82
        self._on_message = on_message
        self._rest = b""
        self._parts: list[bytes] | None = None

    @property
    def between(self) -> bool:
        """Whether what comes next begins a message: nothing of one is kept."""
        return not self._rest and self._parts is None

    def take(self, data: bytes) -> bytes:
        """Hand on every whole message; return the frames that are not messages, uncut.

        Raises:
            ServerMisbehaved: a message too large, or frames in an order that RFC 6455 forbids.
            Exception: whatever `on_message` raises.
        """
        if self._rest:
            data = self._rest + data
        size = len(data)
        position = 0
        plain = self._plain
        others = b""
        while size - position >= 2:  # noqa: PLR2004  the fixed part of a header
            first = data[position]
            length = data[position + 1]
            start = position + 2
            if length > 125:  # noqa: PLR2004  RFC 6455, 5.2
                if length > 127:  # noqa: PLR2004  a server must not mask: not ours to read
                    others += data[position:]
                    position = size
                    break
                start += 2 if length == 126 else 8  # noqa: PLR2004
                if start > size:
                    break
                length = int.from_bytes(data[position + 2 : start])
                if length > MESSAGE_MAX_BYTES:
                    raise ServerMisbehaved(f"a frame of {length} bytes")
            end = start + length
            if end > size:
                break
            if first == plain and self._parts is None:
                self._on_message(data[start:end])
            elif first & 0x0F >= _CONTROL_FROM:
                others += data[position:end]
            else:
                self._take_part(first, data[start:end])
            position = end
        self._rest = data[position:]
        return others

    def _take_part(self, first: int, payload: bytes) -> None:
        """Join the parts of a fragmented message (RFC 6455, 5.4)."""
        parts = self._parts
        opening = first & ~_FIN == self._plain & ~_FIN
        if parts is None and opening and not first & _FIN:
            self._parts = [payload]
            return
        if parts is None or first & ~_FIN:
            raise ServerMisbehaved(f"a frame beginning with {first:#04x} here")
        parts.append(payload)
        if sum(map(len, parts)) > MESSAGE_MAX_BYTES:
            raise ServerMisbehaved("a message of too many bytes")
        if first & _FIN:
            self._parts = None
            self._on_message(b"".join(parts))
