"""PURE: what a user's sessions share on this node: how many there are, and the send limit of each room."""

from chat.errors import ErrorCode, Refused
from chat.session_state import Bucket, Rate


class UserEntry:
    """One user with at least one session here.

    Attributes:
        sessions: how many sessions are open.
    """

    __slots__ = ("_buckets", "_rate", "sessions")

    def __init__(self, rate: Rate | None) -> None:
        self.sessions = 0
        self._rate = rate
        self._buckets: dict[str, Bucket] = {}

    def take_send(self, room: str, now_s: float) -> float:
        """Count a message to a room; 0.0 when it may go, else seconds to wait."""
        if self._rate is None:
            return 0.0
        bucket = self._buckets.get(room)
        if bucket is None:
            if len(self._buckets) >= 64:  # noqa: PLR2004  rooms a person talks in at once, with room to spare
                self._forget_oldest()
            bucket = self._buckets[room] = self._rate.bucket()
        return bucket.take(now_s)

    def _forget_oldest(self) -> None:
        # The oldest insertion: its bucket has long been full again unless 64 rooms are flooded at once,
        # and then the connection's own frame limit holds.
        self._buckets.pop(next(iter(self._buckets)))


class UserLedger:
    """Every user with a session on this node.

    Args:
        sessions_max: sessions a user may have here.
        sends: the limit on messages of one user in one room; None: no limit.
    """

    def __init__(self, *, sessions_max: int, sends: Rate | None) -> None:
        self._sessions_max = sessions_max
        self._sends = sends
        self._users: dict[str, UserEntry] = {}

    def __len__(self) -> int:
        return len(self._users)

    def open_session(self, user_id: str) -> UserEntry:
        """Count a session in; pair it with `close_session`.

        Raises:
            Refused: `overloaded` at the user's limit; nothing was counted.
        """
        entry = self._users.get(user_id)
        if entry is None:
            entry = self._users[user_id] = UserEntry(self._sends)
        if entry.sessions >= self._sessions_max:
            raise Refused(ErrorCode.OVERLOADED, f"a user has {self._sessions_max} sessions at most")
        entry.sessions += 1
        return entry

    def close_session(self, user_id: str) -> None:
        """Count a session out."""
        entry = self._users[user_id]
        entry.sessions -= 1
        if not entry.sessions:
            del self._users[user_id]
