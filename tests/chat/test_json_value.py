"""Values of the shared state: all that both encodings can say, within bounds."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.json_value import EXACT_MAX, VALUE_MAX_BYTES, decode_value, encode_value

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-EXACT_MAX, EXACT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@given(values)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    """Every kind of value, to the last digit."""
    assert decode_value(encode_value(value)) == value


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


REFUSED: dict[str, object] = {
    "bytes": b"x",
    "a date": datetime(2026, 1, 1, tzinfo=UTC),
    "a key that is a number": {1: 2},
    "not a number": [math.nan],
    "infinity": {"a": math.inf},
    "an integer that JSON readers round": EXACT_MAX + 1,
    "a NUL": ["\0"],
    "a NUL in a key": {"\0": 1},
    "too deep": _nested(33),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shared_is_a_bad_request(value: object) -> None:
    """It says which field it is about."""
    with pytest.raises(Refused) as caught:
        encode_value(value)
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_REQUEST, "value")


def test_a_value_has_a_size() -> None:
    """As JSON text, in bytes."""
    assert len(encode_value("x" * (VALUE_MAX_BYTES - 2))) == VALUE_MAX_BYTES
    assert encode_value(_nested(32))
    with pytest.raises(Refused) as caught:
        encode_value("ü" * (VALUE_MAX_BYTES // 2))
    assert caught.value.code is ErrorCode.TOO_LARGE
