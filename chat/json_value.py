"""PURE: what may be shared as a value: all that both encodings can say, and nothing else."""

from math import isfinite
from typing import Final, cast

import msgspec

from chat.errors import ErrorCode, Refused

VALUE_MAX_BYTES: Final = 16 * 1024
VALUE_MAX_DEPTH: Final = 32
EXACT_MAX: Final = 2**53 - 1
"""The largest integer that JSON readers keep exact (RFC 8259, 6)."""


def encode_value(value: object) -> str:
    """A value as JSON text.

    Raises:
        Refused: `bad_request` for what JSON cannot say (bytes, keys that are no strings, numbers that are not
            finite or not exact), for a NUL character and for one nested too deeply; `too_large`.
    """
    problem = _problem(value, VALUE_MAX_DEPTH)
    if problem is not None:
        raise Refused(ErrorCode.BAD_REQUEST, f"the value holds {problem}", field="value")
    encoded = msgspec.json.encode(value)
    if len(encoded) > VALUE_MAX_BYTES:
        raise Refused(ErrorCode.TOO_LARGE, f"the value is over {VALUE_MAX_BYTES} bytes", field="value")
    return encoded.decode()


def decode_value(text: str) -> object:
    """The value that `encode_value` was given."""
    return cast("object", msgspec.json.decode(text))


def _problem(value: object, depth: int) -> str | None:
    """What is wrong with a value, in words."""
    match value:
        case None | bool():
            return None
        case str():
            return "a NUL character" if "\0" in value else None
        case int():
            return None if -EXACT_MAX <= value <= EXACT_MAX else "an integer beyond 2^53-1"
        case float():
            return None if isfinite(value) else "a number that is not finite"
        case list() | dict() if depth == 0:
            return f"more than {VALUE_MAX_DEPTH} levels"
        case list():
            items = cast("list[object]", value)
        case dict():
            fields = cast("dict[object, object]", value)
            if not all(isinstance(key, str) for key in fields):
                return "a key that is no string"
            items = [*fields, *fields.values()]
        case _:
            return "what JSON cannot say"
    return next((found for item in items if (found := _problem(item, depth - 1)) is not None), None)
