"""A client that does what docs/protocol.md 5 says, and nothing more: a log in a dict, and a position."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from storage.model import LogEntry
from tests.chat.peers_double import RecordingPeer, Wires

LEAVE = "leave"


@dataclass(frozen=True)
class Rewind:
    """A `rewind` that was told: the first of our events that it dropped, and what it says survived."""

    keep: int
    dropped: Wires | None


@dataclass
class NaiveClient:
    """One user's client over any number of connections.

    Attributes:
        peer: the connection; None: there is none.
        log: by seq, the events as they came; a void's body is gone.
        last: the last seq that the client has seen or knows to be missing.
        epoch: of the room, as last heard; 0: never subscribed.
        asked: requests of this connection without an answer so far: what they were.
        answers: how many answers each request of this connection has.
        stored: by cid and body, what `ok` said: seq and epoch.
        codes: the errors that came.
        rewinds: every `rewind` that was told.
    """

    user: str
    peer: RecordingPeer | None = None
    log: dict[int, Wires] = field(default_factory=dict[int, Wires])
    first: int = 1
    last: int = 0
    epoch: int = 0
    subscribed: bool = False
    asked: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])
    answers: dict[int, int] = field(default_factory=dict[int, int])
    stored: dict[tuple[str, str], tuple[int, int]] = field(
        default_factory=dict[tuple[str, str], tuple[int, int]]
    )
    codes: list[str] = field(default_factory=list[str])
    rewinds: list[Rewind] = field(default_factory=list[Rewind])

    @property
    def position(self) -> tuple[int, int] | None:
        """What `since` says."""
        return (self.epoch, self.last) if self.epoch else None

    def connect(self, peer: RecordingPeer) -> None:
        """Go on over a new connection."""
        self.disconnect()
        self.peer = peer

    def disconnect(self) -> None:
        """The connection is gone; what it asked may or may not happen."""
        if self.peer is not None and not self.peer.is_closed:
            self.peer.close()
        self.peer = None
        self.subscribed = False
        self.asked.clear()
        self.answers.clear()

    def ask(self, request_id: int, cid: str, body: str) -> None:
        """Remember a request; without a cid it is a subscription, or with `LEAVE` its end."""
        self.asked[request_id] = (cid, body)
        self.answers[request_id] = 0

    def absorb(self, durable: Sequence[LogEntry]) -> None:
        """Read what came; `ok`s are checked against what is stored at this moment."""
        if self.peer is None:
            return
        for envelope in self.peer.take():
            self._take(envelope, durable)

    def hole(self) -> int | None:
        """The seq after which something is missing; None when the log is whole."""
        return next((seq - 1 for seq in range(self.first, self.last + 1) if seq not in self.log), None)

    def fill(self, page: Sequence[Wires]) -> None:
        """Put what history has into the holes."""
        for event in page:
            if event["seq"] not in self.log:
                self._put(event)

    def _take(self, envelope: Wires, durable: Sequence[LogEntry]) -> None:
        if envelope["t"] == "event":
            assert self.subscribed, f"an event before its subscription: {envelope}"
            assert envelope["seq"] == self.last + 1, f"{self.last} is followed by {envelope}"
            self._add(envelope)
            self.epoch = max(self.epoch, cast("int", envelope["epoch"]))
            return
        if envelope["t"] == "notice":
            assert not self.subscribed, f"what it receives as an event, too: {envelope}"
            return
        request_id = cast("int", envelope["id"])
        self.answers[request_id] += 1
        assert self.answers[request_id] == 1, f"answered twice: {envelope}"
        cid, body = self.asked.pop(request_id)
        if envelope["t"] == "error":
            self.codes.append(cast("str", envelope["code"]))
        elif cid:
            self._stored(cid, body, envelope, durable)
        elif body == LEAVE:
            self.subscribed = False
        else:
            self._caught_up(envelope)

    def _stored(self, cid: str, body: str, ok: Wires, durable: Sequence[LogEntry]) -> None:
        seq, epoch = cast("int", ok["seq"]), cast("int", ok["epoch"])
        assert seq <= len(durable), f"ok, and not stored: {ok}"
        row = durable[seq - 1]
        assert (row.by, row.cid, row.body, row.epoch) == (f"u_{self.user}", cid, body, epoch)
        assert row.at_ms == ok["at"]
        assert self.stored.setdefault((cid, body), (seq, epoch)) == (seq, epoch)

    def _caught_up(self, ok: Wires) -> None:
        mode, events = ok["mode"], cast("list[Wires]", ok["events"])
        head = cast("int", ok["head"])
        came = [cast("int", event["seq"]) for event in events]
        assert came == list(range(head - len(came) + 1, head + 1)), f"a hole within {came}, head {head}"
        match mode:
            case "fresh":
                assert self.epoch == 0
                self.first = came[0] if came else head + 1
                self.last = self.first - 1
            case "rewind":
                keep = cast("int", ok["keep"])
                assert keep < self.last, "nothing to rewind"
                self.rewinds.append(Rewind(keep, self.log.get(keep + 1)))
                self.log = {seq: event for seq, event in self.log.items() if seq <= keep}
                self.last = keep
            case "tail":
                assert self.last == head - len(came)
            case "gap":
                assert self.last < head - len(came)
            case _:
                raise AssertionError(f"unexpected: {ok}")
        # A hole before the first of them is filled from history when everything is stored.
        for event in events:
            self._add(event)
        self.last = head
        self.epoch = cast("int", ok["epoch"])
        self.subscribed = True

    def _add(self, event: Wires) -> None:
        self._put(event)
        self.last = cast("int", event["seq"])

    def _put(self, event: Wires) -> None:
        self.log[cast("int", event["seq"])] = event
        of = event.get("of") if event["kind"] == "void" else None
        if of is not None:
            voided = self.log.get(cast("int", of))
            if voided is not None:
                self.log[cast("int", of)] = {**voided, "kind": "void"}
