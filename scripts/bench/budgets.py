"""PURE: which workloads there are, and what each must reach (the budget table)."""

from dataclasses import dataclass, replace
from typing import Final

ENCODINGS: Final = ("msgpack", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One run against a fresh server, in one encoding.

    Attributes:
        name: what it is called on the command line.
        title: what it is, in words.
        rooms: how many.
        per_room: connections in each, every one in one room.
        rate: sends a second over all rooms.
        window: connections that are in the making at the same time.
        settle_s: from the last join to the first send; memory is read at its end.
        scale: of the measured time: 1.0 is `--seconds`.
    """

    name: str
    title: str
    rooms: int
    per_room: int
    rate: float
    window: int = 64
    settle_s: float = 0.5
    scale: float = 1.0

    @property
    def connections(self) -> int:
        """All of them."""
        return self.rooms * self.per_room


FANOUT: Final = Workload(
    name="fanout",
    title="fan-out: 500 subscribers of one room, 40 sends/s",
    rooms=1,
    per_room=500,
    rate=40,
)
FANOUT_FULL: Final = Workload(
    name="fanout-full",
    title="fan-out: 500 subscribers of one room, 1,000 sends/s",
    rooms=1,
    per_room=500,
    rate=1000,
)
PAIRS: Final = Workload(
    name="pairs", title="250 rooms of two, durable sends", rooms=250, per_room=2, rate=8000, scale=1.5
)
CROWD: Final = Workload(
    name="crowd",
    title="10,000 connections: 100 rooms of 100, 2 sends/s each",
    rooms=100,
    per_room=100,
    rate=200,
    window=128,
    settle_s=2.0,
)
WORKLOADS: Final = (FANOUT, FANOUT_FULL, PAIRS, CROWD)
PRESENCE: Final = Workload(
    name="presence",
    title="presence: 10,000 users of one room, 200 of them watch it, 50 change a second",
    rooms=1,
    per_room=10_000,
    rate=50,
    window=128,
    settle_s=8.0,
)
PRESENCE_WATCHERS: Final = 200
TYPING: Final = Workload(
    name="typing",
    title="typing: 1,000 users of one room; above 100 nobody is told, so each sends a notice in 120 s",
    rooms=1,
    per_room=1_000,
    rate=1_000 / 120,
    settle_s=2.0,
    scale=2.0,
)
TYPING_DEAF: Final = Workload(
    name="typing",
    title="typing: 1,000 users of one room, whose clients send a notice in 3 s whatever they are told",
    rooms=1,
    per_room=1_000,
    rate=1_000 / 3,
    settle_s=2.0,
    scale=2.0,
)
TYPING_TOLD: Final = Workload(
    name="typing",
    title="typing: 100 users of one room, each a notice in 3 s, who are told",
    rooms=1,
    per_room=100,
    rate=100 / 3,
    settle_s=2.0,
    scale=2.0,
)
EDIT: Final = Workload(
    name="edit",
    title="250 rooms of two: 2,000 messages a second, then 2,000 edits",
    rooms=250,
    per_room=2,
    rate=2_000,
    # One after the other, so that everybody knows the seq of the message that is edited.
    window=1,
)
WELCOME: Final = Workload(
    name="welcome",
    title="welcome: users with 200 rooms each come in, one at a time",
    rooms=1,
    per_room=300,
    rate=0,
    window=1,
    settle_s=0.0,
)
WELCOME_ROOMS: Final = 200
WELCOME_USERS: Final = 30
"""A user has ten sessions at most."""
FLOOD: Final = Workload(
    name="flood",
    title="moderation: a room of 50 that gets 5,000 messages a second, in which somebody is muted",
    rooms=1,
    per_room=50,
    rate=5_000,
)
PURGED: Final = Workload(
    name="purge",
    title="a purge of a large room beside 100 rooms of 10, 1,000 sends/s",
    rooms=100,
    per_room=10,
    rate=1_000,
)
PURGED_ROWS: Final = 1_000_000
HISTORY: Final = "history"
SEARCH: Final = "search"
START: Final = "start"
ASKING: Final = (PRESENCE.name, TYPING.name, EDIT.name, WELCOME.name)
"""Workloads of requests that are no messages, or not only."""
MODERATING: Final = (FLOOD.name, PURGED.name)
NAMES: Final = (*(workload.name for workload in WORKLOADS), *ASKING, *MODERATING, HISTORY, SEARCH, START)
HISTORY_ROWS: Final = 1_000_000
"""Messages in the room whose history is read, and in all rooms that are searched."""
LADDER: Final = (0.75, 0.5, 0.35, 0.25)
"""Parts of a rate that are tried, each shorter, after a rate that was not sustained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a figure must reach."""

    limit: float
    at_least: bool = False


CPU_A_DELIVERY_US: Final = Budget(limit=8)
DELIVERIES_PER_S: Final = Budget(limit=400_000, at_least=True)
FANOUT_P99_MS: Final = Budget(limit=60)
SENDS_PER_S: Final = Budget(limit=8_000, at_least=True)
CPU_A_SEND_US: Final = Budget(limit=90)
OK_P99_MS: Final = Budget(limit=50)
CONNECTION_KB: Final = Budget(limit=28)
JOINS_PER_S: Final = Budget(limit=1_200, at_least=True)
GC_PAUSE_MS: Final = Budget(limit=20)
CROWD_P99_MS: Final = Budget(limit=50)
HISTORY_P99_MS: Final = Budget(limit=5)
FIRST_START_S: Final = Budget(limit=1)
WARM_START_S: Final = Budget(limit=0.3)
SEARCH_P99_MS: Final = Budget(limit=30)
PRESENCE_CORE: Final = Budget(limit=20)
DIFFS_A_WATCHER: Final = Budget(limit=1)
TYPING_CORE: Final = Budget(limit=1)
EDIT_TO_SEND: Final = Budget(limit=1)
WELCOME_P99_MS: Final = Budget(limit=20)
MUTE_MS: Final = Budget(limit=100)
PURGE_GROWTH: Final = Budget(limit=2)
WELCOME_QUERIES: Final = Budget(limit=2)


def at_rate(workload: Workload, rate: float) -> Workload:
    """The same at another rate."""
    return replace(workload, rate=rate)


def with_at_most(workload: Workload, connections: int) -> Workload:
    """The same with fewer rooms, each as busy as before, when it needs more connections than there can be."""
    if workload.connections <= connections:
        return workload
    rooms = max(1, connections // workload.per_room)
    return replace(workload, rooms=rooms, rate=workload.rate * rooms / workload.rooms)
