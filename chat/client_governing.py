"""How one governs rooms, and the server: who belongs to a room, as what, and who may not.

What is so already is answered without a `seq`. So what only makes something so may be asked again, and is,
when a connection breaks before the answer.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from chat.client_changes import ClientChanges
from chat.client_state import Envelope
from chat.protocol import ModAction

_AGAIN: Final[dict[str, object]] = {}


class ClientGoverning(ClientChanges):
    """The requests that govern; raise as all requests do."""

    __slots__ = ()

    async def direct(self, user_id: str, *, timeout_s: float | None = None) -> Envelope:
        """Find the one room with another user, or make it: `room` is its name."""
        return await self.request("create", kind="direct", user=user_id, timeout_s=timeout_s, again=_AGAIN)

    async def invite(self, room: str, user_id: str, *, timeout_s: float | None = None) -> Envelope:
        """Make somebody a member."""
        return await self.request("invite", room=room, user=user_id, timeout_s=timeout_s, again=_AGAIN)

    async def update(
        self,
        room: str,
        *,
        topic: str | None = None,
        slow_s: float | None = None,
        retention_s: int | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Give a room another topic, another time between two messages of a member, or to keep them.

        Args:
            room: which.
            topic: None: it stays, as do the others.
            slow_s: between two messages.
            retention_s: for which it keeps what is said; 0: for ever.
            timeout_s: for the answer, reconnecting included.
        """
        return await self.request(
            "update",
            room=room,
            topic=topic,
            slow=slow_s,
            retention=retention_s,
            timeout_s=timeout_s,
            again=_AGAIN,
        )

    async def moderate(
        self,
        action: ModAction,
        *,
        room: str | None = None,
        target: str | None = None,
        role: str | None = None,
        slow_s: float | None = None,
        body: str | None = None,
        ttl_s: float | None = None,
        reason: str | None = None,
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Moderate a room, or without one the server: `affected`, and `audit` of what was done.

        Raises `ConnectionLost` when it is not known whether it was done.

        Args:
            action: what; `purge` has a method of its own.
            room: where; None: on the whole server.
            target: a user's id.
            role: for `role`.
            slow_s: for `slow`.
            body: for `announce`.
            ttl_s: after which a ban or mute ends by itself; None: it does not.
            reason: as the target is told.
            dry_run: only say how many it would concern.
            timeout_s: for the answer, reconnecting included.
        """
        return await self.request(
            "mod",
            action=action,
            room=room,
            target=target,
            role=role,
            slow=slow_s,
            body=body,
            ttl=ttl_s,
            reason=reason,
            dry_run=dry_run or None,
            timeout_s=timeout_s,
        )

    async def purge(
        self,
        room: str,
        *,
        target: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        seqs: Sequence[int] | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> AsyncGenerator[int, None]:
        """Delete messages, page after page; yields how many each page had.

        Who stops in between has deleted what was yielded, and begins anew where nothing is deleted twice.

        Args:
            room: where.
            target: of this user; None: of anybody.
            since_ms: at this time or later, in milliseconds since 1970 UTC.
            until_ms: before this time.
            seqs: of these, 500 at most, and no times.
            reason: as everybody is told.
            dry_run: only say how many there are.
        """
        cursor: object = None
        while True:
            page = await self.request(
                "mod",
                action="purge",
                room=room,
                target=target,
                since_ms=since_ms,
                until_ms=until_ms,
                seqs=None if seqs is None else list(seqs),
                reason=reason,
                dry_run=dry_run or None,
                cursor=cursor,
                # What was deleted is not found again.
                again=_AGAIN,
            )
            affected = page["affected"]
            yield affected if isinstance(affected, int) else 0
            cursor = page.get("next")
            if cursor is None:
                return
