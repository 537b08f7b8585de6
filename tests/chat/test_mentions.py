"""Who is meant by a name in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.mentions import MENTIONED_MAX, NOBODY, SIGNS_MAX, MemberNames, Mentioned

NAMES = MemberNames(
    [
        ("u_ann", "Ann"),
        ("u_anna", "Anna"),
        ("u_annb", "Ann Bell"),
        ("u_twin", "ann"),
        ("u_gross", "Groß"),
        ("u_here", "Here"),
        ("u_dash", "a-b"),
    ]
)


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("hello @Ann!", ("u_ann", "u_twin")),
        ("@ANN", ("u_ann", "u_twin")),
        ("@anna", ("u_anna",)),
        ("@Ann Bell, are you there?", ("u_annb",)),
        ("@Ann Bellman", ("u_ann", "u_twin")),
        ("@annabel", ()),
        ("@ann_b", ()),
        ("@ann-b", ("u_ann", "u_twin")),
        ("@a-b", ("u_dash",)),
        ("@gROSS and @groß", ("u_gross",)),
        ("mail ann@anna.example", ()),
        ("(@anna)", ("u_anna",)),
        ("@@anna", ("u_anna",)),
        ("@anna @ann @anna", ("u_anna", "u_ann", "u_twin")),
        ("@nobody", ()),
        ("@", ()),
        ("nothing", ()),
    ],
)
def test_names_are_found(text: str, users: tuple[str, ...]) -> None:
    """The longest one after a sign that begins a word, in any capitals; each person once."""
    assert NAMES.find(text) == Mentioned(users, here=False)


@pytest.mark.parametrize("text", ["@here", "look, @HERE!", "@here @here"])
def test_everybody_who_is_here_is_a_mention_of_nobody_by_name(text: str) -> None:
    """Also where somebody is called so."""
    assert NAMES.find(text) == Mentioned((), here=True)


def test_a_message_mentions_a_bounded_number() -> None:
    """Fifty people, and no more than a hundred signs are looked at."""
    many = MemberNames((f"u_{number}", "all") for number in range(80))
    assert len(many.find("@all").users) == MENTIONED_MAX
    assert NAMES.find("@x " * SIGNS_MAX + "@anna") == NOBODY
    assert NAMES.find("@x " * (SIGNS_MAX - 1) + "@anna").users == ("u_anna",)


def test_names_follow_the_members() -> None:
    """Who left is not meant any more, who has another name is meant by it."""
    names = MemberNames([("u_ann", "Ann"), ("u_bob", "Ann")])
    names.remove("u_ann", "Ann")
    names.add("u_cat", "Cat")
    names.remove("u_dan", "Dan")
    assert names.find("@ann @cat @dan").users == ("u_bob", "u_cat")
    names.remove("u_bob", "Ann")
    assert names.find("@ann") == NOBODY


@given(
    names=st.lists(st.text("aßSİh_ -", min_size=1, max_size=5), max_size=6),
    text=st.text("@aAßsSİiher_ -", max_size=24),
)
def test_looking_at_beginnings_first_misses_no_name(names: list[str], text: str) -> None:
    """Against every name tried at every sign, the longest first."""
    found: dict[str, None] = {}
    here = False
    by_name: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        by_name.setdefault(name.casefold(), []).append(f"u_{number}")
    for at in (at for at, character in enumerate(text) if character == "@"):
        if at and (text[at - 1].isalnum() or text[at - 1] == "_"):
            continue
        ends = [
            end
            for end in range(at + 2, len(text) + 1)
            if end == len(text) or not (_letter(text[end]) and _letter(text[end - 1]))
        ]
        words = [text[at + 1 : end].casefold() for end in reversed(ends)]
        named = next((word for word in words if word == "here" or word in by_name), None)
        if named == "here":
            here = True
        elif named is not None:
            found.update(dict.fromkeys(by_name[named]))
    members = MemberNames((f"u_{number}", name) for number, name in enumerate(names))
    assert members.find(text) == Mentioned(tuple(found), here)


def _letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def test_the_log_keeps_what_is_there() -> None:
    """No field for what is not."""
    assert NOBODY.data() is None
    assert Mentioned(("u_a",), here=False).data() == '{"mentions":["u_a"]}'
    assert Mentioned((), here=True).data() == '{"here":true}'


@given(st.text("@ann ABelßhr-_é", max_size=60))
def test_any_text_is_searched(text: str) -> None:
    """Whom it finds are members; nobody is in it twice."""
    users = NAMES.find(text).users
    assert len(set(users)) == len(users)
    assert set(users) <= {"u_ann", "u_anna", "u_annb", "u_twin", "u_gross", "u_dash"}
