"""PURE: finding the hosts that a text leads to, also where a link is written so as not to be found.

Found are addresses with a scheme (`https://`, `hxxp://`), names that begin with `www.`, and bare names under
the usual top-level domains; with a dot that is written as "[.]", "(dot)" or " dot ", and with blanks around
it. A name is compared in lower case, in the form in which a browser would show it; nothing is looked up.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple
from unicodedata import normalize

_ENDINGS: Final = (
    "ai app art biz blog br ca cc chat ch click club cn co com de dev eu fm fr fun gg gl id in info io ir is"
    " it jp life link live lol ly me media mobi money name net news nl nu online onion org page pl pro ru se"
    " sh shop site so social space store stream su tech tk to top tv ua uk us vip website wiki win work"
    " world ws xxx xyz"
)
"""Of bare names; with a scheme or `www.` any ending will do."""

_STRONG: Final = (
    "app biz cc club com dev fr gg io net online onion org ru sh site tk ua uk vip website xxx xyz"
)
"""Of names that are written with a blank beside the dot, or with a word for it: no words of a sentence."""

_DOT: Final = re.compile(r"\s{0,3}[\[({<]\s{0,3}(?:\.|dot)\s{0,3}[\])}>]\s{0,3}|[\u3002\uff0e\uff61\u2024]")
_SPACED_DOT: Final = re.compile(
    rf"(?<=\w)(?:\s{{1,3}}\.\s{{0,3}}|\s{{0,3}}\.\s{{1,3}}|\s{{1,3}}dot\s{{1,3}})"
    rf"(?=(?:{'|'.join(_STRONG.split())})(?:[/\s]|$))"
)
_SCHEME: Final = re.compile(r"\bh[tx*]{2}ps?\s{0,3}(?:[:;]|\[:\])\s{0,3}[/\\]{1,2}\s{0,3}")
_MAYBE: Final = re.compile(
    rf"[.\u3002\uff61\u2024](?<=\w.)\w|[.](?:(?<=\s.)\s{{0,3}}|\s{{1,3}})(?:{'|'.join(_STRONG.split())})\b"
    r"|[\[({<]\s{0,3}(?:\.|dot)|\sdot\s|[/\\](?<=[:;\s\]].)"
)
"""What a text with a link in it has, and few sentences have: all that the rest of this file looks for."""
_HIDDEN: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_LINK: Final = re.compile(
    rf"(?:(?P<scheme>[a-z][a-z0-9+.-]{{1,15}}://)(?:[^\s/@]{{0,64}}@)?(?P<any>(?:{_LABEL}\.){{0,8}}{_LABEL})"
    rf"|(?<![\w.@-])(?P<www>www\.(?:{_LABEL}\.){{1,8}}{_LABEL})"
    rf"|(?<![\w.@-])(?P<bare>(?:{_LABEL}\.){{1,8}}(?:{'|'.join(_ENDINGS.split())}))(?![\w-]|\.\w))"
    r"(?::\d{1,5})?(?P<path>/[^\s]{0,256})?"
)

_INVITES: Final = (
    ("discord.gg", ""),
    ("discord.com", "/invite/"),
    ("discordapp.com", "/invite/"),
    ("dsc.gg", ""),
    ("t.me", "/+"),
    ("t.me", "/joinchat/"),
    ("telegram.me", "/joinchat/"),
    ("chat.whatsapp.com", ""),
    ("invite.gg", ""),
    ("matrix.to", "/#/"),
    ("signal.group", ""),
    ("guilded.gg", ""),
    ("join.skype.com", ""),
    ("zoom.us", "/j/"),
)
"""Hosts, and what the path begins with, that take people into another community."""


class Link(NamedTuple):
    """A link in a text: where to, without `www.`, and what follows the host."""

    host: str
    path: str

    @property
    def is_invite(self) -> bool:
        """Whether it takes people into another community."""
        return any(is_under(self.host, host) and self.path.startswith(path or "/") for host, path in _INVITES)


def is_under(host: str, parent: str) -> bool:
    """Whether a host is another one, or within its domain."""
    return host == parent or host.endswith(f".{parent}")


def find_links(text: str) -> Iterator[Link]:
    """The links of a text, in order."""
    flat = text.lower() if text.isascii() else _HIDDEN.sub("", normalize("NFKC", text)).lower()
    if _MAYBE.search(flat) is None:
        return
    flat = _SPACED_DOT.sub(".", _DOT.sub(".", _SCHEME.sub("http://", flat)))
    for found in _LINK.finditer(flat):
        host = found["any"] or found["www"] or found["bare"]
        yield Link(host.removeprefix("www."), found["path"] or "")


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a host, or a domain that it belongs to, is on a list."""
    labels = host.split(".")
    return any(".".join(labels[start:]) in allowed for start in range(len(labels)))
