"""PURE: where a list goes on, opaque to clients."""

import base64
import binascii
from typing import Final

from chat.errors import ErrorCode, Refused

MINE_CURSOR: Final = "mine:"
"""What marks a cursor of the user's own rooms; neither names nor other cursors have a colon."""

SEQ_DIGITS_MAX: Final = 16


def to_cursor(after: str) -> str:
    """Where a list goes on, opaque to clients."""
    return base64.urlsafe_b64encode(after.encode()).decode("ascii").rstrip("=")


def from_cursor(cursor: str) -> str:
    """What `to_cursor` was given.

    Raises:
        Refused: `bad_cursor`.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        after = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        after = ""
    if not after or "\0" in after:
        raise Refused(ErrorCode.BAD_CURSOR, "this server did not make that cursor", field="cursor")
    return after


def is_seq(text: str) -> bool:
    """Whether a part of a cursor is a seq."""
    return text.isascii() and text.isdecimal() and len(text) <= SEQ_DIGITS_MAX
