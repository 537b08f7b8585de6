"""PURE: what the terminal client shows and understands.

Everything that others wrote passes `printable` before it reaches a terminal: an escape sequence in a message
may move the cursor, rewrite what stands there, set the clipboard, or answer as if it had been typed.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from chat.names import is_room_name, suggest_room_name

HELP: Final = """\
/join ROOM     follow another room and talk there (it is created where it is missing)
/leave [ROOM]  be a member no more
/history [N]   the latest N messages, 20 by default
/search WORDS  messages with these words; "a phrase", or, -not
/who           the members of the room
/rooms         the public rooms
/me TEXT       say what you do
//TEXT         say something that begins with /
/quit          leave; also the end of the input"""

ROOM_NAME_RULE: Final = "a-z, 0-9, then . _ - as well; 64 characters at most"

QUOTE_CHARACTERS: Final = 60
"""Of a message that is told of, not shown."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
_JOINERS: Final = frozenset("\u200c\u200d")
"""Format characters that spelling needs; they move nothing."""

_CONTROL_PICTURES: Final = 0x2400
_C0_END: Final = 0x20
_DELETE: Final = 0x7F


def printable(text: str) -> str:
    """The text with every control, format and unassigned character made visible, on one line.

    C0 controls become their Unicode pictures (U+2400 block), any other hidden character its number.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join([_visible(character) for character in text])


def _visible(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if code < _C0_END:
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return "\u2421"
    return f"<U+{code:04X}>"


def room_name_problem(raw: str) -> str | None:
    """Why a room cannot be called so, with a name that would do; None: it can."""
    if is_room_name(raw):
        return None
    better = suggest_room_name(raw)
    problem = f'a room cannot be called "{quote(raw)}" ({ROOM_NAME_RULE})'
    return problem if better is None else f"{problem}; try {better}"


def quote(text: str) -> str:
    """The beginning of a message, to tell which one is meant."""
    shown = printable(text)
    return shown if len(shown) <= QUOTE_CHARACTERS else f"{shown[: QUOTE_CHARACTERS - 1]}…"


def format_event(event: Mapping[str, object], *, tz: tzinfo | None, with_room: bool) -> str | None:
    """One line for a room's event; None for one that shows nothing."""
    at_ms = event.get("at")
    clock = datetime.fromtimestamp(at_ms / 1000, tz).strftime("%H:%M") if isinstance(at_ms, int) else "--:--"
    room = f"{printable(str(event.get('room')))} " if with_room else ""
    head = f"{clock} {room}#{event.get('seq')} "
    kind = event.get("kind")
    if kind == "message":
        name = printable(str(event.get("name", event.get("by"))))
        body = event.get("body")
        if not isinstance(body, str):
            return f"{head}{name} (deleted)"
        if body.startswith("/me "):
            return f"{head}* {name} {printable(body[4:])}"
        return f"{head}{name}: {printable(body)}"
    if kind == "void":
        return None
    if kind == "delete":
        return f"{head}-- #{event.get('of')} was deleted"
    if kind == "edit":
        text = event.get("body")
        return f"{head}-- #{event.get('of')} is now: {printable(text)}" if isinstance(text, str) else None
    if kind in {"member", "role", "sanction", "room"}:
        return f"{head}-- {printable(_governed(event))}"
    by = printable(str(event.get("name", event.get("by"))))
    return f"{head}-- {printable(str(kind))} by {by}"


def _governed(event: Mapping[str, object]) -> str:
    """What an event that governs the room says; its `name` is that of whom it concerns."""
    if event["kind"] == "room":
        changed = [
            f"{name} {event[name]}"
            for name in ("topic", "slow", "locked", "archived", "retention")
            if name in event
        ]
        what = f"room: {', '.join(changed)}"
    elif event["kind"] == "role":
        what = f"{event.get('name')} is {event.get('role')}"
    else:
        what = f"{event.get('name')}: {event.get('action')}"
    reason = event.get("reason")
    return f"{what}{f' ({reason})' if reason else ''}, by {event.get('by')}"


def format_hit(item: Mapping[str, object], *, tz: tzinfo | None) -> str:
    """One line for a message that was found: what was found stands between asterisks."""
    at_ms = item.get("at")
    day = (
        datetime.fromtimestamp(at_ms / 1000, tz).strftime("%Y-%m-%d %H:%M")
        if isinstance(at_ms, int)
        else "--"
    )
    fragment = item.get("fragment")
    pieces = [printable(str(piece)) for piece in fragment] if isinstance(fragment, list | tuple) else []
    text = "".join(f"*{piece}*" if place % 2 else piece for place, piece in enumerate(pieces))
    return f"{day} #{item.get('seq')} {printable(str(item.get('name', item.get('by'))))}: {text}"


def format_unread(rooms: Sequence[Mapping[str, object]]) -> str | None:
    """One line for the rooms of a welcome that have something unread; None where none has."""
    told: list[str] = []
    for room in rooms:
        if room.get("unread"):
            mentions = f" ({room['mentions']} of you)" if room.get("mentions") else ""
            told.append(f"{printable(str(room.get('room')))} {room['unread']}{mentions}")
    return f"unread: {', '.join(told)}" if told else None


class Command(NamedTuple):
    """A line that was typed: `name` without its slash, "say" for words."""

    name: str
    argument: str


def parse_line(line: str) -> Command | None:
    """What a typed line asks for; None for an empty one."""
    text = line.rstrip("\r\n")
    if not text.strip():
        return None
    if not text.startswith("/"):
        return Command("say", text)
    if text.startswith("//"):
        return Command("say", text[1:])
    name, _, argument = text[1:].partition(" ")
    if name == "me" and argument.strip():
        return Command("say", text)
    return Command(name.lower(), argument.strip())


def parse_count(text: str, *, most: int) -> int | None:
    """A number from 1, `most` where it is above that; None where the text is none."""
    digits = text.lstrip("0")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    # By length first: Python converts no more than some thousand digits.
    return most if len(digits) > len(str(most)) else min(int(digits), most)
