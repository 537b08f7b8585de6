"""What moderators work with, in Postgres: which call runs in which kind of transaction."""

from collections.abc import Mapping, Sequence

from storage import reviews
from storage.model import RoomId, RulesRow
from storage.postgres_accounts import PostgresAccounts
from storage.review_model import Filed, NewReport, ReportMove, ReportRow


class PostgresReviews(PostgresAccounts):
    """`storage.review_store.ReviewStore` on a database, beside the accounts."""

    async def read_rules(self, room_id: RoomId) -> RulesRow | None:
        """See `ReviewStore.read_rules`."""
        return await self._database.read(reviews.read_rules, room_id, timeout_s=self._read_s)

    async def write_rules(self, room_id: RoomId, row: RulesRow) -> None:
        """See `ReviewStore.write_rules`."""
        await self._database.run(reviews.write_rules, room_id, row, timeout_s=self._write_s)

    async def file_reports(self, reports: Sequence[NewReport]) -> Sequence[Filed]:
        """See `ReviewStore.file_reports`."""
        if not reports:
            return []
        return await self._database.run(reviews.file_reports, reports, timeout_s=self._write_s)

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
        return await self._database.read(
            reviews.list_reports, room_id, waiting, after, limit, not_about, timeout_s=self._read_s
        )

    async def list_own_reports(
        self, reporter: str, *, waiting: bool, after: int, limit: int
    ) -> Sequence[ReportRow]:
        """See `ReviewStore.list_own_reports`."""
        return await self._database.read(
            reviews.list_own_reports, reporter, waiting, after, limit, timeout_s=self._read_s
        )

    async def find_report(self, report: int) -> ReportRow | None:
        """See `ReviewStore.find_report`."""
        return await self._database.read(reviews.find_report, report, timeout_s=self._read_s)

    async def move_report(self, move: ReportMove) -> ReportRow | None:
        """See `ReviewStore.move_report`."""
        return await self._database.read(reviews.move_report, move, timeout_s=self._write_s)

    async def erase_copies(self, *, before_ms: int, limit: int) -> int:
        """See `ReviewStore.erase_copies`."""
        return await self._database.read(reviews.erase_copies, before_ms, limit, timeout_s=self._write_s)

    async def count_waiting(self, room_ids: Sequence[RoomId]) -> Mapping[RoomId, int]:
        """See `ReviewStore.count_waiting`."""
        return await self._database.read(reviews.count_waiting, room_ids, timeout_s=self._read_s)
