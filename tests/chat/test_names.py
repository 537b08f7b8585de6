"""Display names, room names and ids: what is allowed and what becomes of the rest."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ErrorCode, Refused
from chat.names import display_name, guest_id, is_room_name, name_key, registered_id, suggest_room_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("ann", "ann"),
        ("  Ann Lee\t\n", "Ann Lee"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("李小龙", "李小龙"),
        ("می\u200cروم", "می\u200cروم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("x" * 32, "x" * 32),
        ("e\u0301" * 32, "\u00e9" * 32),
        ("_", "_"),
    ],
)
def test_a_name_is_trimmed_and_composed(raw: str, name: str) -> None:
    """What a person types becomes one form: NFC, without white space at the ends."""
    assert display_name(raw) == name


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   ",
        "\u00a0\u2003",
        "\u3164",
        "\u2800",
        "\u200d\u200c",
        "\u0301",
        "x" * 33,
        "x" * 10_000,
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u202eb",
        "a\u2066b",
        "a\u200fb",
        "a\u200bb",
        "a\ufeffb",
        "a\u2028b",
        "a\ud800b",
        "a\U000e0041b",
    ],
)
def test_a_name_that_hides_or_turns_text_is_refused(raw: str) -> None:
    """Nothing to see, too long, controls, bidi overrides and halves of characters: `bad_request`."""
    with pytest.raises(Refused) as refused:
        display_name(raw, field="name", request_id=7)

    assert (refused.value.code, refused.value.field, refused.value.request_id) == (
        ErrorCode.BAD_REQUEST,
        "name",
        7,
    )


@given(st.text(max_size=300))
def test_a_name_that_passes_keeps_every_promise(raw: str) -> None:
    """Whatever comes in, a name that comes out is 1 to 32 visible NFC characters, and stays what it is."""
    try:
        name = display_name(raw)
    except Refused:
        return

    assert 1 <= len(name) <= 32
    assert unicodedata.is_normalized("NFC", name)
    assert name == name.strip() == display_name(name)
    assert not {unicodedata.category(c) for c in name} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(name)
    assert name.encode().decode() == name


@pytest.mark.parametrize(
    ("raw", "room"),
    [
        ("lobby", "lobby"),
        ("Café Olé", "cafe-ole"),
        ("  My first ROOM!! ", "my-first-room"),
        ("#general", "general"),
        ("-_.x", "x"),
        ("a--b", "a--b"),
        ("x" * 100, "x" * 64),
        ("STRASSE ß", "strasse-ss"),
    ],
)
def test_a_room_name_is_suggested(raw: str, room: str) -> None:
    """Who typed a name that no room may have is told the nearest that one may."""
    assert suggest_room_name(raw) == room


@pytest.mark.parametrize("raw", ["", "   ", "日本", "!!!"])
def test_nothing_is_suggested_where_nothing_can_be_kept(raw: str) -> None:
    """A name without any letter or digit that is allowed has no neighbour."""
    assert suggest_room_name(raw) is None


@given(st.text(max_size=100))
def test_a_suggestion_is_always_allowed(raw: str) -> None:
    """Every suggestion is a room's name by the protocol's own pattern."""
    suggestion = suggest_room_name(raw)

    assert suggestion is None or re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", suggestion)


@pytest.mark.parametrize("name", ["A", "a b", "", ".a", "a\n", "x" * 65, "é"])
def test_what_no_room_may_be_called(name: str) -> None:
    """Capitals, spaces, marks, a leading dot, a trailing line end and 65 characters are no room names."""
    assert not is_room_name(name)


@given(st.binary(min_size=10, max_size=40))
def test_ids_are_lower_case_base32(entropy: bytes) -> None:
    """Ids fit the protocol's pattern and say whether somebody is a guest."""
    assert re.fullmatch(r"u_[a-z2-7]{16,64}", registered_id(entropy))
    assert guest_id(entropy) == "g_" + registered_id(entropy)[2:]


@pytest.mark.parametrize("size", [0, 9, 41])
def test_an_id_wants_enough_randomness(size: int) -> None:
    """Too few bytes would collide, too many would not fit."""
    with pytest.raises(ValueError, match="10 to 40 bytes"):
        registered_id(bytes(size))


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Ann", "aNN"),
        ("Zo\u00eb", "ZO\u00cb"),
        ("Stra\u00dfe", "STRASSE"),
        ("\uff21nn", "ann"),
        ("\u2126", "\u03c9"),
    ],
)
def test_names_that_look_alike_in_other_capitals_are_the_same(name: str, same: str) -> None:
    """Capitals and compatibility forms make no difference; a letter does."""
    assert name_key(name) == name_key(same)
    assert name_key(name) != name_key(f"{name}x")


@given(st.text(max_size=40))
def test_a_key_is_its_own_key(name: str) -> None:
    """What was compared once compares the same again."""
    assert name_key(name_key(name)) == name_key(name)
