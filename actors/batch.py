"""The messages of one turn, with a position that costs nothing to keep."""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint
from typing import Final, Generic, Never, TypeVar

M = TypeVar("M")

_NOTHING: Final[Iterator[Never]] = iter(())  # exhausted, so one serves all


class Batch(Generic[M]):
    """Everything that waited when the turn began; iterate over it once, in order.

    The position is that of a built-in list iterator, so tracking it is free. It decides whom a
    crash is blamed on: the message taken last. Those before it count as done, those not yet taken
    are kept for the next instance. So take a message only when you are about to work on it; what
    ``list(batch)`` takes ahead is lost in a crash, and a message taken without working on it is lost
    in any case.
    """

    __slots__ = ("_messages", "_position")

    def __init__(self) -> None:
        self._messages: list[M] = []
        self._position: Iterator[M] = iter(self._messages)

    def __iter__(self) -> Iterator[M]:
        """Go on where the last loop over it stopped."""
        return self._position

    def __len__(self) -> int:
        """Count all messages of the batch, taken or not."""
        return len(self._messages)

    @property
    def remaining(self) -> int:
        """Count the messages that were not yet taken."""
        return length_hint(self._position)

    def load(self, messages: list[M]) -> Iterator[M]:
        """Begin anew with these messages, and return what iterating over the batch does.

        For the runtime. Once all were taken, emptying the list is as good as a `clear`.
        """
        self._messages = messages
        self._position = position = iter(messages)
        return position

    def clear(self) -> None:
        """Let go of the messages when all were taken; for the runtime, after a turn."""
        self._messages = []
        self._position = _NOTHING

    def split(self) -> tuple[list[M], list[M]]:
        """Return the last message taken (none or one) and those not taken, and become empty.

        For the runtime, after a crash or an early return.
        """
        messages = self._messages
        rest = list(self._position)
        taken = len(messages) - len(rest)
        last = messages[taken - 1 : taken] if taken else []
        self.clear()
        return last, rest
