"""PURE: how many users a server holds: which number to try next, and whether one was too many."""

from typing import Final, NamedTuple

import msgspec

from scripts.load.record import RunRecord
from scripts.load.series import steady

GROWTH: Final = 1.5
PRECISION: Final = 0.05


class Goals(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold.

    Attributes:
        delivery_p99_ms: at most.
        errors: their share of operations, at most.
    """

    delivery_p99_ms: float = 250.0
    errors: float = 0.001


class Limit(NamedTuple):
    """Why a number of users was too many.

    Attributes:
        tester: it is the tester's limit, not the server's: the server may hold more.
    """

    words: str
    tester: bool = False


def limit_of(record: RunRecord, goals: Goals) -> Limit | None:
    """The goal that a run broke; None: none."""
    totals = record.totals
    if record.ended == "failed":
        return Limit(record.failure)
    if totals.violation_count:
        return Limit(f"{totals.violation_count:,} broken promises, the first: {record.violations[0].what}")
    if record.invalid:
        return Limit(record.invalid[0], tester=True)
    measured = steady(record.ticks)
    missing = measured[0].target_users - totals.connects if measured else 0
    if missing > 0:
        return Limit(f"{missing:,} of {totals.users:,} users could not be let in")
    delivery = totals.latency.get("delivery")
    if delivery is not None and delivery.p99 > goals.delivery_p99_ms:
        return Limit(f"delivery p99 {delivery.p99:.0f} ms, above {goals.delivery_p99_ms:g}")
    read = totals.latency.get("history")
    operations = totals.sends + totals.connects + totals.resumes + (read.count if read else 0)
    errors = sum(totals.errors.values())
    if operations and errors / operations > goals.errors:
        worst = max(totals.errors, key=lambda code: totals.errors[code])
        return Limit(f"errors {errors / operations:.2%}, above {goals.errors:.1%} (most: {worst})")
    return None


class CapacitySearch:
    """Grows by a half until a number is too many, then halves what is in between.

    Args:
        first: the number to begin with.
        most: that may be tried.

    Attributes:
        good: the largest number that held; 0: none did.
        limit: why the smallest number that did not was too many; None: all held.
    """

    def __init__(self, first: int, most: int) -> None:
        self.good = 0
        self.limit: Limit | None = None
        self._bad = most + 1
        self._most = most
        self._next: int | None = min(first, most)

    @property
    def users(self) -> int | None:
        """The number to try now; None: the search is over."""
        return self._next

    @property
    def bad(self) -> int | None:
        """The smallest number that was too many; None: none was."""
        return None if self.limit is None else self._bad

    def tried(self, users: int, limit: Limit | None) -> None:
        """Take what came of a number."""
        if limit is None:
            self.good = max(self.good, users)
        elif users < self._bad:
            self._bad, self.limit = users, limit
        self._next = self._choose()

    def _choose(self) -> int | None:
        if self.limit is None:
            grown = min(max(int(self.good * GROWTH), self.good + 1), self._most)
            return grown if grown > self.good else None
        if self._bad - self.good <= max(1, self.good * PRECISION):
            return None
        return max((self.good + self._bad) // 2, 2) if self._bad > 2 else None  # noqa: PLR2004  the fewest users

    def words(self) -> str:
        """The result."""
        if self.limit is None:
            return f"capacity: at least {self.good:,} users: all that were tried, and no goal broke"
        whose = " This is the tester's limit: the server may hold more." if self.limit.tester else ""
        if not self.good:
            return f"capacity: below {self._bad:,} users: {self.limit.words}.{whose}"
        return f"capacity: {self.good:,} users; at {self._bad:,}: {self.limit.words}.{whose}"
