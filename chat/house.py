"""The house that all rooms are in: who is banned from the server or muted everywhere, and what all are told.

What is done server-wide is done in one room of its own, by its actor and in its log, so that it is ordered,
stored and audited as all else is; nobody is a member of that room. This object is what the rest of the node
knows of it: it shares the room's sanctions, and carries out what the room has decided.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from chat.errors import CloseCode
from chat.peers import Broadcast
from chat.protocol import SERVER_ROOM, Envelope, notice
from chat.sanctions import Sanctions
from chat.topic import Subscriber
from chat.transport import Flusher, Outbox
from storage import Conflict, Store
from storage.model import NewRoom

WHERE: Final = "this server"


class House:
    """One node's view of what holds server-wide.

    Args:
        sessions: all that are open.
        sessions_of: those of a user.
        flusher: takes what all are told.
        now_ms: the wall clock.

    Attributes:
        sanctions: shared with the server's room once that is active.
    """

    def __init__(
        self,
        *,
        sessions: Callable[[], Collection[Subscriber]],
        sessions_of: Callable[[str], Sequence[Subscriber]],
        flusher: Flusher,
        now_ms: Callable[[], int],
    ) -> None:
        self.sanctions = Sanctions((), WHERE)
        self._sessions = sessions
        self._sessions_of = sessions_of
        self._flusher = flusher
        self._now_ms = now_ms

    async def open(self, store: Store) -> None:
        """Read what is imposed; the room is made when there is none.

        Raises:
            StorageError: as of every call of the store.
        """
        row = await store.find_room(SERVER_ROOM)
        if row is None:
            try:
                await store.create_room(_server_room(self._now_ms()))
            except Conflict:
                # Another node had the same thought; nothing is imposed yet.
                return
        else:
            self.sanctions = Sanctions(await store.list_sanctions(row.room_id), WHERE)

    def require_welcome(self, user_id: str) -> None:
        """Let in who is not banned.

        Raises:
            Refused: `banned`.
        """
        if self.sanctions:
            self.sanctions.require_free(user_id, "ban", self._now_ms())

    def require_voice(self, user_id: str) -> None:
        """Let speak who is not muted everywhere.

        Raises:
            Refused: `muted`.
        """
        if self.sanctions:
            self.sanctions.require_free(user_id, "mute", self._now_ms())

    def hear(self, event: Envelope) -> None:
        """Carry out what the server's room has put into its log."""
        if event["kind"] == "announce":
            self._tell_all(event)
        elif event["kind"] == "sanction" and event["action"] == "ban":
            self._turn_out(str(event["user"]))

    def _turn_out(self, user_id: str) -> None:
        row = self.sanctions.of(user_id, "ban", self._now_ms())
        if row is not None:
            for session in list(self._sessions_of(user_id)):
                session.end(CloseCode.BANNED, self.sanctions.said(row))

    def _tell_all(self, event: Envelope) -> None:
        """Tell every session, by one frame for each encoding."""
        message = Broadcast(notice(event))
        outboxes: tuple[list[Outbox], list[Outbox]] = ([], [])
        for session in self._sessions():
            # Who has not said hello yet is nobody.
            if session.user_id and not session.is_closed:
                outboxes[session.encoding_index].append(session.outbox)
        for index, each in enumerate(outboxes):
            if each:
                self._flusher.broadcast(each, message.frame(index))


def _server_room(now_ms: int) -> NewRoom:
    return NewRoom(
        name=SERVER_ROOM,
        kind="private",
        topic="",
        strict=False,
        slow_s=0.0,
        created_by="",
        creator_name="",
        created_at_ms=now_ms,
        creator_role=None,
    )
