"""What moderators work with, in memory: rules, reports, messages that are held (see `storage.memory`)."""

from collections.abc import Mapping, Sequence

import trio

from storage.errors import Conflict
from storage.memory_accounts import MemoryAccounts
from storage.memory_room import check_row
from storage.model import RoomId, RulesRow
from storage.review_model import (
    RULES_KEPT,
    WAITING,
    WAITING_COUNTED_MAX,
    WAITING_OF_KIND_MAX,
    WAITING_OF_TEXT_MAX,
    Filed,
    NewReport,
    ReportMove,
    ReportRow,
)


class MemoryReviews(MemoryAccounts):
    """`storage.review_store.ReviewStore` in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._rules: dict[RoomId, list[RulesRow]] = {}
        self._reports: dict[int, ReportRow] = {}

    async def read_rules(self, room_id: RoomId) -> RulesRow | None:
        """See `ReviewStore.read_rules`."""
        await trio.lowlevel.checkpoint()
        return self._present_rules(room_id)

    def _present_rules(self, room_id: RoomId) -> RulesRow | None:
        versions = self._rules.get(room_id)
        return versions[-1] if versions else None

    async def write_rules(self, room_id: RoomId, row: RulesRow) -> None:
        """See `ReviewStore.write_rules`."""
        await trio.lowlevel.checkpoint()
        versions = self._rules.setdefault(room_id, [])
        if row.version != 1 + (versions[-1].version if versions else 0):
            raise Conflict(f"version {row.version} does not follow the present rules of room {room_id}")
        versions.append(row)
        del versions[:-RULES_KEPT]

    async def file_reports(self, reports: Sequence[NewReport]) -> Sequence[Filed]:
        """See `ReviewStore.file_reports`."""
        await trio.lowlevel.checkpoint()
        for new in reports:
            check_row(new)
        return [self._file(new) for new in reports]

    def _file(self, new: NewReport) -> Filed:
        of_text = of_kind = 0
        for row in self._reports.values():
            if row.room_id != new.room_id:
                continue
            of_kind += row.state in WAITING and row.kind == new.kind
            if row.state in WAITING and new.seq is not None:
                of_text += (row.seq, row.body) == (new.seq, new.body)
            held = new.kind == row.kind == "held" and (row.author, row.cid) == (new.author, new.cid)
            waits = row.state in WAITING and row.seq is not None
            if held or (waits and (row.seq, row.reporter) == (new.seq, new.reporter)):
                return Filed(row.report, row.state, is_new=False)
        if of_text >= WAITING_OF_TEXT_MAX:
            return Filed(None, "known", is_new=False)
        if of_kind >= WAITING_OF_KIND_MAX:
            return Filed(None, "full", is_new=False)
        report = len(self._reports) + 1
        self._reports[report] = ReportRow(
            report,
            new.room_id,
            new.room,
            new.kind,
            "open",
            new.seq,
            new.at_ms,
            new.at_ms,
            new.reporter,
            new.reporter_name,
            new.author,
            new.author_name,
            new.reason,
            new.rule,
            new.cid,
            new.body,
            new.reply_to,
            new.thread,
            holder=None,
            holder_name=None,
            note=None,
            audit=None,
        )
        return Filed(report, "open", is_new=True)

    async def list_reports(
        self,
        *,
        room_id: RoomId | None,
        waiting: bool,
        after: int,
        limit: int,
        not_about: str | None = None,
    ) -> Sequence[ReportRow]:
        """See `ReviewStore.list_reports`."""
        await trio.lowlevel.checkpoint()
        return [
            row
            for row in self._reports.values()
            if room_id in {None, row.room_id}
            and row.report > after
            and row.author != not_about
            and (not waiting or row.state in WAITING)
        ][:limit]

    async def list_own_reports(
        self, reporter: str, *, waiting: bool, after: int, limit: int
    ) -> Sequence[ReportRow]:
        """See `ReviewStore.list_own_reports`."""
        rows = await self.list_reports(room_id=None, waiting=waiting, after=after, limit=len(self._reports))
        return [row for row in rows if row.kind == "person" and row.reporter == reporter][:limit]

    async def find_report(self, report: int) -> ReportRow | None:
        """See `ReviewStore.find_report`."""
        await trio.lowlevel.checkpoint()
        return self._reports.get(report)

    async def move_report(self, move: ReportMove) -> ReportRow | None:
        """See `ReviewStore.move_report`."""
        await trio.lowlevel.checkpoint()
        row = self._reports.get(move.report)
        if row is None or row.state not in WAITING:
            return None
        if row.state == "open" and move.to == "open":
            return None
        if row.state == "claimed" and not move.forced and row.holder != move.by:
            return None
        given_back = move.to == "open"
        moved = self._reports[move.report] = row._replace(
            state=move.to,
            holder=None if given_back else move.by,
            holder_name=None if given_back else move.by_name,
            changed_at_ms=move.at_ms,
            note=row.note if move.note is None else move.note,
            audit=row.audit if move.audit is None else move.audit,
            seq=row.seq if move.seq is None else move.seq,
            body=row.body if move.to in WAITING else None,
        )
        return moved

    async def erase_copies(self, *, before_ms: int, limit: int) -> int:
        """See `ReviewStore.erase_copies`."""
        await trio.lowlevel.checkpoint()
        old = [
            row
            for row in self._reports.values()
            if row.at_ms < before_ms and row.state in WAITING and row.kind != "held" and row.body is not None
        ]
        oldest = sorted(old, key=lambda row: row.at_ms)[:limit]
        self._reports.update((row.report, row._replace(body=None)) for row in oldest)
        return len(oldest)

    async def count_waiting(self, room_ids: Sequence[RoomId]) -> Mapping[RoomId, int]:
        """See `ReviewStore.count_waiting`."""
        await trio.lowlevel.checkpoint()
        waiting = [row.room_id for row in self._reports.values() if row.state in WAITING]
        return {room_id: min(waiting.count(room_id), WAITING_COUNTED_MAX) for room_id in room_ids}
