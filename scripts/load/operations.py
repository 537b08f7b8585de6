"""PURE: what a simulated user may do, and when it is due: seconds since the run's start."""

from typing import Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["online", "away", "dnd"]
"""Invisible is left out: whether it hides somebody cannot be told from being away by who watches."""


class Send(NamedTuple):
    """Send a message of this size to a room; rooms are numbered from 0."""

    due_s: float
    room: int
    body_bytes: int


class Say(NamedTuple):
    """Send these words to a room."""

    due_s: float
    room: int
    text: str


class SendTooLarge(NamedTuple):
    """Send a body that the server must refuse, and that nobody may see."""

    due_s: float
    room: int


class Type(NamedTuple):
    """Say that one is typing."""

    due_s: float
    room: int


class SetStatus(NamedTuple):
    """Say how available one is."""

    due_s: float
    status: Status


class ReadHistory(NamedTuple):
    """Read a page of a room's history, `back` (0 to 1) of the way from the newest event to the first."""

    due_s: float
    room: int
    back: float
    limit: int


class Drop(NamedTuple):
    """Lose the connection without a word, and dial again `away_s` later."""

    due_s: float
    away_s: float


class Leave(NamedTuple):
    """Close the connection in good order, and come back `away_s` later."""

    due_s: float
    away_s: float


class Stall(NamedTuple):
    """Read nothing for so long."""

    due_s: float
    for_s: float


Operation: TypeAlias = Send | Say | SendTooLarge | Type | SetStatus | ReadHistory | Drop | Leave | Stall
