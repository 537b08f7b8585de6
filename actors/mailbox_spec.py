"""The size and policy of a mailbox, and what one look at it shows; as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

RESERVE_FRACTION: Final = 0.25  # enough that a flooded room can still be moderated


class Overflow(Enum):
    """What happens to an ordinary message for which there is no room."""

    REFUSE = "refuse"  # the sender gets MailboxFull; nothing was enqueued
    WAIT = "wait"  # `put` waits for room, `put_nowait` refuses
    DROP_OLDEST = "drop_oldest"  # the oldest ordinary message makes room and is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSpec:
    """The size and policy of a mailbox, as data.

    Attributes:
        capacity: messages that may wait; at least 1.
        overflow: what happens to an ordinary message that finds no room.
        reserve_fraction: share of the capacity that only control messages may use; 0 to below 1.
    """

    capacity: int = 1024
    overflow: Overflow = Overflow.REFUSE
    reserve_fraction: float = RESERVE_FRACTION

    def __post_init__(self) -> None:
        """Refuse a mailbox that could hold nothing.

        Raises:
            ValueError: naming the field.
        """
        if self.capacity < 1:
            raise ValueError("capacity must be at least 1")
        if not 0 <= self.reserve_fraction < 1:
            raise ValueError("reserve_fraction must be at least 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatistics:
    """One look at a mailbox.

    Attributes:
        depth: messages that wait now.
        capacity: how many may wait.
        high_water: the most that ever waited.
        enqueued: messages ever taken in, those dropped later included.
        refused: messages that were turned away because it was full.
        dropped: messages that made room for newer ones.
        oldest_wait_s: seconds since the first message came that asked for a turn and has not got
            it; 0 when none waits.
    """

    depth: int
    capacity: int
    high_water: int
    enqueued: int
    refused: int
    dropped: int
    oldest_wait_s: float
