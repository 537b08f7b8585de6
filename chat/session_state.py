"""PURE: one connection's phases and limits: what it may ask now (docs/protocol.md 1, 7, 10).

No I/O and no clock; time (seconds, monotonic) comes in with every call. The shell (`chat.session`) does what
this file allows.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from chat.errors import ErrorCode, Refused
from chat.protocol import (
    AnyRequest,
    Assign,
    Audit,
    Automod,
    Busiest,
    Create,
    Delete,
    Disconnect,
    Drain,
    Edit,
    Enroll,
    GetState,
    Hello,
    History,
    ListSanctions,
    Members,
    Mod,
    Pin,
    Ping,
    Pins,
    Presence,
    React,
    Reactions,
    Report,
    Reports,
    Reset,
    Resolve,
    Room,
    Rooms,
    Search,
    Send,
    Sessions,
    SetState,
    User,
    Users,
    Watch,
)
from chat.rate_limit import TokenBucket

CALM_S: Final = 2.0
"""So long without a refused frame, and the abuse is forgiven."""
FLOOD_BURSTS: Final = 20
"""Refused frames, in bursts of the limit, that nobody sends by mistake: more end the connection at once."""
_LIMITED_BY_ROOM: Final = frozenset({Send, Edit, Delete, React, Pin, SetState})


class Phase(Enum):
    """How far a connection has come."""

    NEW = auto()
    """Nothing but `hello` is understood."""
    GREETING = auto()
    """`hello` is being checked; what follows waits for it."""
    READY = auto()
    """Welcomed."""
    CLOSING = auto()
    """Ended by one side; nothing more is answered."""


class Bucket(Protocol):
    """A rate limit: seconds until `n` may pass, 0.0 when they just did."""

    def take(self, now_s: float, n: int = 1) -> float:
        """Take `n` tokens, or say in how many seconds they will be there."""
        ...

    def charge(self, now_s: float, n: int = 1) -> None:
        """Take `n` tokens, there or not: what comes next waits for them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A limit as configured: so many a second, so many at once."""

    rate_per_s: float
    burst: int

    def bucket(self) -> Bucket:
        """A fresh bucket of this rate, full."""
        return TokenBucket(self.rate_per_s, self.burst)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """The limits of one connection; None: no limit (testers).

    Attributes:
        bad_frames: frames that are no envelope and are answered; one more ends the connection.
        abuse_s: how long a connection may stay above `frames` before it is ended.
        subscriptions: rooms that it may receive at once.
    """

    frames: Rate | None
    lists: Rate | None
    searches: Rate | None
    presence: Rate | None
    abuse_s: float
    bad_frames: int
    subscriptions: int


class SessionState:
    """Phase, buckets and counts of one connection.

    Attributes:
        owes: whether misses may have to be paid for before the next question (`owed_s`).
    """

    __slots__ = (
        "_abused_since_s",
        "_frames",
        "_last_refusal_s",
        "_limits",
        "_lists",
        "_presence",
        "_refused_frames",
        "_searches",
        "_undecodable",
        "owes",
        "phase",
    )

    def __init__(self, limits: SessionLimits) -> None:
        self.phase = Phase.NEW
        self._limits = limits
        self._frames = None if limits.frames is None else limits.frames.bucket()
        # Made when first needed: most connections never list or type, and 10,000 are idle.
        self._lists: Bucket | None = None
        self._searches: Bucket | None = None
        self._presence: Bucket | None = None
        self._abused_since_s = 0.0
        self._last_refusal_s = float("-inf")
        self._refused_frames = 0
        self._undecodable = 0
        self.owes = False

    def count_frame(self, now_s: float) -> float:
        """Count one frame of any kind; 0.0 when it may be answered, else seconds to wait."""
        if self._frames is None:
            return 0.0
        wait_s = self._frames.take(now_s)
        if wait_s == 0.0:
            return 0.0
        if now_s - self._last_refusal_s > CALM_S:
            self._abused_since_s = now_s
            self._refused_frames = 0
        self._last_refusal_s = now_s
        self._refused_frames += 1
        return wait_s

    def abusive(self, now_s: float) -> bool:
        """Whether frames have been refused for `abuse_s`, or far too many of them, with no calm between.

        Ask after a refusal.
        """
        frames = self._limits.frames
        return now_s - self._abused_since_s >= self._limits.abuse_s or (
            frames is not None and self._refused_frames > FLOOD_BURSTS * frames.burst
        )

    def count_undecodable(self) -> bool:
        """Count a frame that is no envelope; True when the connection must end (4501)."""
        self._undecodable += 1
        return self._undecodable > self._limits.bad_frames

    def admit(self, request: AnyRequest, now_s: float) -> None:
        """Let a request through that fits the phase and its own limit.

        Raises:
            Refused: `unauthenticated` before the welcome, `bad_request` for a second `hello`,
                `rate_limited` with the time to wait.
        """
        if self.phase is not Phase.READY:
            if not isinstance(request, Hello | Ping):
                raise Refused(ErrorCode.UNAUTHENTICATED, "say hello first", request_id=request.id)
            return
        if type(request) in _LIMITED_BY_ROOM:
            # By user and room, over all of the user's sessions: see `UserLedger`.
            return
        match request:
            case Hello():
                raise Refused(
                    ErrorCode.BAD_REQUEST, "hello was said already", field="t", request_id=request.id
                )
            case (
                History()
                | Reactions()
                | Pins()
                | GetState()
                | Rooms()
                | Room()
                | Members()
                | Watch()
                | Create()
                | Audit()
                | ListSanctions()
                | Users()
                | User()
                | Sessions()
                | Disconnect()
                | Enroll()
                | Reset()
                | Assign()
                | Busiest()
                | Drain()
                | Automod()
                | Report()
                | Reports()
                | Resolve()
            ):
                self.count_list(now_s, request.id)
            case Mod(action="purge"):
                self.count_list(now_s, request.id)
            case Search():
                if self._limits.searches is not None:
                    if self._searches is None:
                        self._searches = self._limits.searches.bucket()
                    _take(self._searches, now_s, request.id)
            case Presence():
                if self._limits.presence is not None:
                    if self._presence is None:
                        self._presence = self._limits.presence.bucket()
                    _take(self._presence, now_s, request.id)
            case _:
                pass

    def count_list(self, now_s: float, request_id: int) -> None:
        """Count a request that reads much, or asks for it again.

        Raises:
            Refused: `rate_limited` with the time to wait.
        """
        lists = self._list_bucket()
        if lists is not None:
            _take(lists, now_s, request_id)

    def count_miss(self, now_s: float) -> None:
        """Count a question for a room that does not exist: known only when it has been answered."""
        lists = self._list_bucket()
        if lists is not None:
            lists.charge(now_s)
            self.owes = True

    def owed_s(self, now_s: float) -> float:
        """Seconds until rooms may be asked for again, after too many that do not exist; 0.0: now."""
        wait_s = 0.0 if self._lists is None else self._lists.take(now_s, 0)
        if not wait_s:
            self.owes = False
        return wait_s

    def _list_bucket(self) -> Bucket | None:
        if self._lists is None and self._limits.lists is not None:
            self._lists = self._limits.lists.bucket()
        return self._lists

    @property
    def subscriptions_max(self) -> int:
        """Rooms that the connection may receive at once."""
        return self._limits.subscriptions


def _take(bucket: Bucket, now_s: float, request_id: int) -> None:
    wait_s = bucket.take(now_s)
    if wait_s:
        raise Refused(
            ErrorCode.RATE_LIMITED,
            "too many of these requests",
            retry_after_s=wait_s,
            request_id=request_id,
        )


def rate_refusal(wait_s: float, request_id: int | None) -> Refused:
    """The answer to a frame above the connection's rate."""
    return Refused(ErrorCode.RATE_LIMITED, "too many frames", retry_after_s=wait_s, request_id=request_id)
