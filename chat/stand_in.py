"""Somebody who asks a room on behalf of a request, or of the server itself: the room's answer comes here."""

import trio

from chat.errors import Refused
from chat.protocol import Envelope


class StandIn:
    """Asks a room once, in place of a session.

    Args:
        user_id: in whose name; empty: the server's.
        name: the display name.
    """

    def __init__(self, user_id: str, name: str) -> None:
        self.user_id = user_id
        self.name = name
        self._answered = trio.Event()
        self._answer: Envelope | Refused = {}

    def reply(self, envelope: Envelope) -> None:
        """What was asked for is stored."""
        self._answer = envelope
        self._answered.set()

    def refuse(self, refused: Refused) -> None:
        """The room does not take it."""
        self._answer = refused
        self._answered.set()

    async def wait(self) -> Envelope:
        """The room's `ok`; the caller bounds the time.

        Raises:
            Refused: the room does not take it.

        Cancellation: it may have been done, or yet be done.
        """
        await self._answered.wait()
        if isinstance(self._answer, Refused):
            # It answers another request than the one that waits here.
            self._answer.request_id = None
            raise self._answer
        return self._answer
