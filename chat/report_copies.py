"""Erases the copies of texts in reports that nobody closes: no deleted text is kept for ever by a report."""

from collections.abc import Callable
from typing import Final, NoReturn

import structlog
import trio

from chat.retention import PAUSE_MIN_S, RESTING_LEVEL
from storage import StorageError
from storage.store import Store

log = structlog.stdlib.get_logger("chat.report_copies")

KEPT_MS: Final = 30 * 86_400_000
"""From the report on."""
PAGE: Final = 500


class ReportCopies:
    """Looks through the reports of this node's database.

    Args:
        store: where they are.
        pressure: how hard the server is pressed, 0 to 4.
        now_ms: the wall clock.
        every_s: from the end of one round to the beginning of the next.
    """

    def __init__(
        self, store: Store, *, pressure: Callable[[], int], now_ms: Callable[[], int], every_s: float
    ) -> None:
        self._store = store
        self._pressure = pressure
        self._now_ms = now_ms
        self._every_s = every_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Erase what is too old again and again, until cancelled; the first time after one interval."""
        task_status.started()
        while True:
            await trio.sleep(self._every_s)
            try:
                await self._erase()
            except StorageError as error:
                log.warning("report_copies.put_off", error=str(error))

    async def _erase(self) -> None:
        erased, page = 0, PAGE
        while page == PAGE and self._pressure() < RESTING_LEVEL:
            began_s = trio.current_time()
            page = await self._store.erase_copies(before_ms=self._now_ms() - KEPT_MS, limit=PAGE)
            erased += page
            await trio.sleep(max(PAUSE_MIN_S, trio.current_time() - began_s))
        if erased:
            log.info("report_copies.erased", reports=erased)
