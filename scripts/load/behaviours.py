"""PURE: what simulated users do: each behaviour is its settings, and the plan that follows from them.

A plan is a stream of operations with their intended times. It depends on the seat, the settings and the
random numbers alone: never on what the server does (open loop), nor on which process plays the user.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from chat.protocol import BODY_MAX_BYTES
from scripts.load.operations import (
    Drop,
    Leave,
    Operation,
    ReadHistory,
    Say,
    Send,
    SendTooLarge,
    SetStatus,
    Stall,
    Status,
    Type,
)

if TYPE_CHECKING:
    from random import Random

    from chat.replay_plan import Transcript

PerSecond: TypeAlias = Annotated[float, Meta(ge=0, le=1000)]
"""How many a second, each user."""
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
Arrivals: TypeAlias = Literal["poisson", "uniform"]

BODY_MIN_BYTES: Final = 20
"""A body begins with its due time."""
_STATUSES: Final[Sequence[Status]] = ("online", "away", "dnd")


class Seat(Struct, frozen=True, kw_only=True):
    """One simulated user's place.

    Attributes:
        user: its number, from 0.
        group: the number of its group.
        join_s: when it is to come, seconds since the run's start.
        rooms: numbers of its rooms.
        place: its number among those of its group in its first room.
        places: how many those are.
        watches: whether it watches who is in its first room.
        json: its encoding.
    """

    user: int
    group: int
    join_s: float
    rooms: Sequence[int]
    place: int
    places: int
    watches: bool
    json: bool


class Span(Struct, frozen=True, kw_only=True):
    """When things happen: seconds since the run's start.

    Attributes:
        steady_s: the beginning of what is measured.
        end_s: its end; nothing is due from then on.
        transcripts: recorded channels, by the names that settings use.
    """

    steady_s: float
    end_s: float
    transcripts: "Mapping[str, Transcript]" = {}


def arrivals(
    rng: "Random", per_s: float, from_s: float, until_s: float, how: Arrivals = "poisson"
) -> Iterator[float]:
    """Times at a mean rate: independent of each other, or half to one and a half means apart."""
    if per_s <= 0:
        return
    due_s = from_s + (rng.expovariate(per_s) if how == "poisson" else rng.random() / per_s)
    while due_s < until_s:
        yield due_s
        due_s += rng.expovariate(per_s) if how == "poisson" else (0.5 + rng.random()) / per_s


class Behaviour(Struct, frozen=True, kw_only=True):
    """What a group of users does.

    Attributes:
        share: the group's part of all users, by proportion to the other groups' shares.
        arrivals: how operations are spread: `poisson`, or `uniform` think times.
    """

    share: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    arrivals: Arrivals = "poisson"

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """The user's operations, in the order of their times."""
        raise NotImplementedError

    def problems(self) -> Sequence[str]:
        """What is wrong with the settings together, each naming a setting first."""
        return ()

    @property
    def sends_per_s(self) -> float:
        """Messages a second of each user, on average."""
        return 0.0


class Chat(Behaviour, frozen=True, kw_only=True):
    """People who talk and listen.

    Attributes:
        rate: messages a second, each user.
        body_bytes: the size of a message.
        typing: the part of messages that is announced by a typing notice.
        refused: the part of messages that is too large and must be refused.
    """

    rate: PerSecond = 0.05
    body_bytes: Annotated[int, Meta(ge=BODY_MIN_BYTES, le=BODY_MAX_BYTES)] = 80
    typing: Share = 0.0
    refused: Share = 0.0

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Messages to one's rooms, at random."""
        for due_s in arrivals(rng, self.rate, seat.join_s, span.end_s, self.arrivals):
            room = seat.rooms[int(rng.random() * len(seat.rooms))]
            if self.refused and rng.random() < self.refused:
                yield SendTooLarge(due_s, room)
                continue
            if self.typing and rng.random() < self.typing:
                yield Type(due_s, room)
            yield Send(due_s, room, self.body_bytes)

    @property
    def sends_per_s(self) -> float:
        """See `Behaviour`."""
        return self.rate * (1 - self.refused)


