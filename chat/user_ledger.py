"""PURE: what a user's sessions share on this node: how many there are, and the rates of each room."""

from typing import Final

from chat.errors import ErrorCode, Refused
from chat.rate_limit import KeyedBuckets
from chat.session_state import Rate

REMEMBERED_MAX: Final = 100_000
"""Users in rooms whose rate is remembered, also when their sessions have ended: about 30 MB."""


class UserLedger:
    """Every user with a session on this node.

    Args:
        sessions_max: sessions a user may have here.
        sends: the limit on messages of one user in one room; None: no limit.
        typing: the same for typing notices.
    """

    def __init__(self, *, sessions_max: int, sends: Rate | None, typing: Rate | None) -> None:
        self._sessions_max = sessions_max
        self._sends = _buckets(sends)
        self._typing = _buckets(typing)
        self._sessions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open_session(self, user_id: str) -> None:
        """Count a session in; pair it with `close_session`.

        Raises:
            Refused: `forbidden` at the user's limit; nothing was counted.
        """
        sessions = self._sessions.get(user_id, 0)
        if sessions >= self._sessions_max:
            raise Refused(ErrorCode.FORBIDDEN, f"a user has {self._sessions_max} sessions at most")
        self._sessions[user_id] = sessions + 1

    def close_session(self, user_id: str) -> None:
        """Count a session out."""
        sessions = self._sessions[user_id] - 1
        if sessions:
            self._sessions[user_id] = sessions
        else:
            del self._sessions[user_id]

    def take_send(self, user_id: str, room: str, now_s: float) -> float:
        """Count a message to a room; 0.0 when it may go, else seconds to wait."""
        return 0.0 if self._sends is None else self._sends.take((user_id, room), now_s)

    def take_typing(self, user_id: str, room: str, now_s: float) -> float:
        """Count a typing notice in a room; 0.0 when it may go, else seconds to wait."""
        return 0.0 if self._typing is None else self._typing.take((user_id, room), now_s)


def _buckets(rate: Rate | None) -> KeyedBuckets[tuple[str, str]] | None:
    if rate is None:
        return None
    return KeyedBuckets(rate.rate_per_s, rate.burst, max_keys=REMEMBERED_MAX)
