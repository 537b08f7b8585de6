"""Rooms that are joined and may have to be made first: all who want one at a time share a look for it.

Ten thousand who join one room at a moment at which it is not in memory cost storage one query, not each of
them one; and where it does not exist, one of them makes it.
"""

from collections.abc import Awaitable, Callable

import trio

from chat.batch_loader import Lookups
from storage import StorageError
from storage.store import Store


class _Look:
    """Somebody looks for a room, and makes it where there is none.

    Attributes:
        done: it has ended, one way or the other.
        exists: the room is there.
        error: why nobody knows.
    """

    __slots__ = ("done", "error", "exists")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.exists = False
        self.error: StorageError | None = None


class RoomMaker:
    """Sees to it that rooms exist.

    Bounds: a look for each room that somebody waits for; who waits is a request, which has its own limits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looks: dict[str, _Look] = {}
        self._shared = self._led = 0

    @property
    def lookups(self) -> Lookups:
        """Who shared another's look, and looks."""
        return Lookups(self._shared, self._led)

    async def ensure(self, room: str, make: Callable[[], Awaitable[None]]) -> None:
        """Return when the room exists.

        Args:
            room: its name.
            make: makes it on behalf of the caller; called when there is none and nobody else makes it.

        Raises:
            StorageError: storage cannot say it now.

        What `make` raises besides is its caller's alone: the next in line tries.

        Cancellation: the room may have been made; the next in line looks again.
        """
        while (look := self._looks.get(room)) is not None:
            await look.done.wait()
            if look.error is not None:
                # Everybody raises the one error: its traceback must not grow from caller to caller.
                raise look.error.with_traceback(None)
            if look.exists:
                self._shared += 1
                return
        await self._lead(room, make)

    async def _lead(self, room: str, make: Callable[[], Awaitable[None]]) -> None:
        look = self._looks[room] = _Look()
        self._led += 1
        try:
            if await self._store.find_room(room) is None:
                await make()
            look.exists = True
        except StorageError as error:
            look.error = error
            raise
        finally:
            del self._looks[room]
            look.done.set()
