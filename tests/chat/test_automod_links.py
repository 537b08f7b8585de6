"""Links are found however they are written; sentences are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.automod_links import Link, find_links, is_allowed


def hosts(text: str) -> list[str]:
    """Where a text leads to."""
    return [link.host for link in find_links(text)]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("see https://Example.com/x?y", "example.com"),
        ("hxxps://evil.example/foo", "evil.example"),
        ("http : // evil.example", "evil.example"),
        ("evil[.]com", "evil.com"),
        ("evil (dot) com", "evil.com"),
        ("evil dot com", "evil.com"),
        ("evil . com now", "evil.com"),
        ("evil .com", "evil.com"),
        ("www.foo.bar", "foo.bar"),
        ("go to EVIL.COM!", "evil.com"),
        ("evil\u200b.com", "evil.com"),
        ("\uff45vil\uff0ecom", "evil.com"),
        ("evil\u3002com", "evil.com"),
        ("http://good.com@evil.com/", "evil.com"),
        ("http://good.com\\@evil.com/", "evil.com"),
        ("https://good.com.evil.xyz/", "good.com.evil.xyz"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        (
            "https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444/a",
            "\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
        ),
        ("(discord.gg/abc)", "discord.gg"),
    ],
)
def test_a_link_is_found(text: str, host: str) -> None:
    """With a scheme, a www, or a usual ending; with the dot in any dress."""
    assert hosts(text) == [host]


@pytest.mark.parametrize(
    "text",
    [
        "node.js is fine",
        "e.g. this. is. fine",
        "version 3.14 of it",
        "mail me@example.com ok",
        "the end of it. To be continued",
        "I went. in the house",
        "connect the dot in the picture",
        "that is it .. so",
        "a.b",
        "...",
        "",
    ],
)
def test_a_sentence_is_no_link(text: str) -> None:
    """Nor are numbers, files and addresses of mail."""
    assert hosts(text) == []


@pytest.mark.parametrize(
    ("text", "is_invite"),
    [
        ("discord.gg/abc", True),
        ("https://www.discord.com/invite/x", True),
        ("https://discord.com/channels/1", False),
        ("t.me/+abc", True),
        ("t.me/somebody", False),
        ("discord.gg", False),
        ("https://example.com/invite/x", False),
    ],
)
def test_invites_lead_into_other_communities(text: str, is_invite: bool) -> None:
    """By host and path."""
    (link,) = find_links(text)
    assert link.is_invite == is_invite


def test_what_is_allowed_is_a_host_and_what_belongs_to_it() -> None:
    """Not one that only ends alike."""
    allowed = {"example.com"}
    assert is_allowed("example.com", allowed)
    assert is_allowed("a.b.example.com", allowed)
    assert not is_allowed("badexample.com", allowed)
    assert not is_allowed("example.com.evil.com", allowed)
    assert not is_allowed("com", allowed)


@given(st.text() | st.text(alphabet="htpx :/\\.[](){}dotcomwgi\u3002-"))
def test_no_link_is_passed_over_for_speed(text: str) -> None:
    """A text is looked at closely only where it seems to hold one: then nothing else is found."""
    assert hosts(text) == hosts(f"{text} \n\n\n\n https://end.example")[:-1]


@given(st.text() | st.text(alphabet="ht px*:/\\.[](){}dotcomwgi\u200b@-"))
def test_any_text_may_be_looked_at(text: str) -> None:
    """Nothing is raised; each host is one."""
    for link in find_links(text):
        assert isinstance(link, Link)
        assert link.host
        assert not set(link.host) & set("/@: ")
