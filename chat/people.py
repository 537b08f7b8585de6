"""Who a user is: name and role on the server, from the sessions that are here, or from the accounts."""

from collections.abc import Callable, Sequence
from typing import Protocol

from chat.auth import Principal
from chat.room_rules import Person
from storage.store import Store


class Present(Protocol):
    """A session that was welcomed."""

    @property
    def principal(self) -> Principal | None:
        """Who it is."""
        ...


class People:
    """Finds users by id.

    Args:
        sessions_of: a user's sessions on this node.
        store: who is registered.
    """

    def __init__(self, sessions_of: Callable[[str], Sequence[Present]], store: Store) -> None:
        self._sessions_of = sessions_of
        self._store = store

    def here(self, user_id: str) -> Person | None:
        """A user who has a session here; costs no query."""
        for session in self._sessions_of(user_id):
            if session.principal is not None:
                return person_of(session.principal)
        return None

    async def find(self, user_id: str) -> Person | None:
        """A user who is here or registered; a guest who has gone is known to rooms only.

        Raises:
            Unavailable: as of every call of the store.
        """
        person = self.here(user_id)
        if person is None:
            row = (await self._store.find_users([user_id])).get(user_id)
            person = None if row is None else Person(row.user_id, row.name, row.role)
        return person


def person_of(principal: Principal) -> Person:
    """Whom a session speaks for."""
    return Person(principal.user_id, principal.name, principal.role)
