"""Users of outside issuers: found by issuer and subject, created at first sight, remembered for a while.

Many at once cost the database a few queries, and who comes back within minutes costs none.
"""

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NoReturn

import trio

from chat.batch_loader import BatchLoader, Lookups
from chat.errors import Refused
from chat.issuers import Claims
from chat.names import NAME_MAX_CHARACTERS, display_name, name_key, registered_id
from chat.tokens import USER_ROLE
from storage import IssuedUser, Store, Stranger, Unavailable

KEPT_S: Final = 300.0
KEPT_MAX: Final = 20_000
"""Users remembered: some 10 MB."""
_ID_BYTES: Final = 20
_MARK_BYTES: Final = 5


class Strangers:
    """Finds them. `run` must be running.

    Args:
        store: where they are kept.
        now_ms: milliseconds since 1970 UTC.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        timeout_s: the longest wait for the database.
        max_batch: users in one query.
        max_waiting: look-ups that may wait at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        timeout_s: float,
        max_batch: int,
        max_waiting: int,
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._timeout_s = timeout_s
        self._users = BatchLoader[Stranger, IssuedUser](
            self._load, max_batch=max_batch, max_waiting=max_waiting
        )
        self._kept: dict[str, tuple[IssuedUser, float]] = {}
        self._forgotten = 0
        self._remembered = 0

    @property
    def lookups(self) -> Lookups:
        """Users who were remembered, or shared a query; and queries."""
        hits, misses = self._users.lookups
        return Lookups(hits + self._remembered, misses)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Look users up, many at once, until cancelled."""
        await self._users.run(task_status=task_status)

    def forget(self, user_id: str) -> None:
        """Ask the store for this user again: something has changed."""
        self._kept.pop(user_id, None)
        # A look-up that is under way may have read before the change.
        self._forgotten += 1

    async def find(self, claims: Claims) -> IssuedUser:
        """The user whom these claims mean, who is created if there is none.

        Raises:
            StorageError: the store cannot say it now.
        """
        user_id = stranger_id(claims.issuer, claims.subject)
        kept = self._kept.get(user_id)
        if kept is not None and trio.current_time() < kept[1]:
            self._remembered += 1
            return kept[0]
        forgotten = self._forgotten
        found = await self._users.get(self._stranger(user_id, claims.name), timeout_s=self._timeout_s)
        if found is None:
            raise Unavailable("a name that nobody was to have is taken: the next try makes another")
        if forgotten == self._forgotten:
            self._keep(user_id, found)
        return found

    def _keep(self, user_id: str, user: IssuedUser) -> None:
        # In the order of use: the first is the one that was found the longest time ago.
        self._kept.pop(user_id, None)
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[user_id] = (user, trio.current_time() + KEPT_S)

    def _stranger(self, user_id: str, claimed: str | None) -> Stranger:
        mark = b32encode(self._random_bytes(_MARK_BYTES)).decode("ascii").lower()
        name = _shown(claimed) or f"user {mark}"
        spare = f"{name[: NAME_MAX_CHARACTERS - len(mark) - 2].rstrip()} #{mark}"
        return Stranger(user_id, name, name_key(name), spare, name_key(spare), USER_ROLE)

    async def _load(self, strangers: Sequence[Stranger]) -> Mapping[Stranger, IssuedUser]:
        found = await self._store.admit_users(strangers, at_ms=self._now_ms())
        return {stranger: found[stranger.user_id] for stranger in strangers if stranger.user_id in found}


def stranger_id(issuer: str, subject: str) -> str:
    """The id of an issuer's user: the same for ever, and no two users have the same."""
    told = f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")
    return registered_id(sha256(told).digest()[:_ID_BYTES])


def _shown(claimed: str | None) -> str | None:
    """An issuer's name for somebody as a display name; None where nothing of it can be shown."""
    try:
        return None if claimed is None else display_name(claimed[:NAME_MAX_CHARACTERS])
    except Refused:
        return None
