"""PURE: the one room that two people have for themselves, found by its name from either side."""

import base64
from hashlib import blake2b
from typing import Final

PREFIX: Final = "dm."
"""Names that begin so are direct rooms'."""
RESERVED: Final = (PREFIX, "sys.")
"""Beginnings of names that nobody chooses: direct rooms, and rooms of the server itself."""


def direct_room_name(one: str, other: str) -> str:
    """The name of the direct room of two users: the same for both, and nobody else's.

    Args:
        one: a user id.
        other: another one.
    """
    pair = " ".join(sorted((one, other)))
    digest = blake2b(pair.encode(), digest_size=20).digest()
    return PREFIX + base64.b32encode(digest).decode().lower()
