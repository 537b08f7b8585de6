"""Durations and names as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.admin.durations import MAX_S, format_duration, parse_duration
from scripts.admin.nearest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("90s", 90.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        ("1h30m", 5400.0),
        (" 2H ", 7200.0),
        ("0.5s", 0.5),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, duration_s: float) -> None:
    """Several of them add up; capitals make no difference."""
    assert parse_duration(text) == duration_s


@pytest.mark.parametrize(
    "text", ["10x", "", "s", "10", "-5s", "1h 30m", "5s!", "1e3s", "٣s x", "99999999999s"]
)
def test_what_is_no_duration_is_told_with_examples(text: str) -> None:
    """The words say what to type."""
    with pytest.raises(ValueError, match="90s, 10m, 2h, 7d") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["0s", "0d", "9999w", "3661d"])
def test_a_duration_has_bounds(text: str) -> None:
    """Longer than ten years is for ever, which needs no number."""
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)


@given(st.integers(1, int(MAX_S)))
def test_a_duration_in_words_can_be_typed_again(duration_s: int) -> None:
    """To its two largest units."""
    again = parse_duration(format_duration(duration_s))
    assert 0 <= duration_s - again < max(60, duration_s * 0.05)


def test_the_nearest_names_come_first() -> None:
    """Whatever their capitals, three at most; none where nothing is like it."""
    assert nearest("anne", ["Anna", "ANNE", "Bob", "Hanne", "Joanne"]) == ["ANNE", "Hanne", "Joanne"]
    assert did_you_mean("tee", ["tea", "lobby"]) == "; did you mean tea?"
    assert did_you_mean("zzz", ["tea", "lobby"]) == ""
