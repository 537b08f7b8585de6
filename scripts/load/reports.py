"""PURE: what the coordinator and its workers tell each other, in frames of msgpack behind their length."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from scripts.load.presence_check import Picture
from scripts.load.record import Metric, Violation
from scripts.load.witness import Sight

FRAME_MAX_BYTES: Final = 256 * 1024 * 1024
_LENGTH_BYTES: Final = 4


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag="assignment"):
    """What a worker is to do: the first frame that it gets.

    Attributes:
        scenario: its table.
        url: the server's.
        run: makes the rooms' names this run's own.
        worker: its number.
        workers: how many there are: it plays the users whose number leaves that remainder.
        tokens: for users to come with, by turns; guests without.
    """

    scenario: Mapping[str, object]
    url: str
    run: str
    worker: int
    workers: int
    tokens: Sequence[str] = ()


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Begin: `at_ns` of the monotonic clock is second 0."""

    at_ns: int


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Let nothing more become due; what is on its way goes on."""


class Heads(msgspec.Struct, frozen=True, kw_only=True, tag="heads"):
    """See to it that every client has seen every room up to here, within a time; then tell everything.

    Attributes:
        heads: the last seq of each room, by number.
    """

    heads: Mapping[int, int]
    wait_s: float


class AskPresence(msgspec.Struct, frozen=True, kw_only=True, tag="ask_presence"):
    """Tell who is there and what watchers show."""


Command: TypeAlias = Assignment | Start | Stop | Heads | AskPresence


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker can begin."""


class Second(msgspec.Struct, frozen=True, kw_only=True, tag="second"):
    """One second of one worker.

    Attributes:
        number: which one, from 0.
        users: welcomed now, their rooms joined.
        pending: sends and requests on their way.
        lost: users without a connection who should have one.
        violations: broken promises that were seen in this second.
        out: users whom the server will not have again.
        steady: counts of the operations that ended in it and were due in the steady phase, by metric.
        other: the same of all others that ended in it.
        steady_late: how late operations of the steady phase were begun.
        other_late: the same of all others.
        cpu_s: that it used.
        memory_bytes: resident, less what it took before its users were made.
        all_memory_bytes: resident.
    """

    number: int
    users: int
    pending: int
    lost: int
    out: int
    violations: int
    sends: int
    deliveries: int
    oks: int
    connects: int
    resumes: int
    errors: Mapping[str, int]
    steady: Mapping[Metric, Mapping[int, int]]
    other: Mapping[Metric, Mapping[int, int]]
    steady_late: Mapping[int, int]
    other_late: Mapping[int, int]
    cpu_s: float
    memory_bytes: int
    all_memory_bytes: int


class PresenceReport(msgspec.Struct, frozen=True, kw_only=True, tag="presence"):
    """Who is there and what watchers show.

    Attributes:
        statuses: of this worker's users, by user id.
        members: user ids by room.
        pictures: (room, watcher, its picture).
    """

    statuses: Mapping[str, str]
    members: Mapping[int, Sequence[str]]
    pictures: Sequence[tuple[int, str, Picture]]


class RoomReport(msgspec.Struct, frozen=True, kw_only=True, tag="room"):
    """What a worker's users saw of one room, and what became of their sends there (`checks.Fate`)."""

    room: int
    sights: Mapping[int, Sight]
    fates: Mapping[str, int]


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """All rooms were told; the worker ends."""

    violations: Sequence[Violation]
    violation_count: int


Report: TypeAlias = Ready | Second | PresenceReport | RoomReport | Done

_encode: Final = msgspec.msgpack.Encoder().encode
_commands: Final[msgspec.msgpack.Decoder[Command]] = msgspec.msgpack.Decoder(Command)
_reports: Final[msgspec.msgpack.Decoder[Report]] = msgspec.msgpack.Decoder(Report)


class FrameError(Exception):
    """The other process sent what is no frame of ours."""


def frame(message: Command | Report) -> bytes:
    """A message as it goes through a pipe."""
    payload = _encode(message)
    return len(payload).to_bytes(_LENGTH_BYTES) + payload


class Frames:
    """Cuts what comes out of a pipe into payloads."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, data: bytes | bytearray) -> Iterator[bytes]:
        """The payloads that are whole now.

        Raises:
            FrameError: one that claims to be too large.
        """
        rest = self._rest
        rest += data
        while len(rest) >= _LENGTH_BYTES:
            size = int.from_bytes(rest[:_LENGTH_BYTES])
            if size > FRAME_MAX_BYTES:
                raise FrameError(f"a frame of {size} bytes")
            if len(rest) < _LENGTH_BYTES + size:
                return
            yield bytes(rest[_LENGTH_BYTES : _LENGTH_BYTES + size])
            del rest[: _LENGTH_BYTES + size]


def parse_command(payload: bytes) -> Command:
    """What the coordinator said; raises FrameError."""
    try:
        return _commands.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def parse_report(payload: bytes) -> Report:
    """What a worker said; raises FrameError."""
    try:
        return _reports.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error
