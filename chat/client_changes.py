"""What one may change on a server: messages, reactions, pins, shared state; and how to read of it.

Each change goes out with a `cid` of its own. So it may be sent again when the connection breaks before the
answer, and happens once: the answer then says `dup`.
"""

from typing import Final

from chat.client_requests import CID_BITS, ClientRequests, Given
from chat.client_state import Envelope

_AGAIN: Final = {"retry": True}


class ClientChanges(ClientRequests):
    """The requests that change something; raise as all requests do, but never `ConnectionLost`.

    `RequestRefused` with the code `conflict` has the present `value` and `version` in `current`.
    """

    __slots__ = ()

    async def _change(self, t: str, *, timeout_s: float | None, **fields: object) -> Envelope:
        return await self.request(
            t, timeout_s=timeout_s, again=_AGAIN, cid=f"{self._rng.getrandbits(CID_BITS):024x}", **fields
        )

    async def edit(
        self,
        room: str,
        seq: int,
        body: str,
        *,
        if_version: int | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Give a message of one's own another text; `seq`, `version`.

        Args:
            room: whose member one is.
            seq: the message's.
            body: 1-8192 bytes of UTF-8.
            if_version: only if it has this version, else `conflict`.
            timeout_s: for the answer, reconnecting included.
        """
        return await self._change(
            "edit", room=room, seq=seq, body=body, if_version=if_version, timeout_s=timeout_s
        )

    async def delete(
        self, room: str, seq: int, *, reason: str | None = None, timeout_s: float | None = None
    ) -> Envelope:
        """Erase a message's text for everybody; its place in the order stays."""
        return await self._change("delete", room=room, seq=seq, reason=reason, timeout_s=timeout_s)

    async def react(
        self, room: str, seq: int, emoji: str, *, remove: bool = False, timeout_s: float | None = None
    ) -> Envelope:
        """Put an emoji to a message, or take one's own back."""
        return await self._change(
            "react", room=room, seq=seq, emoji=emoji, remove=remove, timeout_s=timeout_s
        )

    async def pin(
        self, room: str, seq: int, *, remove: bool = False, timeout_s: float | None = None
    ) -> Envelope:
        """Pin a message, or take the pin off."""
        return await self._change("pin", room=room, seq=seq, remove=remove, timeout_s=timeout_s)

    async def set_state(
        self,
        room: str,
        key: str,
        value: object,
        *,
        if_version: int | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Put a value under a key of the room's shared state; `version`.

        Args:
            room: whose member one is.
            key: `[a-z0-9][a-z0-9._-]{0,63}`.
            value: what JSON can say, 16 KiB at most; None removes the key.
            if_version: only if the key has this version, 0: only if it has no value; else `conflict`.
            timeout_s: for the answer, reconnecting included.
        """
        # Wrapped, because None counts as absent in `request`, and here it is the value.
        return await self._change(
            "set", room=room, key=key, value=Given(value), if_version=if_version, timeout_s=timeout_s
        )

    async def get_state(
        self, room: str, *, key: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Envelope:
        """One key of the shared state, or a page of them: `items`, `next`, `durable`."""
        return await self.request("get", room=room, key=key, cursor=cursor, limit=limit)

    async def reactions(
        self, room: str, seq: int, *, emoji: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Envelope:
        """Who reacted to a message: `items`, `next`."""
        return await self.request("reactions", room=room, seq=seq, emoji=emoji, cursor=cursor, limit=limit)

    async def pins(self, room: str, *, cursor: str | None = None, limit: int = 50) -> Envelope:
        """What is pinned, as it is now, the latest pin first: `items`, `next`, `durable`."""
        return await self.request("pins", room=room, cursor=cursor, limit=limit)
