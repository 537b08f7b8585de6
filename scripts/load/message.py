"""PURE: what the bodies of simulated users carry, and what an event is compared by.

A body begins with the time at which it was meant to be sent, nanoseconds of the machine's monotonic clock in
hexadecimal, so that every process of the machine can tell how long it took.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, cast

from chat.protocol import BODY_MAX_BYTES

TOO_LARGE: Final = "x" * (BODY_MAX_BYTES + 1)
"""One byte more than the protocol lets through."""
TEXT_MAX_BYTES: Final = BODY_MAX_BYTES - 20
VOID: Final = 0
"""The digest of an event that carries nothing (any more)."""
_WORD: Final = "parley "


def padded_body(due_ns: int, body_bytes: int) -> str:
    """A body of so many bytes."""
    head = f"{due_ns:x} "
    missing = body_bytes - len(head)
    return head + (_WORD * (missing // len(_WORD) + 1))[:missing]


def spoken_body(due_ns: int, text: str) -> str:
    """A body with these words; overlong ones are cut."""
    if len(text) * 4 > TEXT_MAX_BYTES:
        text = text.encode()[:TEXT_MAX_BYTES].decode(errors="ignore")
    return f"{due_ns:x} {text.replace(chr(0), '')}"


def due_ns_of(body: str) -> int:
    """The time in a body; 0 where there is none."""
    try:
        return int(body[: body.index(" ")], 16)
    except ValueError:
        return 0


def digest_of(event: Mapping[str, object]) -> int:
    """63 bits of everything that an event says, the same in both encodings, live and in history.

    `VOID` for one that carries nothing: what it replaces may have been seen.
    """
    if event["kind"] == "void":
        return VOID
    body = cast("str", event.get("body", ""))
    place = f"{event['epoch']} {event['seq']} {event['at']}"
    told = f"{place} {event['kind']} {event['by']} {event.get('cid')} {body}"
    return int.from_bytes(blake2b(told.encode(), digest_size=8).digest()) >> 1 or 1
