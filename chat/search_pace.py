"""PURE: how much the index takes at a time: what is done in a moment, and less when something fails.

So one event that cannot be indexed is found in a few steps, whatever it is, and passed over alone; and long
texts, whose words take a hundred times as long as a short message's, do not make steps that never end.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

ROWS_MAX: Final = 1000
ROWS_FIRST: Final = 64
ROWS_TRUSTED: Final = 64
"""When so many are done at once again, what failed is over."""
QUICK_S: Final = 0.04
SLOW_S: Final = 0.15
"""Steps are short, since commits share the database's cores with them: with steps of a quarter of a second
the `ok` of messages took 20 ms longer at 8,000 a second."""


def rest_s(took_s: float, level: int) -> float:
    """How long to leave the database to others after a step, at a level of pressure from 0 to 2.

    At rest the index takes an eighth of a core at most, then a twelfth, then a sixteenth: a message's words
    cost the database more than the message itself.
    """
    return took_s * (7 + 4 * level)


class Pace:
    """Rows and rooms of the next step.

    Attributes:
        rows: events of the next step, at most.
        careful: whether something failed lately: one room at a time.
    """

    __slots__ = ("careful", "rows")

    def __init__(self) -> None:
        self.rows = ROWS_FIRST
        self.careful = False

    @property
    def at_one(self) -> bool:
        """Whether the next step is a single event."""
        return self.careful and self.rows == 1

    def rooms(self, waiting: Sequence[T]) -> Sequence[T]:
        """Those of the waiting rooms that the next step is about."""
        return waiting[:1] if self.careful else waiting

    def failed(self) -> None:
        """The step failed: first one room alone, then half as many events."""
        if self.careful:
            self.rows = max(1, self.rows // 2)
        self.careful = True

    def succeeded(self, took_s: float) -> None:
        """The step was done: twice as many events next time, or half as many when it took long."""
        if took_s < QUICK_S:
            self.rows = min(ROWS_MAX, self.rows * 2)
        elif took_s > SLOW_S:
            self.rows = max(1, self.rows // 2)
        self.careful = self.careful and self.rows < ROWS_TRUSTED
