"""PURE: what a user's sessions share on this node: which there are, and the rates of each room.

The rates of a user are that user's alone: nobody can wash out somebody else's limit, and nobody his own by
naming rooms that do not exist.
"""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from chat.errors import ErrorCode, Refused
from chat.rate_limit import ExactBuckets, KeyedBuckets
from chat.session_state import Rate

S = TypeVar("S")

ROOMS_MAX: Final = 64
"""Rooms in which a user's rates are counted apart, of those used within the last seconds."""
REMEMBERED_MAX: Final = 5_000
"""Users remembered after their last session: as many would have to leave before a limit is forgotten."""
CREATORS_MAX: Final = 10_000
"""Users and addresses whose rate of creating is remembered: about 2 MB."""


class _User(Generic[S]):
    """One user's sessions and rates."""

    __slots__ = ("sends", "sessions", "typing")

    def __init__(self) -> None:
        self.sessions: list[S] = []
        # Made when first needed: most users only read.
        self.sends: ExactBuckets[str] | None = None
        self.typing: ExactBuckets[str] | None = None


class UserLedger(Generic[S]):
    """Every user with a session on this node, and those who left last.

    Args:
        sessions_max: sessions a user may have here.
        sends: the limit on messages of one user in one room; None: no limit.
        typing: the same for typing notices.
        creates: the limit on rooms that one user, or one address, makes; None: no limit.
    """

    def __init__(
        self, *, sessions_max: int, sends: Rate | None, typing: Rate | None, creates: Rate | None
    ) -> None:
        self._sessions_max = sessions_max
        self._sends = sends
        self._typing = typing
        self._creates = (
            None
            if creates is None
            else KeyedBuckets[str](creates.rate_per_s, creates.burst, max_keys=CREATORS_MAX)
        )
        self._users: dict[str, _User[S]] = {}
        # In the order of leaving: the first is the first to be forgotten.
        self._gone: dict[str, _User[S]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def sessions_of(self, user_id: str) -> Sequence[S]:
        """A user's sessions on this node, the oldest first; not to be kept, it changes."""
        user = self._users.get(user_id)
        return () if user is None else user.sessions

    def open_session(self, user_id: str, session: S) -> None:
        """Count a session in; pair it with `close_session`.

        Raises:
            Refused: `forbidden` at the user's limit; nothing was counted.
        """
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = self._gone.pop(user_id) if user_id in self._gone else _User()
        elif len(user.sessions) >= self._sessions_max:
            raise Refused(ErrorCode.FORBIDDEN, f"a user has {self._sessions_max} sessions at most")
        user.sessions.append(session)

    def close_session(self, user_id: str, session: S) -> None:
        """Count a session out; the user's rates are remembered for a while."""
        user = self._users[user_id]
        user.sessions.remove(session)
        if not user.sessions:
            del self._users[user_id]
            if user.sends is not None or user.typing is not None:
                self._remember(user_id, user)

    def take_send(self, user_id: str, room: str, now_s: float) -> float:
        """Count a message to a room; 0.0 when it may go, else seconds to wait."""
        rate = self._sends
        if rate is None:
            return 0.0
        user = self._users.get(user_id) or self._absent(user_id)
        buckets = user.sends
        if buckets is None:
            buckets = user.sends = _buckets(rate)
        return buckets.take(room, now_s)

    def take_typing(self, user_id: str, room: str, now_s: float) -> float:
        """Count a typing notice in a room; 0.0 when it may go, else seconds to wait."""
        rate = self._typing
        if rate is None:
            return 0.0
        user = self._users.get(user_id) or self._absent(user_id)
        buckets = user.typing
        if buckets is None:
            buckets = user.typing = _buckets(rate)
        return buckets.take(room, now_s)

    def take_create(self, who: str, now_s: float) -> float:
        """Count a room that is about to be made; 0.0 when it may be, else seconds to wait.

        Args:
            who: a user's id, or the address that a guest comes from.
            now_s: seconds, monotonic.
        """
        return 0.0 if self._creates is None else self._creates.take(who, now_s)

    def _absent(self, user_id: str) -> _User[S]:
        """A user without a session, remembered from now on."""
        return self._gone.get(user_id) or self._remember(user_id, _User())

    def _remember(self, user_id: str, user: _User[S]) -> _User[S]:
        self._gone[user_id] = user
        if len(self._gone) > REMEMBERED_MAX:
            del self._gone[next(iter(self._gone))]
        return user


def _buckets(rate: Rate) -> ExactBuckets[str]:
    return ExactBuckets(rate.rate_per_s, rate.burst, max_keys=ROOMS_MAX)
