"""For tests of what stands on a store: delays and faults, as a script says, in front of any store."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from storage.model import (
    Account,
    Activation,
    AuditKey,
    AuditRow,
    Entry,
    FoldedPage,
    HistoryPage,
    IssuedUser,
    KnownCid,
    MemberRow,
    MembershipPage,
    MessagePage,
    MessageRange,
    NewRoom,
    NewUser,
    PinPage,
    PointerMove,
    ReactionRow,
    Receipt,
    RetainedRoom,
    Revocation,
    RoomId,
    RoomRow,
    RulesRow,
    SanctionRow,
    StatePage,
    Stranger,
    TokenInfo,
    TokenRow,
    UserRow,
)
from storage.review_model import Filed, NewReport, ReportMove, ReportRow
from storage.search_model import IndexStep, RoomDue, SearchAsk, SearchPage
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

    async def list_sanctions(self, room_id: RoomId) -> Sequence[SanctionRow]:
        """See `Store.list_sanctions`."""
        return await self._call("list_sanctions", lambda: self.store.list_sanctions(room_id))

    async def room_sanctions(
        self, room_id: RoomId, *, at_ms: int, after: tuple[str, str] | None, limit: int
    ) -> Sequence[SanctionRow]:
        """See `Store.room_sanctions`."""
        return await self._call(
            "room_sanctions",
            lambda: self.store.room_sanctions(room_id, at_ms=at_ms, after=after, limit=limit),
        )

    async def find_messages(self, room_id: RoomId, wanted: MessageRange, *, limit: int) -> MessagePage:
        """See `Store.find_messages`."""
        return await self._call(
            "find_messages", lambda: self.store.find_messages(room_id, wanted, limit=limit)
        )

    async def list_audit(
        self, *, room_id: RoomId | None, before: AuditKey | None, limit: int
    ) -> Sequence[AuditRow]:
        """See `Store.list_audit`."""
        return await self._call(
            "list_audit", lambda: self.store.list_audit(room_id=room_id, before=before, limit=limit)
        )

    async def read_audit(self, room_id: RoomId, *, after: int, limit: int) -> Sequence[AuditRow]:
        """See `Store.read_audit`."""
        return await self._call(
            "read_audit", lambda: self.store.read_audit(room_id, after=after, limit=limit)
        )

    async def user_sanctions(
        self, user_id: str, *, after: tuple[RoomId, str] | None, limit: int
    ) -> Sequence[tuple[str, RoomId, SanctionRow]]:
        """See `Store.user_sanctions`."""
        return await self._call(
            "user_sanctions", lambda: self.store.user_sanctions(user_id, after=after, limit=limit)
        )

    async def list_rooms(
        self, *, after: str | None, limit: int, all_kinds: bool = False
    ) -> Sequence[RoomRow]:
        """See `Store.list_rooms`."""
        return await self._call(
            "list_rooms", lambda: self.store.list_rooms(after=after, limit=limit, all_kinds=all_kinds)
        )

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

    async def move_pointers(self, moves: Sequence[PointerMove]) -> Mapping[tuple[RoomId, str], int]:
        """See `Store.move_pointers`."""
        return await self._call("move_pointers", lambda: self.store.move_pointers(moves))

    async def find_tokens(self, hashes: Sequence[bytes], *, at_ms: int) -> Mapping[bytes, TokenRow]:
        """See `Store.find_tokens`."""
        return await self._call("find_tokens", lambda: self.store.find_tokens(hashes, at_ms=at_ms))

    async def create_user(self, user: NewUser, *, at_ms: int) -> UserRow:
        """See `Store.create_user`."""
        return await self._call("create_user", lambda: self.store.create_user(user, at_ms=at_ms))

    async def create_token(
        self,
        user_id: str,
        token_hash: bytes,
        *,
        at_ms: int,
        expires_at_ms: int | None,
        if_password: str | None = None,
    ) -> None:
        """See `Store.create_token`."""
        await self._call(
            "create_token",
            lambda: self.store.create_token(
                user_id, token_hash, at_ms=at_ms, expires_at_ms=expires_at_ms, if_password=if_password
            ),
        )

    async def find_user(self, name: str, name_key: str) -> UserRow | None:
        """See `Store.find_user`."""
        return await self._call("find_user", lambda: self.store.find_user(name, name_key))

    async def find_users(self, user_ids: Sequence[str]) -> Mapping[str, UserRow]:
        """See `Store.find_users`."""
        return await self._call("find_users", lambda: self.store.find_users(user_ids))

    async def find_account(self, name_key: str) -> Account | None:
        """See `Store.find_account`."""
        return await self._call("find_account", lambda: self.store.find_account(name_key))

    async def list_users(self, prefix: str, *, after: str | None, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_users`."""
        return await self._call("list_users", lambda: self.store.list_users(prefix, after=after, limit=limit))

    async def list_staff(self, *, limit: int) -> Sequence[UserRow]:
        """See `AccountStore.list_staff`."""
        return await self._call("list_staff", lambda: self.store.list_staff(limit=limit))

    async def set_password(
        self, user_id: str, name_key: str, password: str, *, replaces: str | None = None
    ) -> bool:
        """See `Store.set_password`."""
        return await self._call(
            "set_password",
            lambda: self.store.set_password(user_id, name_key, password, replaces=replaces),
        )

    async def set_role(self, user_id: str, role: str) -> bool:
        """See `AccountStore.set_role`."""
        return await self._call("set_role", lambda: self.store.set_role(user_id, role))

    async def list_tokens(self, user_id: str, *, limit: int) -> Sequence[TokenInfo]:
        """See `Store.list_tokens`."""
        return await self._call("list_tokens", lambda: self.store.list_tokens(user_id, limit=limit))

    async def revoke_tokens(self, hash_prefix: bytes, *, at_ms: int) -> int:
        """See `Store.revoke_tokens`."""
        return await self._call("revoke_tokens", lambda: self.store.revoke_tokens(hash_prefix, at_ms=at_ms))

    async def revoke_user(self, user_id: str, *, at_ms: int) -> int:
        """See `Store.revoke_user`."""
        return await self._call("revoke_user", lambda: self.store.revoke_user(user_id, at_ms=at_ms))

    async def last_revocation(self) -> int:
        """See `Store.last_revocation`."""
        return await self._call("last_revocation", self.store.last_revocation)

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """See `Store.revocations`."""
        return await self._call("revocations", lambda: self.store.revocations(after=after, limit=limit))

    async def admit_users(self, strangers: Sequence[Stranger], *, at_ms: int) -> Mapping[str, IssuedUser]:
        """See `Store.admit_users`."""
        return await self._call("admit_users", lambda: self.store.admit_users(strangers, at_ms=at_ms))

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """See `Store.secret`."""
        return await self._call("secret", lambda: self.store.secret(name, candidate))

    async def read_rules(self, room_id: RoomId) -> RulesRow | None:
        """See `Store.read_rules`."""
        return await self._call("read_rules", lambda: self.store.read_rules(room_id))

    async def write_rules(self, room_id: RoomId, row: RulesRow) -> None:
        """See `Store.write_rules`."""
        await self._call("write_rules", lambda: self.store.write_rules(room_id, row))

    async def file_reports(self, reports: Sequence[NewReport]) -> Sequence[Filed]:
        """See `Store.file_reports`."""
        return await self._call("file_reports", lambda: self.store.file_reports(reports))

    async def list_reports(
        self,
        *,
        room_id: RoomId | None,
        waiting: bool,
        after: int,
        limit: int,
        not_about: str | None = None,
    ) -> Sequence[ReportRow]:
        """See `Store.list_reports`."""
        return await self._call(
            "list_reports",
            lambda: self.store.list_reports(
                room_id=room_id, waiting=waiting, after=after, limit=limit, not_about=not_about
            ),
        )

    async def list_own_reports(
        self, reporter: str, *, waiting: bool, after: int, limit: int
    ) -> Sequence[ReportRow]:
        """See `Store.list_own_reports`."""
        return await self._call(
            "list_own_reports",
            lambda: self.store.list_own_reports(reporter, waiting=waiting, after=after, limit=limit),
        )

    async def find_report(self, report: int) -> ReportRow | None:
        """See `Store.find_report`."""
        return await self._call("find_report", lambda: self.store.find_report(report))

    async def move_report(self, move: ReportMove) -> ReportRow | None:
        """See `Store.move_report`."""
        return await self._call("move_report", lambda: self.store.move_report(move))

    async def erase_copies(self, *, before_ms: int, limit: int) -> int:
        """See `Store.erase_copies`."""
        return await self._call(
            "erase_copies", lambda: self.store.erase_copies(before_ms=before_ms, limit=limit)
        )

    async def count_waiting(self, room_ids: Sequence[RoomId]) -> Mapping[RoomId, int]:
        """See `Store.count_waiting`."""
        return await self._call("count_waiting", lambda: self.store.count_waiting(room_ids))

    async def search(self, ask: SearchAsk) -> SearchPage | None:
        """See `Store.search`."""
        return await self._call("search", lambda: self.store.search(ask))

    async def index_rooms(self, room_ids: Sequence[RoomId], *, max_rows: int) -> IndexStep:
        """See `Store.index_rooms`."""
        return await self._call("index_rooms", lambda: self.store.index_rooms(room_ids, max_rows=max_rows))

    async def skip_event(self, room_id: RoomId) -> int | None:
        """See `Store.skip_event`."""
        return await self._call("skip_event", lambda: self.store.skip_event(room_id))

    async def rooms_due(self, *, after: RoomId, limit: int) -> Sequence[RoomDue]:
        """See `Store.rooms_due`."""
        return await self._call("rooms_due", lambda: self.store.rooms_due(after=after, limit=limit))

    async def settle_rooms(self, rooms: Sequence[RoomDue]) -> None:
        """See `Store.settle_rooms`."""
        await self._call("settle_rooms", lambda: self.store.settle_rooms(rooms))

    async def rooms_retained(self, *, after: RoomId, limit: int) -> Sequence[RetainedRoom]:
        """See `Store.rooms_retained`."""
        return await self._call("rooms_retained", lambda: self.store.rooms_retained(after=after, limit=limit))

    async def note_retained(self, room_id: RoomId, seq: int) -> None:
        """See `Store.note_retained`."""
        await self._call("note_retained", lambda: self.store.note_retained(room_id, seq))

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
