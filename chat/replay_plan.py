"""PURE: a recorded channel as a plan: who says what, when, under which name, in which room.

A transcript is JSON lines, one object a line, in order: `at` ("HH:MM"), `nick`, `kind` (`message`, `action`,
`join`, `part`, `nick`), `text` (for `nick`: the new nickname). What the protocol cannot say is mapped:

- an action is a message whose body begins with "/me ";
- a nickname that is no display name (docs/protocol.md 2) loses what is not allowed and may get "~2", "~3"...,
  so that two nicknames of one file never share a name;
- a guest's name does not change, so a change of nickname is one connection that ends and another that begins;
- a message without text cannot be sent: it is left out, and counted.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from chat.errors import ChatError, Refused
from chat.names import NAME_MAX_CHARACTERS, ROOM_NAME_MAX_CHARACTERS, display_name, suggest_room_name

HOURS: Final = 24
MINUTES: Final = 60
MINUTES_PER_DAY: Final = HOURS * MINUTES
PREFIX: Final = "irc-"


class TranscriptError(ChatError):
    """A file is no transcript; the words name the file and the line."""


class _Record(msgspec.Struct, frozen=True):
    at: str
    nick: str
    kind: Literal["message", "action", "join", "part", "nick"]
    text: str = ""


class Line(NamedTuple):
    """One line of a transcript.

    Attributes:
        number: of the line in its file, from 1.
        due_s: seconds after the first line, by the channel's clock.
    """

    number: int
    due_s: float
    nick: str
    kind: Literal["message", "action", "join", "part", "nick"]
    text: str

    @property
    def body(self) -> str | None:
        """What is sent for this line; None for nothing."""
        if self.kind == "action":
            return f"/me {self.text}"
        return self.text if self.kind == "message" and self.text else None


class Transcript(NamedTuple):
    """One file.

    Attributes:
        names: every nickname's display name; no two are equal.
        peak: how many nicknames are present at once.
        left_out: messages without text.
    """

    source: str
    lines: Sequence[Line]
    names: dict[str, str]
    peak: int
    left_out: int

    @property
    def messages(self) -> int:
        """How many messages it has to send."""
        return sum(line.body is not None for line in self.lines)


def read_transcript(source: str, raw_lines: Iterable[bytes]) -> Transcript:
    """Read one file.

    Raises:
        TranscriptError: a line is not as described.
    """
    decode = msgspec.json.Decoder(_Record).decode
    records: list[tuple[int, _Record]] = []
    minutes: list[int] = []
    for number, raw in enumerate(raw_lines, 1):
        if not raw.strip():
            continue
        try:
            record = decode(raw)
            minutes.append(_minute(record.at, minutes[-1] if minutes else None))
        except ValueError as exc:  # msgspec's errors are ValueErrors too
            raise TranscriptError(f"{source}:{number}: {exc}") from None
        if not record.nick or (record.kind == "nick" and not record.text):
            raise TranscriptError(f"{source}:{number}: a nickname is missing")
        records.append((number, record))
    lines = [
        Line(number, due_s, record.nick, record.kind, record.text)
        for (number, record), due_s in zip(records, _spread(minutes), strict=True)
    ]
    left_out = sum(line.kind == "message" and not line.text for line in lines)
    return Transcript(source, lines, display_names(_nicknames(lines)), _peak(lines), left_out)


def _minute(at: str, before: int | None) -> int:
    """Minutes since the first midnight; the clock may pass midnight, never go back."""
    hours, colon, minutes = at.partition(":")
    digits = colon and hours.isdecimal() and minutes.isdecimal()
    if not digits or int(hours) >= HOURS or int(minutes) >= MINUTES:
        raise ValueError(f"`at` is {at!r}, not HH:MM")
    minute = int(hours) * 60 + int(minutes)
    if before is None:
        return minute
    minute += before - before % MINUTES_PER_DAY
    return minute if minute >= before else minute + MINUTES_PER_DAY


def _spread(minutes: Sequence[int]) -> list[float]:
    """Seconds after the first line; lines of one minute are spread evenly over it."""
    offsets: list[float] = []
    start = 0
    while start < len(minutes):
        end = start
        while end < len(minutes) and minutes[end] == minutes[start]:
            end += 1
        base_s = (minutes[start] - minutes[0]) * 60.0
        offsets += [base_s + 60.0 * index / (end - start) for index in range(end - start)]
        start = end
    return offsets


def _nicknames(lines: Iterable[Line]) -> list[str]:
    seen: dict[str, None] = {}
    for line in lines:
        seen.setdefault(line.nick)
        if line.kind == "nick":
            seen.setdefault(line.text)
    return list(seen)


def _peak(lines: Iterable[Line]) -> int:
    present: set[str] = set()
    peak = 0
    for line in lines:
        if line.kind in {"part", "nick"}:
            present.discard(line.nick)
        else:
            present.add(line.nick)
        if line.kind == "nick":
            present.add(line.text)
        peak = max(peak, len(present))
    return peak


def display_names(nicknames: Iterable[str]) -> dict[str, str]:
    """A display name for every nickname: itself where the server takes it, and no two equal."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    unusual: list[str] = []
    for nickname in nicknames:
        if _is_display_name(nickname):
            names[nickname] = nickname
            taken.add(nickname)
        else:
            unusual.append(nickname)
    for nickname in unusual:
        kept = "".join(c for c in nickname if c == " " or _is_display_name(c)).strip() or "nobody"
        name = kept[:NAME_MAX_CHARACTERS].rstrip()
        count = 1
        while name in taken or not _is_display_name(name):
            count += 1
            ending = f"~{count}"
            name = kept[: NAME_MAX_CHARACTERS - len(ending)].rstrip() + ending
        names[nickname] = name
        taken.add(name)
    return names


def _is_display_name(name: str) -> bool:
    try:
        return display_name(name) == name
    except Refused:
        return False


def room_name(stem: str, suffix: str = "") -> str:
    """The room that a file is played in: its name made valid, and the suffix for a replay of its own."""
    ending = f"-{suffix}" if suffix else ""
    name = suggest_room_name(f"{PREFIX}{stem}") or PREFIX
    return f"{name[: ROOM_NAME_MAX_CHARACTERS - len(ending)].rstrip('._-')}{ending}"
