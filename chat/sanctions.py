"""PURE: who may not come, or not speak, until when and why: bans and mutes of a room or of the server."""

from collections.abc import Iterable
from typing import Final

from chat.errors import ErrorCode, Refused
from storage.model import SanctionKind, SanctionRow

_CODES: Final = {"ban": ErrorCode.BANNED, "mute": ErrorCode.MUTED}
_SAID: Final = {"ban": "you are banned from", "mute": "you are muted in"}


class Sanctions:
    """What is imposed on whom; one of a kind a user, the last.

    Args:
        rows: as they are stored, ended ones included.
        where: what people are told they are banned from.
    """

    __slots__ = ("_rows", "_where")

    def __init__(self, rows: Iterable[SanctionRow], where: str) -> None:
        self._rows: dict[tuple[str, SanctionKind], SanctionRow] = {
            (row.user_id, row.kind): row for row in rows
        }
        self._where = where

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, user_id: str, kind: SanctionKind, now_ms: int) -> SanctionRow | None:
        """What a user is under now; what has ended is forgotten."""
        if not self._rows:
            return None
        row = self._rows.get((user_id, kind))
        if row is not None and row.until_ms is not None and row.until_ms <= now_ms:
            del self._rows[user_id, kind]
            return None
        return row

    def require_free(self, user_id: str, kind: SanctionKind, now_ms: int) -> None:
        """Let through who is under no such sanction.

        Raises:
            Refused: `banned` or `muted`, with the reason, and when it ends if it does by itself.
        """
        row = self.of(user_id, kind, now_ms)
        if row is not None:
            retry_after_s = None if row.until_ms is None else (row.until_ms - now_ms) / 1000
            raise Refused(_CODES[kind], self.said(row), retry_after_s=retry_after_s)

    def said(self, row: SanctionRow) -> str:
        """What the user is told."""
        said = f"{_SAID[row.kind]} {self._where}"
        return said if row.reason is None else f"{said}: {row.reason}"

    def impose(self, row: SanctionRow) -> None:
        """Put somebody under a sanction, in place of one of the same kind."""
        self._rows[row.user_id, row.kind] = row

    def lift(self, user_id: str, kind: SanctionKind) -> None:
        """End a sanction; no effect where there is none."""
        self._rows.pop((user_id, kind), None)
