"""What is logged and how it looks: lines for people on a terminal, JSON objects elsewhere, never a secret.

Only the command line configures logging; the rest of the program calls `structlog.get_logger()`. Events are
dotted constants (`room.activated`), what they concern stands in keys. Whatever is logged passes `scrub`:
no message body, no token and no password leaves the process here, also not by mistake.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from chat.rate_limit import KeyedBuckets

HIDDEN: Final = "[hidden]"

_SECRET_KEYS: Final = frozenset({"body", "text", "cookie", "dsn", "database_url", "envelope", "frame"})
_SECRET_PARTS: Final = ("token", "secret", "password", "authorization")
_SECRET_VALUES: Final = re.compile(
    r"pt_[A-Za-z0-9_-]{20,}"  # registered users' tokens
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # guests' tokens
    r"|(?<=://)[^/@\s]+(?=@)",  # the credentials of a URL
)
_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_MAX_DEPTH: Final = 4


def scrub(_logger: object, _method: str, event: MutableMapping[str, object]) -> Mapping[str, object]:
    """A structlog processor: hide the values of telling keys, and whatever looks like a token, anywhere."""
    for key, value in event.items():
        event[key] = HIDDEN if _is_secret(key) else _scrubbed(value, _MAX_DEPTH)
    return event


def _is_secret(key: object) -> bool:
    name = str(key).lower()
    return name in _SECRET_KEYS or any(part in name for part in _SECRET_PARTS)


def _scrubbed(value: object, depth: int) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _SECRET_VALUES.sub(HIDDEN, value)
        case Mapping() if depth:
            return {k: HIDDEN if _is_secret(k) else _scrubbed(v, depth - 1) for k, v in value.items()}
        case Sequence() if depth and not isinstance(value, (bytes, bytearray, memoryview)):
            return [_scrubbed(v, depth - 1) for v in value]
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case _:
            # What it prints as is what a renderer would print.
            return _SECRET_VALUES.sub(HIDDEN, str(value))


def configure_logging(
    *,
    level: Literal["debug", "info", "warning", "error"],
    log_format: Literal["auto", "terminal", "json"],
    stream: TextIO | None = None,
) -> None:
    """Set up structlog, and the standard library's logging to go the same way, for this process.

    Args:
        level: what is less serious is not logged.
        log_format: `auto` means `terminal` where `stream` is one, else `json`.
        stream: where lines go; None: standard error. A write waits for the reader of a full pipe.
    """
    out = stream or sys.stderr
    for_people = log_format == "terminal" or (log_format == "auto" and out.isatty())
    render: list[Processor] = (
        [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            # Without the local variables that the default formatter shows: bodies stand in them.
            structlog.processors.format_exc_info,
            scrub,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if for_people
        else [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            scrub,
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[_ToStructlog()], force=True)


class _ToStructlog(logging.Handler):
    """What libraries log, as an event among ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log: FilteringBoundLogger = structlog.get_logger()
        log.log(
            record.levelno,
            "library.said",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


class RepeatedEvents:
    """Logs warnings that a peer can cause at will, a few of each kind, and counts the rest.

    Args:
        log: where to.
        per_s: of each event, on average.
        burst: of each event, at once.
    """

    def __init__(self, log: FilteringBoundLogger, *, per_s: float = 0.1, burst: int = 5) -> None:
        self._log = log
        # By event, and events are constants of the program: they cannot be too many.
        self._buckets = KeyedBuckets[str](per_s, burst, max_keys=1000)
        self._held_back: dict[str, int] = {}
        self.dropped = 0

    def warning(self, event: str, *, now_s: float, **fields: object) -> bool:
        """Log the event, with how many of its kind were held back since the last; or hold it back.

        Args:
            event: a dotted constant.
            now_s: the present, in seconds of trio's clock.
            fields: what it concerns.

        Returns:
            Whether it was logged.
        """
        if self._buckets.take(event, now_s):
            self._held_back[event] = self._held_back.get(event, 0) + 1
            self.dropped += 1
            return False
        held_back = self._held_back.pop(event, 0)
        if held_back:
            fields["held_back"] = held_back
        self._log.warning(event, **fields)
        return True
