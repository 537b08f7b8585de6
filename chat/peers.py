"""What the fan-out needs of a connection (`Peer`), and an envelope that is encoded once (`Broadcast`).

Rooms, presence and typing deliver to peers and know nothing of sockets, sessions or outboxes.
"""

from typing import Protocol

from chat.codec import JSON, MSGPACK
from chat.protocol import Envelope
from chat.transport.frames import build_frame


class Peer(Protocol):
    """One welcomed connection, as those who deliver to it see it.

    Neither method blocks, raises for a peer that is gone, or calls back into its caller.
    """

    @property
    def session_id(self) -> int | str:
        """Unique among the node's sessions, never used again."""
        ...

    @property
    def user_id(self) -> str:
        """Whose session it is."""
        ...

    @property
    def name(self) -> str:
        """The user's display name."""
        ...

    @property
    def encoding_index(self) -> int:
        """Which of a `Broadcast`'s two frames it reads: `Codec.index`."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over; what is sent to it goes nowhere."""
        ...

    def reply(self, envelope: Envelope) -> None:
        """Queue an envelope for this connection alone; never shed.

        An outbox that overflows ends the connection (4002), which the caller learns as from any other end.
        """
        ...

    def push_ephemeral(self, frame: bytes) -> bool:
        """Queue a complete frame that may be lost; False when it was shed."""
        ...


class Broadcast:
    """An envelope for many connections: each encoding is made when first asked for, and kept.

    The envelope must not change afterwards.
    """

    __slots__ = ("_json", "_json_frame", "_msgpack", "_msgpack_frame", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self._msgpack: bytes | None = None
        self._json: bytes | None = None
        self._msgpack_frame: bytes | None = None
        self._json_frame: bytes | None = None

    def payload(self, encoding_index: int) -> bytes:
        """The envelope's bytes in the encoding whose `Codec.index` that is."""
        if encoding_index:
            if self._json is None:
                self._json = JSON.encode(self.envelope)
            return self._json
        if self._msgpack is None:
            self._msgpack = MSGPACK.encode(self.envelope)
        return self._msgpack

    def frame(self, encoding_index: int) -> bytes:
        """The payload as a complete WebSocket frame (RFC 6455, 5.2: unmasked, final)."""
        if encoding_index:
            if self._json_frame is None:
                self._json_frame = build_frame(self.payload(1), text=True)
            return self._json_frame
        if self._msgpack_frame is None:
            self._msgpack_frame = build_frame(self.payload(0), text=False)
        return self._msgpack_frame
