"""What all users of one worker share."""

from collections.abc import Mapping
from time import monotonic_ns
from typing import Final, cast

import trio

from chat.client_state import Envelope
from chat.codec import JSON, MSGPACK, Codec
from chat.transport.frames import build_frame
from scripts.load.dial import Dialer
from scripts.load.message import due_ns_of
from scripts.load.meter import NS, Meter
from scripts.load.poller import Poller
from scripts.load.record import Violation, ViolationKind
from scripts.load.scenario import room_names
from scripts.load.wheel import Wheel
from scripts.load.witness import Witness

DIALS_MAX: Final = 256
"""Handshakes of one worker at a time; more wait, and their latency counts from when they were due."""
MEMO_MAX: Final = 16_384
"""Broadcasts remembered; then they are forgotten all at once."""
VIOLATIONS_MAX: Final = 100
"""Kept with their evidence; all are counted."""
DUE: Final = "due_ns"
"""The field that a decoded broadcast gets here: when its message was due."""


class World:
    """See the module.

    Args:
        run: makes the rooms' names this run's own.
        rooms: how many rooms there are.
        reconnect_s: see `Scenario`.

    Attributes:
        start_ns: second 0, by the monotonic clock.
        pending: requests and sends on their way.
        stopped: nothing more becomes due.
        fates: of every send, by room and cid: see `checks.Fate`.
        violations: seen by clients, the first of them.
    """

    def __init__(
        self, *, url: str, run: str, rooms: int, reconnect_s: float, nursery: trio.Nursery, poller: Poller
    ) -> None:
        self.meter = Meter()
        self.wheel = Wheel()
        self.dialer = Dialer(url)
        self.dials = trio.CapacityLimiter(DIALS_MAX)
        self.nursery = nursery
        self.poller = poller
        self.reconnect_s = reconnect_s
        self.room_names = room_names(run, rooms)
        self.witnesses = {name: Witness(name) for name in self.room_names}
        self.fates: list[dict[str, int]] = [{} for _ in self.room_names]
        self.start_ns = 0
        self.pending = 0
        self.stopped = False
        self.violations: list[Violation] = []
        self.violation_count = 0
        self.decoders: Mapping[bool, Decoder] = {False: Decoder(MSGPACK, self), True: Decoder(JSON, self)}

    def at_s(self, due_s: float) -> int:
        """A plan's time by the monotonic clock."""
        return self.start_ns + int(due_s * NS)

    def accuse(self, kind: ViolationKind, room: str, what: str, *evidence: str) -> None:
        """Report a broken promise."""
        self.violation_count += 1
        if len(self.violations) < VIOLATIONS_MAX:
            at_s = (monotonic_ns() - self.start_ns) / NS
            told = (*evidence, f"at second {at_s:.3f}")
            self.violations.append(Violation(kind=kind, room=room, what=what, evidence=told))


class Decoder:
    """Decodes for all clients of a worker: a broadcast once, with its due time, and shown to its witness.

    Attributes:
        broadcasts: those decoded lately, by their whole frames.
    """

    def __init__(self, codec: Codec, world: World) -> None:
        self._decode = codec.decode_envelope
        self._text = codec.is_text
        self._witnesses = world.witnesses
        self._payloads: dict[bytes, Envelope] = {}
        self.broadcasts: dict[bytes, Envelope] = {}

    def __call__(self, payload: bytes) -> Envelope:
        """A payload's envelope; raises Undecodable."""
        known = self._payloads.get(payload)
        if known is not None:
            return known
        envelope = self._decode(payload)
        if envelope.get("t") != "event":
            return envelope
        witness = self._witnesses.get(cast("str", envelope["room"]))
        if witness is not None:
            witness.see(envelope)
        body = envelope.get("body")
        envelope[DUE] = due_ns_of(body) if isinstance(body, str) else 0
        if len(self._payloads) >= MEMO_MAX:
            # Who is behind decodes again, and is compared again.
            self._payloads.clear()
            self.broadcasts.clear()
        self._payloads[payload] = envelope
        self.broadcasts[build_frame(payload, text=self._text)] = envelope
        return envelope
