"""For tests of what stands on a store: delays and faults, as a script says, in front of any store."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from storage.model import (
    Activation,
    Entry,
    FoldedPage,
    HistoryPage,
    KnownCid,
    MemberRow,
    MembershipPage,
    NewRoom,
    PinPage,
    ReactionRow,
    Receipt,
    RoomId,
    RoomRow,
    StatePage,
    TokenRow,
    UserRow,
)
from storage.store import Store

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one call.

    Attributes:
        before_s: delay before the call reaches the store.
        refusal: raised then, instead of calling the store.
        after_s: delay of the answer.
        lost: raised instead of the answer: the call was carried out, and nobody hears of it.
    """

    before_s: float = 0.0
    refusal: Exception | None = None
    after_s: float = 0.0
    lost: Exception | None = None


Script = Callable[[str], Fault | None]
"""Asked at each call with the method's name; None: the call goes through."""


class FaultyStore:
    """`storage.store.Store` in front of another one; the script decides over every call.

    Args:
        store: what is called.
        script: may be changed between calls.
    """

    def __init__(self, store: Store, script: Script) -> None:
        self.store = store
        self.script = script

    async def append(self, batch: Sequence[Entry]) -> Sequence[Receipt]:
        """See `Store.append`."""
        return await self._call("append", lambda: self.store.append(batch))

    async def park(self, entry: Entry, error: str) -> Receipt:
        """See `Store.park`."""
        return await self._call("park", lambda: self.store.park(entry, error))

    async def create_room(self, room: NewRoom) -> RoomRow:
        """See `Store.create_room`."""
        return await self._call("create_room", lambda: self.store.create_room(room))

    async def find_room(self, name: str) -> RoomRow | None:
        """See `Store.find_room`."""
        return await self._call("find_room", lambda: self.store.find_room(name))

    async def activate(self, name: str, *, tail_events: int, at_ms: int) -> Activation | None:
        """See `Store.activate`."""
        return await self._call(
            "activate", lambda: self.store.activate(name, tail_events=tail_events, at_ms=at_ms)
        )

    async def history(
        self,
        room_id: RoomId,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        thread: int | None = None,
        fold_for: str | None = None,
        limit: int,
    ) -> HistoryPage:
        """See `Store.history`."""
        return await self._call(
            "history",
            lambda: self.store.history(
                room_id,
                before=before,
                after=after,
                around=around,
                thread=thread,
                fold_for=fold_for,
                limit=limit,
            ),
        )

    async def fold_messages(self, room_id: RoomId, seqs: Sequence[int], *, user_id: str) -> FoldedPage:
        """See `Store.fold_messages`."""
        return await self._call(
            "fold_messages", lambda: self.store.fold_messages(room_id, seqs, user_id=user_id)
        )

    async def list_reactions(
        self, room_id: RoomId, seq: int, *, emoji: str | None, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ReactionRow]:
        """See `Store.list_reactions`."""
        return await self._call(
            "list_reactions",
            lambda: self.store.list_reactions(room_id, seq, emoji=emoji, after=after, limit=limit),
        )

    async def list_pins(self, room_id: RoomId, *, user_id: str, before: int | None, limit: int) -> PinPage:
        """See `Store.list_pins`."""
        return await self._call(
            "list_pins", lambda: self.store.list_pins(room_id, user_id=user_id, before=before, limit=limit)
        )

    async def read_state(
        self, room_id: RoomId, *, key: str | None, after: str | None, limit: int
    ) -> StatePage:
        """See `Store.read_state`."""
        return await self._call(
            "read_state", lambda: self.store.read_state(room_id, key=key, after=after, limit=limit)
        )

    async def find_cids(self, room_id: RoomId, user_id: str, cids: Sequence[str]) -> Mapping[str, KnownCid]:
        """See `Store.find_cids`."""
        return await self._call("find_cids", lambda: self.store.find_cids(room_id, user_id, cids))

    async def list_rooms(self, *, after: str | None, limit: int) -> Sequence[RoomRow]:
        """See `Store.list_rooms`."""
        return await self._call("list_rooms", lambda: self.store.list_rooms(after=after, limit=limit))

    async def list_members(self, room_id: RoomId, *, after: str | None, limit: int) -> Sequence[MemberRow]:
        """See `Store.list_members`."""
        return await self._call(
            "list_members", lambda: self.store.list_members(room_id, after=after, limit=limit)
        )

    async def memberships(
        self, user_ids: Sequence[str], *, after: str | None, limit: int
    ) -> Mapping[str, MembershipPage]:
        """See `Store.memberships`."""
        return await self._call(
            "memberships", lambda: self.store.memberships(user_ids, after=after, limit=limit)
        )

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """See `Store.find_tokens`."""
        return await self._call("find_tokens", lambda: self.store.find_tokens(hashes, at_ms=at_ms))

    async def create_user(self, user: UserRow, *, at_ms: int) -> UserRow:
        """See `Store.create_user`."""
        return await self._call("create_user", lambda: self.store.create_user(user, at_ms=at_ms))

    async def create_token(
        self, user_id: str, token_hash: bytes, *, at_ms: int, expires_at_ms: int | None
    ) -> None:
        """See `Store.create_token`."""
        await self._call(
            "create_token",
            lambda: self.store.create_token(user_id, token_hash, at_ms=at_ms, expires_at_ms=expires_at_ms),
        )

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """See `Store.secret`."""
        return await self._call("secret", lambda: self.store.secret(name, candidate))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._call("ping", self.store.ping)

    async def _call(self, name: str, call: Callable[[], Awaitable[R]]) -> R:
        fault = self.script(name)
        if fault is None:
            return await call()
        await trio.sleep(fault.before_s)
        if fault.refusal is not None:
            raise fault.refusal
        answer = await call()
        await trio.sleep(fault.after_s)
        if fault.lost is not None:
            raise fault.lost
        return answer
