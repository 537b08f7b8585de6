"""A connection that only takes notes, in place of a `Session`: rooms deliver to it as to a real one."""

from collections.abc import Callable, Sequence
from typing import cast

from chat.codec import JSON, MSGPACK, Codec
from chat.errors import CloseCode, Refused
from chat.protocol import Change, Envelope, error
from chat.topic import Subscriber
from chat.transport import Flusher, Outbox, build_frame
from chat.transport.wire import Wire
from tests.chat.transport.support import parse_server_frames

Wires = dict[str, object]
"""An envelope as its reader decodes it."""


class NoWire(Wire):
    """Goes nowhere: what is queued stays in the outbox, for the test to read."""

    def __init__(self) -> None:
        super().__init__(len, chunk_bytes=1024, kernel_socket=None)

    async def send_some(self, data: bytes | memoryview) -> int:
        """Never asked: no flusher runs."""
        raise NotImplementedError

    async def receive(self) -> bytes:
        """Never asked: no reader runs."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Never asked."""
        raise NotImplementedError

    def abort(self) -> None:
        """Never asked."""
        raise NotImplementedError


class RecordingPeer:
    """A welcomed connection of one user; its real outbox keeps answers and events in order.

    Args:
        flusher: the topic's; it need not run.
        user: the display name; `u_` before it is the user id.
        leave: called with the peer when it ends, to take it out of the topics, as a session does.
        codec: its encoding.

    Attributes:
        ended: how the server closed it; None while it is open.
        looked_up: changes of messages that the room does not remember.
    """

    _serial = 0

    def __init__(
        self,
        flusher: Flusher,
        user: str,
        leave: Callable[[Subscriber], None],
        codec: Codec = MSGPACK,
    ) -> None:
        RecordingPeer._serial += 1
        self.session_id = f"s-{RecordingPeer._serial}"
        self.user_id = f"u_{user}"
        self.name = user
        self.encoding_index = codec.index
        self.outbox = Outbox(NoWire(), flusher, limit_bytes=2**30)
        self.is_closed = False
        self.ended: tuple[CloseCode, str] | None = None
        self.looked_up: list[Change] = []
        self._codec = codec
        self._leave = leave

    # -- as rooms see it -------------------------------------------------------------------------------

    def reply(self, envelope: Envelope) -> None:
        """Keep an answer."""
        self._push(self._codec.encode(envelope))

    def reply_events(self, envelope: Envelope, events: Sequence[bytes]) -> None:
        """Keep the answer to a subscription."""
        self._push(self._codec.encode_listing(envelope, "events", events))

    def refuse(self, refused: Refused) -> None:
        """Keep an error."""
        self.reply(error(refused))

    def look_up(self, request: Change) -> None:
        """Keep what storage would have to be asked for."""
        self.looked_up.append(request)

    def push_ephemeral(self, frame: bytes) -> bool:
        """Keep a frame that might have been shed."""
        return self.outbox.push(frame, ephemeral=True)

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection: it leaves every topic now."""
        if not self.is_closed:
            self.ended = (code, reason)
            self.close()

    def _push(self, payload: bytes) -> None:
        self.outbox.push(build_frame(payload, text=self._codec.is_text))

    # -- as tests see it -------------------------------------------------------------------------------

    def close(self) -> None:
        """The connection is gone."""
        self.is_closed = True
        self._leave(self)

    def got(self) -> list[Wires]:
        """Every envelope so far, oldest first."""
        codec = JSON if self.encoding_index else MSGPACK
        frames = parse_server_frames(b"".join(self.outbox.frames))
        return [codec.decode_envelope(payload) for _, payload in frames]

    def take(self) -> list[Wires]:
        """What came since the last call, as if the client had read it."""
        got = self.got()
        self.outbox.frames.clear()
        self.outbox.queued_bytes = 0
        return got

    def answers(self, request_id: int) -> list[Wires]:
        """Every answer to a request."""
        return [envelope for envelope in self.got() if envelope.get("id") == request_id]

    def answer(self, request_id: int) -> Wires:
        """The one answer to a request."""
        answers = self.answers(request_id)
        assert len(answers) == 1, f"{len(answers)} answers to {request_id}: {answers}"
        return answers[0]

    def live(self) -> list[Wires]:
        """The events that came outside of answers."""
        return [envelope for envelope in self.got() if envelope["t"] == "event"]

    def seqs(self) -> list[int]:
        """The seqs of every event that came, within answers or live, in the order of coming."""
        found: list[int] = []
        for envelope in self.got():
            events = cast("list[Wires]", envelope.get("events", []))
            found += [cast("int", event["seq"]) for event in events]
            if envelope["t"] == "event":
                found.append(cast("int", envelope["seq"]))
        return found
