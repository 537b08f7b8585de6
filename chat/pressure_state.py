"""PURE: how hard the server is pressed, as one level from 0 to 4, and when that changes (protocol.md 4).

What is measured, and from where each level begins. Rising is at once; falling takes `CALM_S` without the
cause, one level at a time, so that clients are not told back and forth.

| level | event loop late (p99) | oldest row waits for its commit | backlog used | what happens |
|---|---|---|---|---|
| 1 | 50 ms | 0.5 s | 10 % | presence is told less often |
| 2 | 150 ms | 2 s | 25 % | presence still less often |
| 3 | 400 ms | 5 s | 50 % | smaller pages of history, no search |
| 4 | 1 s | 15 s | 85 % | no new connections, joins are refused |

Messages are the last thing refused: only a full mailbox (`busy`) or backlog (`unavailable`) does it.
"""

from typing import Final, NamedTuple

LEVEL_MAX: Final = 4
"""The highest level (docs/protocol.md 4)."""
UNSEARCHED_LEVEL: Final = 3
"""From this level on nothing is searched, and the search index rests."""
CALM_S: Final = 5.0

_LAG_S: Final = (0.05, 0.15, 0.4, 1.0)
_COMMIT_WAIT_S: Final = (0.5, 2.0, 5.0, 15.0)
_BACKLOG: Final = (0.1, 0.25, 0.5, 0.85)


class Measures(NamedTuple):
    """What the level is made from.

    Attributes:
        lag_s: how late the event loop is, p99 of the last seconds.
        commit_wait_s: how long the oldest row has waited to be stored.
        backlog: share of the writers' backlog in use, 0 to 1.
    """

    lag_s: float
    commit_wait_s: float
    backlog: float


class Change(NamedTuple):
    """A new level, and the measure behind it (`loop`, `storage`, `backlog`, or `calm`)."""

    level: int
    reason: str


class PressureState:
    """The level, with its memory."""

    __slots__ = ("_calm_since_s", "level")

    def __init__(self) -> None:
        self.level = 0
        self._calm_since_s: float | None = None

    def update(self, measures: Measures, *, now_s: float) -> Change | None:
        """Take a measurement; the change, if the level moved."""
        found, reason = max(
            (_level(measures.lag_s, _LAG_S), "loop"),
            (_level(measures.commit_wait_s, _COMMIT_WAIT_S), "storage"),
            (_level(measures.backlog, _BACKLOG), "backlog"),
            key=lambda pair: pair[0],
        )
        if found >= self.level:
            self._calm_since_s = None
            if found == self.level:
                return None
            self.level = found
            return Change(found, reason)
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        if now_s - self._calm_since_s < CALM_S:
            return None
        self._calm_since_s = now_s
        self.level -= 1
        return Change(self.level, reason if found else "calm")


def _level(value: float, steps: tuple[float, ...]) -> int:
    return sum(value >= step for step in steps)
