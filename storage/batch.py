"""The writer's decisions, without a clock, a database or a task. Pure.

How much to take, how long to wait before another attempt, and what to do with a batch that the database
refuses: halve it until the poison stands alone. Parts are tried from left to right and none is left behind
unresolved, so that within a room nothing is written before what was ordered earlier.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from storage.errors import BadData, LogGap
from storage.model import Entry, Fenced, LogEntry, Poisoned, Receipt, RoomId

ROW_BYTES: Final = 256
"""What a row is taken to hold besides its texts: numbers, names, key, Python's own overhead left out."""


def row_bytes(entry: Entry) -> int:
    """About how large a row is, for bounds on memory and on batches; never less than its texts in UTF-8.

    A text that is not ASCII counts four bytes a character, the most that UTF-8 and Python itself take:
    whether it is ASCII is known without looking at it, its length in UTF-8 is not.
    """
    if type(entry) is not LogEntry:
        return ROW_BYTES
    body, data = entry.body, entry.data
    if body is not None and data is None and body.isascii():
        return ROW_BYTES + len(body)  # nearly every message
    return ROW_BYTES + sum(
        len(text) if text.isascii() else 4 * len(text) for text in (body, data) if text is not None
    )


def take(sizes: Sequence[int], *, max_rows: int, max_bytes: int) -> int:
    """How many rows from the front make the next batch: within both bounds, but at least one."""
    if len(sizes) > max_rows:
        sizes = sizes[:max_rows]
    if sum(sizes) <= max_bytes:
        return len(sizes)
    return max(1, bisect_right(list(accumulate(sizes)), max_bytes))


def retry_delay_s(failures: int, *, base_s: float, cap_s: float, jitter: float) -> float:
    """How long to wait after the `failures`-th failure in a row: doubling up to the cap, then 50-100 % of it.

    Args:
        failures: from 1.
        base_s: the first wait at most.
        cap_s: the longest wait.
        jitter: from 0 to 1, random, so that writers do not come back all together.
    """
    doublings = min(failures - 1, 32)  # beyond it only the cap counts, and floats stay small
    return min(cap_s, base_s * 2.0**doublings) * (0.5 + 0.5 * jitter)


class Append(NamedTuple):
    """The next step of an attempt: write these entries."""

    entries: Sequence[Entry]


class Park(NamedTuple):
    """The next step of an attempt: put this entry aside."""

    entry: Entry
    error: str


Step = Append | Park


class Attempt:
    """A batch on its way, until every entry has its receipt.

    Take `step()`, carry it out, then call `accepted` or `refused`. A step whose outcome is unknown is
    simply taken again.

    - Refused as `BadData`: halved; a row alone is parked.
    - Refused as `LogGap`: halved; a row alone gets `Fenced`, and so do the room's later rows in the batch,
      since the activation that ordered them contradicts the log and has to start again.
    - A log entry that cannot even be parked leaves its seq empty, which ends the activation likewise.
    """

    __slots__ = ("_at", "_broken", "_entries", "_parts", "_picked", "_poison", "_receipts")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._receipts: list[Receipt] = []
        self._parts = [len(entries)] if entries else []  # ends of the parts to try, the next one last
        self._at = 0
        self._picked: list[int] | None = None  # which entries of the part are written; None: all
        self._poison: str | None = None
        self._broken: set[RoomId] = set()

    @property
    def receipts(self) -> Sequence[Receipt]:
        """The receipts so far, in the order of the entries; complete when `step` gives None."""
        return self._receipts

    def step(self) -> Step | None:
        """What to do now; None when every entry has its receipt."""
        while self._parts:
            if self._poison is not None:
                return Park(self._entries[self._at], self._poison)
            end = self._parts[-1]
            if not self._broken:
                self._picked = None
                whole = self._at == 0 and end == len(self._entries)
                return Append(self._entries if whole else self._entries[self._at : end])
            self._picked = [i for i in range(self._at, end) if self._entries[i].room_id not in self._broken]
            if self._picked:
                return Append([self._entries[i] for i in self._picked])
            self._pass([])
        return None

    def accepted(self, receipts: Sequence[Receipt]) -> None:
        """The step was carried out with these receipts.

        Raises:
            ValueError: not one receipt for each entry; nothing has changed.
        """
        part = self._parts[-1] - self._at
        if len(receipts) != (part if self._picked is None else len(self._picked)):
            raise ValueError(f"{len(receipts)} receipts for {part} entries")
        self._pass(receipts)

    def refused(self, error: BadData | LogGap) -> None:
        """The database will never do this step."""
        entry, end = self._entries[self._at], self._parts[-1]
        if end - self._at > 1:
            self._parts.append((self._at + end) // 2)
        elif self._poison is None and isinstance(error, BadData):
            self._poison = str(error)
        else:
            if isinstance(entry, LogEntry):
                self._broken.add(entry.room_id)
            self._pass([Poisoned(str(error)) if isinstance(error, BadData) else Fenced()])

    def _pass(self, receipts: Sequence[Receipt]) -> None:
        end = self._parts.pop()
        if self._picked is None or len(receipts) == end - self._at:
            self._receipts += receipts
        else:
            given = dict(zip(self._picked, receipts, strict=True))
            self._receipts += [given.get(i, Fenced()) for i in range(self._at, end)]
        self._at, self._poison, self._picked = end, None, None
