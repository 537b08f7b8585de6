"""What a client is told when something is refused (`ErrorCode`) or ended (`CloseCode`).

Stands alone, so that every module of the package may import it. Two families, as protocol.md 7 and 8 have
them: an error answers one request and the connection lives on; a close code ends the connection, and its
range says whether to come back.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """Why a request was refused. `temporary` ones may work later as they stand."""

    RATE_LIMITED = "rate_limited"
    SLOW_MODE = "slow_mode"
    MUTED = "muted"
    BUSY = "busy"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    INTERNAL = "internal"

    BAD_REQUEST = "bad_request"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    ROOM_NOT_FOUND = "room_not_found"
    NOT_MEMBER = "not_member"
    NOT_FOUND = "not_found"
    BANNED = "banned"
    LOCKED = "locked"
    ROOM_FULL = "room_full"
    CONFLICT = "conflict"
    CID_CONFLICT = "cid_conflict"
    FILTERED = "filtered"
    BAD_CURSOR = "bad_cursor"

    @property
    def temporary(self) -> bool:
        """Whether the same request may work later."""
        return self in _TEMPORARY


_TEMPORARY = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.SLOW_MODE,
        ErrorCode.MUTED,
        ErrorCode.BUSY,
        ErrorCode.OVERLOADED,
        ErrorCode.UNAVAILABLE,
        ErrorCode.TIMEOUT,
        ErrorCode.INTERNAL,
    },
)


class CloseCode(IntEnum):
    """Why a connection was ended. 4000-4499: reconnect. 4500-4999: do not."""

    NORMAL = 1000
    SHUTDOWN = 4000
    INTERNAL = 4001
    SLOW_CONSUMER = 4002
    NO_PONG = 4003
    TOKEN_EXPIRED = 4004
    OVERLOADED = 4005
    MOVED = 4006
    DISCONNECTED = 4007
    REPLACED = 4010
    BAD_TOKEN = 4500
    BAD_FRAMES = 4501
    PROTOCOL_VERSION = 4502
    TOO_LARGE = 4503
    BANNED = 4504
    TOO_MANY_CONNECTIONS = 4505
    ABUSIVE_RATE = 4506
    NO_HELLO = 4507

    @property
    def reconnect(self) -> bool:
        """Whether the client should come back."""
        return self < 4500 and self is not CloseCode.NORMAL  # noqa: PLR2004  the range is the protocol's


class ChatError(Exception):
    """Root of everything that chat raises on purpose."""


class Refused(ChatError):
    """A request that is answered with an error.

    Attributes:
        code: which error.
        message: one sentence for a person.
        field: the request's field at fault, for `bad_request` and `too_large`.
        retry_after_s: when a temporary refusal may have passed, in seconds.
        request_id: the request's `id` where it could be read.
        current: for `conflict`, the `value` and `version` that are there.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        request_id: int | None = None,
        current: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.current = current


class Undecodable(ChatError):
    """A frame that is no envelope at all: three of them end the connection."""
