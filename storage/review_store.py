"""The part of the contract of storage that is about moderation: rules, reports, messages that are held.

`storage.store.Store` is made of it; see there what every method may raise.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.model import RoomId, RulesRow
from storage.review_model import Filed, NewReport, ReportMove, ReportRow


class ReviewStore(Protocol):
    """What moderators work with."""

    async def read_rules(self, room_id: RoomId) -> RulesRow | None:
        """The present rules of a room, or of every room (`EVERYWHERE`); None: it never had any."""
        ...

    async def write_rules(self, room_id: RoomId, row: RulesRow) -> None:
        """Keep the next version of a room's rules, and the last `RULES_KEPT` before it.

        Raises:
            Conflict: the present version is not the one before it; nothing was written.
        """
        ...

    async def file_reports(self, reports: Sequence[NewReport]) -> Sequence[Filed]:
        """File reports in one transaction, and say of each where it is, in order.

        Of a user and message one waits at a time; a held message (by room, author and `cid`) is filed once
        for all. Whatever is there already stays as it is: the call may be repeated. Of one text of a message
        `WAITING_OF_TEXT_MAX` wait at most, of a kind in a room `WAITING_OF_KIND_MAX`; the rest is not filed.
        Where several file at once it may be a few more.
        """
        ...

    async def list_reports(
        self,
        *,
        room_id: RoomId | None,
        waiting: bool,
        after: int,
        limit: int,
        not_about: str | None = None,
    ) -> Sequence[ReportRow]:
        """Reports by number, those after `after`: of one room, or of all; those that wait, or all.

        Args:
            room_id: None: of all rooms.
            waiting: leave out those that are closed.
            after: the last number of the page before.
            limit: of the page.
            not_about: leave out those about this user's messages.
        """
        ...

    async def list_own_reports(
        self, reporter: str, *, waiting: bool, after: int, limit: int
    ) -> Sequence[ReportRow]:
        """What a person has reported, in all rooms, by number, after `after`; what waits, or all."""
        ...

    async def find_report(self, report: int) -> ReportRow | None:
        """One report."""
        ...

    async def move_report(self, move: ReportMove) -> ReportRow | None:
        """Give a report its next state, if it may have it; as it is then, or None.

        An open one is claimed, or closed; one that is claimed is given back or closed by whoever has claimed
        it, and may be claimed by the same again. `forced` passes over whoever has claimed it. Of a closed one
        nothing changes any more. The copy of the message's text is erased when it is closed, or by
        `erase_copies`.
        """
        ...

    async def erase_copies(self, *, before_ms: int, limit: int) -> int:
        """Erase the copies of texts in reports that wait and were filed before a time; how many there were.

        A held message keeps its text: it is no copy.

        Args:
            before_ms: milliseconds since 1970 UTC.
            limit: at most so many, the oldest; there may be more.
        """
        ...

    async def count_waiting(self, room_ids: Sequence[RoomId]) -> Mapping[RoomId, int]:
        """How many reports wait in each room, up to `WAITING_COUNTED_MAX`, in one query."""
        ...
