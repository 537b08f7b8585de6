"""Ends sessions whose token was revoked, wherever that was done: here, on another node, or by an operator.

What was revoked stands in a small table in the order of its commits. One look twice a second, by the table's
primary key, finds what is new; nothing else is asked for, and while nothing is revoked nothing else happens.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NoReturn

import structlog
import trio

from chat.errors import CloseCode
from chat.heartbeat import SESSIONS_PER_TURN
from chat.session import Session
from storage import Revocation, StorageError, Store
from storage.errors import loggable

LOOK_S: Final = 0.5
"""Between two looks: half of the second within which a revoked token's sessions are to end."""
PAGE: Final = 1000

_log = structlog.get_logger("chat.revocations")


class Revocations:
    """Looks for what was revoked.

    A `hello` that was being checked meanwhile may have been found good just before: whoever welcomes compares
    `seen` before the check and after it, and checks again when it has risen.

    Args:
        store: where it stands.
        sessions: those that are open now.
        forget_user: called with each user all of whose tokens were revoked.
        retry_after_s: when clients may come back whose tokens are an outside issuer's.

    Attributes:
        seen: how many revocations were seen, and accounts that were changed here.
    """

    def __init__(
        self,
        store: Store,
        *,
        sessions: Callable[[], Collection[Session]],
        forget_user: Callable[[str], None],
        retry_after_s: float,
    ) -> None:
        self.seen = 0
        self._store = store
        self._sessions = sessions
        self._forget_user = forget_user
        self._retry_after_s = retry_after_s
        self._last: int | None = None
        self._wanted = trio.Event()
        self._is_late = False

    def look_soon(self) -> None:
        """Look at once: something was revoked here."""
        self._wanted.set()

    def note_change(self, user_id: str) -> None:
        """A user has another role, which is stored: who is being checked meanwhile is checked again."""
        self._forget_user(user_id)
        self.seen += 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Look until cancelled; started when it is known what was revoked before.

        While the database is away sessions stay; it goes on where it was.

        Raises:
            StorageError: the very first look fails.
        """
        if self._last is None:
            self._last = await self._store.last_revocation()
        task_status.started()
        while True:
            with trio.move_on_after(LOOK_S):
                await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self._look()
            except StorageError as error:
                if not self._is_late:
                    _log.warning("revocations.late", error=loggable(error))
                self._is_late = True
            else:
                self._is_late = False

    async def _look(self) -> None:
        more = True
        while more:
            page = await self._store.revocations(after=self._last or 0, limit=PAGE)
            if page:
                await self._enforce(page)
                self._last = page[-1].number
            more = len(page) == PAGE

    async def _enforce(self, page: Sequence[Revocation]) -> None:
        hashes = {revocation.token_hash for revocation in page if revocation.token_hash is not None}
        users = {revocation.user_id for revocation in page if revocation.token_hash is None}
        self.seen += len(page)
        for user_id in users:
            self._forget_user(user_id)
        ended = 0
        for index, session in enumerate(list(self._sessions())):
            if session.token_hash is not None:
                if session.token_hash in hashes:
                    session.end(CloseCode.BAD_TOKEN, "the token was revoked")
                    ended += 1
            elif session.user_id in users:
                # The token may be a newer one: its client comes back and will see.
                session.end(CloseCode.TOKEN_EXPIRED, "tokens were revoked", self._retry_after_s)
                ended += 1
            if index % SESSIONS_PER_TURN == SESSIONS_PER_TURN - 1:
                await trio.lowlevel.checkpoint()
        _log.info("revocations.enforced", revocations=len(page), sessions=ended)
