"""PURE: how much the index takes at a time: much, until something fails; then less, down to one event.

So one event that cannot be indexed is found in a few steps, whatever it is, and passed over alone.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

ROWS_MAX: Final = 1000


class Pace:
    """Rows and rooms of the next step.

    Attributes:
        rows: events of the next step, at most.
        careful: whether something failed lately: one room at a time.
    """

    __slots__ = ("careful", "rows")

    def __init__(self) -> None:
        self.rows = ROWS_MAX
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

    def succeeded(self) -> None:
        """The step was done: twice as many events, until all is as it was."""
        if self.careful:
            self.rows = min(ROWS_MAX, self.rows * 2)
            self.careful = self.rows < ROWS_MAX