class Storm(Chat, frozen=True, kw_only=True):
    """People who talk, until all of them lose their connections at once; and again.

    Attributes:
        first_s: from the beginning of what is measured to the first loss.
        every_s: from one loss to the next.
        within_s: how long it takes until all have lost theirs.
        back_s: they dial again at random within so long (docs/protocol.md 6: full jitter over 0-5 s).
    """

    first_s: Seconds = 5.0
    every_s: Seconds = 20.0
    within_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    back_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Messages and losses."""
        return merge(super().plan(seat, span, rng), self._drops(span, rng), key=attrgetter("due_s"))

    def problems(self) -> Sequence[str]:
        """See `Behaviour`."""
        return ["within_s: must not be above every_s"] if self.within_s > self.every_s else ()

    def _drops(self, span: Span, rng: "Random") -> Iterator[Operation]:
        due_s = span.steady_s + self.first_s
        while due_s < span.end_s:
            at_s = due_s + rng.random() * self.within_s
            if at_s < span.end_s:
                yield Drop(at_s, rng.random() * self.back_s)
            due_s += self.every_s


class Churn(Behaviour, frozen=True, kw_only=True):
    """People who come and go, and change how available they are.

    Attributes:
        stay_s: how long they stay, on average.
        away_s: how long they are gone, on average.
        lost: the part of goings that is a lost connection.
        rate: changes of availability a second, each user who is there.
    """

    stay_s: Seconds = 20.0
    away_s: Seconds = 5.0
    lost: Share = 0.3
    rate: PerSecond = 0.05

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Stays and absences, taking turns."""
        here_s = seat.join_s
        while here_s < span.end_s:
            gone_s = here_s + 1.0 + rng.expovariate(1 / self.stay_s)
            for due_s in arrivals(rng, self.rate, here_s, min(gone_s, span.end_s), self.arrivals):
                yield SetStatus(due_s, _STATUSES[int(rng.random() * len(_STATUSES))])
            if gone_s >= span.end_s:
                return
            away_s = 0.1 + rng.expovariate(1 / self.away_s)
            yield Drop(gone_s, away_s) if rng.random() < self.lost else Leave(gone_s, away_s)
            here_s = gone_s + away_s


class Typists(Behaviour, frozen=True, kw_only=True):
    """People who type, and never send.

    Attributes:
        rate: typing notices a second, each user.
    """

    rate: PerSecond = 0.3

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Typing notices to one's rooms, at random."""
        for due_s in arrivals(rng, self.rate, seat.join_s, span.end_s, self.arrivals):
            yield Type(due_s, seat.rooms[int(rng.random() * len(seat.rooms))])


class Readers(Behaviour, frozen=True, kw_only=True):
    """People who read what was said before.

    Attributes:
        rate: pages a second, each user.
        limit: events on a page.
    """

    rate: PerSecond = 0.2
    limit: Annotated[int, Meta(ge=1, le=100)] = 50

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Pages from anywhere in the history."""
        for due_s in arrivals(rng, self.rate, seat.join_s, span.end_s, self.arrivals):
            room = seat.rooms[int(rng.random() * len(seat.rooms))]
            yield ReadHistory(due_s, room, rng.random(), self.limit)


class Slow(Behaviour, frozen=True, kw_only=True):
    """People on bad lines: they read nothing for a while, now and then.

    Attributes:
        every_s: from one such time to the next, on average.
        for_s: how long it takes.
    """

    every_s: Seconds = 20.0
    for_s: Seconds = 10.0

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """Times without reading."""
        due_s = seat.join_s + rng.random() * self.every_s
        while due_s < span.end_s:
            yield Stall(due_s, self.for_s)
            due_s += self.for_s + rng.expovariate(1 / self.every_s)


class Replay(Behaviour, frozen=True, kw_only=True):
    """Recorded channels (one JSON object a line: see `parley replay`), again and again.

    Each room plays one file; its users take the nicknames' parts. Comings and goings are left out.

    Attributes:
        files: the recordings.
        speed: times as fast as it was.
    """

    files: Annotated[list[str], Meta(max_length=1000)] = msgspec.field(default_factory=list[str])
    speed: Annotated[float, Meta(gt=0, le=1_000_000)] = 60.0

    def problems(self) -> Sequence[str]:
        """See `Behaviour`."""
        return () if self.files else ["files: name one recording at least (--set replay.files=a.jsonl)"]

    def plan(self, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
        """The lines of this user's nicknames, from the beginning of what is measured."""
        del rng
        room = seat.rooms[0]
        script = span.transcripts[self.files[room % len(self.files)]]
        parts = {nick: part for part, nick in enumerate(script.names)}
        mine = [
            (line.due_s / self.speed, line.body)
            for line in script.lines
            if line.body is not None and parts[line.nick] % seat.places == seat.place
        ]
        length_s = (script.lines[-1].due_s + 60.0) / self.speed if script.lines else 0.0
        from_s = span.steady_s
        while mine and from_s < span.end_s:
            for offset_s, text in mine:
                if from_s + offset_s >= span.end_s:
                    return
                yield Say(from_s + offset_s, room, text)
            from_s += length_s


BEHAVIOURS: Final[Mapping[str, type[Behaviour]]] = {
    "chat": Chat,
    "storm": Storm,
    "churn": Churn,
    "typing": Typists,
    "history": Readers,
    "slow": Slow,
    "replay": Replay,
}
"""By the names that scenario files use."""
