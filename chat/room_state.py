"""PURE: one room's rules: who may do what, in which order it happened, and how a client catches up.

Mutable inside for speed; no I/O, no clock, no randomness: time comes in with every call. The actor around
it (`chat.room`) stores, broadcasts and answers. docs/protocol.md 4-6 is what this file implements.

Invariants, proved by tests/chat/machines/test_room_log.py against a naive list:
- `seq` rises by one for every entry; `at_ms` never falls;
- the tail holds every entry that is not stored, or not shown yet, and at least the latest `tail_events`;
- a (sender, cid) that is in the tail is never ordered again.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

from chat.automod import UNKNOWN, RoomAutomod, Speaker, Standing
from chat.errors import ErrorCode, Refused
from chat.message_facts import KINDS_OF_MESSAGES, MessageFacts, TailFacts
from chat.protocol import Envelope, SubscribeMode
from chat.roster import Roster
from chat.shared_state import SharedState
from storage.model import Activation, EpochStart, FoldedPage, LogEntry, MemberRow, RoomRow

KIND_MESSAGE: Final = "message"
KIND_VOID: Final = "void"
REMEMBERED_TAILS: Final = 4
"""So many times the tail's length of older messages may be changed without a look into storage."""


class Twin(Protocol):
    """Somebody who waits for a message that another request sent: the same `cid`, sent again early."""

    def reply(self, envelope: Envelope) -> None:
        """Answer a request."""
        ...

    def refuse(self, refused: Refused) -> None:
        """Answer a request with an error."""
        ...


class Progress:
    """How much of a room's log is stored. `chat.receipts` moves it, the room reads it.

    Attributes:
        durable_seq: the last seq that is committed in Postgres.
        strict: whether the room shows only what is stored.
        twins: by seq, further requests to answer when it is stored: peer and request id.
        unsettled: seqs that have a receipt other than stored, of which the room has not heard yet.
    """

    __slots__ = ("durable_seq", "strict", "twins", "unsettled")

    def __init__(self, durable_seq: int, *, strict: bool) -> None:
        self.durable_seq = durable_seq
        self.strict = strict
        self.twins: dict[int, list[tuple[Twin, int]]] = {}
        self.unsettled: set[int] = set()


class Known(NamedTuple):
    """A send, or a change, that the room has ordered before."""

    entry: LogEntry


class CatchUp(NamedTuple):
    """How a subscriber gets from `since` to now (docs/protocol.md 5).

    Attributes:
        keep: for `rewind`, the last seq of the client's epoch that survived.
        entries: to append, oldest first.
    """

    mode: SubscribeMode
    entries: Sequence[LogEntry]
    keep: int | None = None


class RoomState:
    """One activation of one room.

    Args:
        activation: what storage handed over.
        tail_events: how many of the latest entries are kept once they are stored.
        members_max: how many members the room takes.

    Attributes:
        automod: the rules by which messages are let in; None: there are none.
        facts: what was done to the messages of the tail.
        roster: the room's people.
        shared: the shared state.
        shown_seq: of a strict room, the last seq that its subscribers were shown.
    """

    __slots__ = (
        "_by_cid",
        "_epochs",
        "_last_at_ms",
        "_last_sent_ms",
        "_tail_events",
        "automod",
        "epoch",
        "facts",
        "head_n",
        "head_seq",
        "progress",
        "roster",
        "row",
        "shared",
        "shown_seq",
        "tail",
    )

    def __init__(self, activation: Activation, *, tail_events: int, members_max: int) -> None:
        self.row: RoomRow = activation.room
        self.epoch = activation.epoch
        self.head_seq = activation.head_seq
        self.head_n = activation.head_n
        self.automod: RoomAutomod | None = None
        self.progress = Progress(activation.head_seq, strict=activation.room.strict)
        self.shown_seq = activation.head_seq
        self.roster = Roster(activation.members, activation.sanctions, members_max=members_max)
        self.tail: deque[LogEntry] = deque(activation.tail)
        self._epochs: Sequence[EpochStart] = tuple(activation.epochs)
        self._last_at_ms = activation.head_at_ms
        self._last_sent_ms: dict[str, int] = {}
        self._tail_events = tail_events
        self._by_cid: dict[tuple[str, str], LogEntry] = {
            (entry.by, entry.cid): entry for entry in activation.tail if entry.cid is not None
        }
        self.facts = TailFacts(self.tail, remembered=REMEMBERED_TAILS * tail_events)
        self.shared = SharedState(activation.state)

    @property
    def name(self) -> str:
        """The room's name on the wire."""
        return self.row.name

    @property
    def members(self) -> Mapping[str, MemberRow]:
        """Everybody who belongs to the room, by user id."""
        return self.roster.members

    def at_ms(self, now_ms: int) -> int:
        """The room's time: the wall clock, which does not go back here."""
        return max(self._last_at_ms, now_ms)

    @property
    def visible_seq(self) -> int:
        """The last seq that subscribers may see: a strict room shows what is stored, others all.

        Of what is stored a strict room shows what `show` was told: it has no event before the room's turn.
        """
        return self.shown_seq if self.row.strict else self.head_seq

    # -- who may ---------------------------------------------------------------------------------------

    def require_reader(self, user_id: str, now_ms: int) -> None:
        """Let members read, and everybody where the room is public, but those who are banned.

        Raises:
            Refused: `banned`; `room_not_found`: an outsider does not learn that a private room exists.
        """
        if user_id in self.members:
            return
        # Also of a private room: who was thrown out knows it.
        self.roster.sanctions.require_free(user_id, "ban", self.at_ms(now_ms))
        if self.row.kind != "public":
            raise Refused(ErrorCode.ROOM_NOT_FOUND, "there is no such room")

    def may_read(self, user_id: str, now_ms: int) -> bool:
        """Whether somebody may see what happens in the room."""
        try:
            self.require_reader(user_id, now_ms)
        except Refused:
            return False
        return True

    def require_member(self, user_id: str, now_ms: int) -> MemberRow:
        """Let members through.

        Raises:
            Refused: `not_member`, or as `require_reader`.
        """
        member = self.members.get(user_id)
        if member is None:
            self.require_reader(user_id, now_ms)
            raise Refused(ErrorCode.NOT_MEMBER, "join the room first")
        return member

    def require_voice(self, member: MemberRow, now_ms: int) -> None:
        """Let members through who may say something now.

        Raises:
            Refused: `muted`, `locked`.
        """
        self.roster.sanctions.require_free(member.user_id, "mute", now_ms)
        self.require_open()
        if self.row.locked and member.role == "member":
            raise Refused(ErrorCode.LOCKED, "only moderators write in this room now")

    def require_open(self) -> None:
        """Let nobody through in a room that is archived.

        Raises:
            Refused: `locked`.
        """
        if self.row.archived:
            raise Refused(ErrorCode.LOCKED, "the room is archived")

    # -- ordering --------------------------------------------------------------------------------------

    def order_message(
        self,
        *,
        by: str,
        name: str,
        cid: str,
        body: str,
        reply_to: int | None,
        thread: int | None,
        now_ms: int,
        reviewed: bool = False,
        standing: Standing = UNKNOWN,
    ) -> LogEntry | Known:
        """Put a message into the log, or find the one that this `cid` ordered before.

        Its text is left out where `automod.removed` says so afterwards. One that a moderator has `reviewed`
        meets neither rules nor slow mode; `standing` says which rules are for its author.

        Raises:
            Refused: `not_member`, `muted`, `locked`, `slow_mode`, `cid_conflict`, `bad_request`, `filtered`;
                the log is as it was.
        """
        member = self.members.get(by) or self.require_member(by, now_ms)
        known = self._by_cid.get((by, cid))
        if known is not None:
            # A body that was erased equals any.
            if known.kind != KIND_MESSAGE or known.body not in {body, None}:
                raise Refused(ErrorCode.CID_CONFLICT, f"this cid sent another body, at seq {known.seq}")
            return Known(known)
        self.require_voice(member, self.at_ms(now_ms))
        for field, seq in (("reply_to", reply_to), ("thread", thread)):
            if seq is not None and not 0 < seq <= self.head_seq:
                raise Refused(ErrorCode.BAD_REQUEST, f"the room has no seq {seq}", field=field)
        kept: str | None = body
        if self.automod is not None and not reviewed:
            self.automod.admit(body, speaker_of(member, standing), self.at_ms(now_ms))
            if self.automod.removed is not None:
                kept = None
        if self.row.slow_s and member.role == "member" and not reviewed:
            self._take_slow_turn(by, now_ms)
        self.head_n += 1
        entry = self._append(
            KIND_MESSAGE,
            by=by,
            name=name,
            now_ms=now_ms,
            cid=cid,
            body=kept,
            reply_to=reply_to,
            thread=thread,
            data=self.roster.mentioned(kept).data() if kept is not None and "@" in kept else None,
        )
        self._by_cid[by, cid] = entry
        return entry

    def order_change(
        self, kind: str, *, by: str, name: str, cid: str | None, body: str | None, data: str, now_ms: int
    ) -> LogEntry:
        """Put a change into the log; `chat.room_changes` has decided that it may be."""
        entry = self._append(kind, by=by, name=name, now_ms=now_ms, cid=cid, body=body, data=data)
        if kind in KINDS_OF_MESSAGES:
            self.facts.record(entry, self.tail)
        if cid is not None:
            self._by_cid[by, cid] = entry
        return entry

    def is_settled(self, seq: int) -> bool:
        """Whether nothing but what is known will become of the event at a seq."""
        return seq <= self.progress.durable_seq and seq not in self.progress.unsettled

    def known(self, by: str, cid: str) -> LogEntry | None:
        """What a `cid` has ordered before, as far as the tail tells."""
        return self._by_cid.get((by, cid))

    def entry_at(self, seq: int) -> LogEntry | None:
        """The entry at a seq, as far as the tail tells."""
        place = seq - (self.head_seq - len(self.tail) + 1)
        return self.tail[place] if 0 <= place < len(self.tail) else None

    def facts_of(self, seq: int, user_id: str, stored: FoldedPage | None) -> MessageFacts | None:
        """A message's present; None: it is older than the tail, and storage has to be asked.

        Args:
            seq: where it is.
            user_id: who asks.
            stored: what storage said.

        Raises:
            Refused: `not_found`: there is no message at this seq.
        """
        try:
            return self.facts.find(seq, self.tail, self.head_seq, user_id, stored)
        except LookupError:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no message at seq {seq}", field="seq") from None

    def _take_slow_turn(self, by: str, now_ms: int) -> None:
        slow_ms = self.row.slow_s * 1000
        sent_ms = self._last_sent_ms
        last_ms = sent_ms.get(by)
        # A wall clock that was set back makes nobody wait for it to catch up.
        if last_ms is not None and 0 <= now_ms - last_ms < slow_ms:
            raise Refused(
                ErrorCode.SLOW_MODE,
                f"this room takes one message per {self.row.slow_s:g} s",
                retry_after_s=(last_ms + slow_ms - now_ms) / 1000,
            )
        # Kept in order of time, also for those who left: who comes back at once has not waited.
        sent_ms.pop(by, None)
        while sent_ms:
            oldest = next(iter(sent_ms))
            if 0 <= now_ms - sent_ms[oldest] < slow_ms:
                break
            del sent_ms[oldest]
        sent_ms[by] = now_ms

    def _append(
        self,
        kind: str,
        *,
        by: str,
        name: str,
        now_ms: int,
        cid: str | None = None,
        body: str | None = None,
        reply_to: int | None = None,
        thread: int | None = None,
        data: str | None = None,
    ) -> LogEntry:
        self._last_at_ms = self.at_ms(now_ms)
        self.head_seq += 1
        entry = LogEntry(
            self.row.room_id,
            self.head_seq,
            self.epoch,
            self._last_at_ms,
            kind,
            by,
            name,
            self.head_n,
            cid,
            body,
            reply_to,
            thread,
            data,
        )
        self.tail.append(entry)
        self._trim()
        return entry

    def _trim(self) -> None:
        """Forget what is stored, was shown and is older than the latest `tail_events`."""
        tail = self.tail
        if len(tail) <= self._tail_events:
            return
        needed_above = self.shown_seq if self.row.strict else self.progress.durable_seq
        while len(tail) > self._tail_events and tail[0].seq <= needed_above:
            old = tail.popleft()
            if old.cid is not None and self._by_cid.get((old.by, old.cid)) is old:
                del self._by_cid[old.by, old.cid]
            self.facts.leave(old)

    def void(self, seq: int) -> None:
        """Take note that the event at `seq` was committed as `void`: it carries nothing, and frees its cid.

        The ordinal `n` of later messages stays, so that it may over-count by one, and never under-counts.
        """
        for index, entry in enumerate(self.tail):
            if entry.seq == seq:
                if entry.cid is not None and self._by_cid.get((entry.by, entry.cid)) is entry:
                    del self._by_cid[entry.by, entry.cid]
                self.tail[index] = entry._replace(
                    kind=KIND_VOID,
                    by="",
                    name="",
                    cid=None,
                    body=None,
                    reply_to=None,
                    thread=None,
                    data=None,
                )
                break
        self.facts.void(seq, self.tail)
        self.shared.void(seq)

    def announce_void(self, seq: int, *, now_ms: int) -> LogEntry:
        """Put the news of a `void` into the log.

        A new entry, not the old seq sent again: a client that was away hears of it by its position.
        """
        return self._append(KIND_VOID, by="", name="", now_ms=now_ms, data=f'{{"of":{seq}}}')

    def unannounced_voids(self) -> Sequence[int]:
        """Seqs in the tail that were committed as `void` just before the last owner died, unannounced."""
        voids = {entry.seq for entry in self.tail if entry.kind == KIND_VOID and entry.data is None}
        if voids:
            announced = {f'{{"of":{seq}}}': seq for seq in voids}
            for entry in self.tail:
                if entry.kind == KIND_VOID and entry.data is not None:
                    voids.discard(announced.get(entry.data.replace(" ", ""), 0))
        return sorted(voids)

    # -- membership ------------------------------------------------------------------------------------

    def admit(self, user_id: str, name: str, now_ms: int) -> MemberRow | None:
        """Make somebody a member at once; None when nothing changed.

        Raises:
            Refused: `banned`, `room_not_found` where joining takes an invitation, `locked`, `room_full`.
        """
        known = self.members.get(user_id)
        if known is not None:
            return None if known.name == name else self.roster.rename(known, name)
        self.require_reader(user_id, now_ms)
        self.require_open()
        self.roster.require_place()
        member = MemberRow(user_id, name, "member", now_ms, self.head_seq)
        self.roster.add(member)
        return member

    def remove(self, user_id: str, now_ms: int) -> MemberRow:
        """End a membership.

        Raises:
            Refused: as `require_member`, and as `Roster.require_may_leave`.
        """
        member = self.require_member(user_id, now_ms)
        self.roster.require_may_leave(user_id)
        self.roster.drop(user_id)
        return member

    def move_read(self, user_id: str, seq: int, now_ms: int) -> int | None:
        """Move a member's read pointer to `seq`; where it is now, None when it was there or further already.

        Raises:
            Refused: as `require_member`; `not_found` for a seq that the room does not show.
        """
        member = self.require_member(user_id, now_ms)
        if seq > self.visible_seq:
            raise Refused(ErrorCode.NOT_FOUND, f"the room has no seq {seq}", field="seq")
        if seq <= member.read_seq:
            return None
        self.roster.move_read(user_id, seq)
        return seq

    # -- catching up -----------------------------------------------------------------------------------

    def catch_up(self, since: tuple[int, int] | None, limit: int) -> CatchUp:
        """What a subscriber needs, decided in one turn so that nothing is missed or doubled."""
        if since is None:
            return CatchUp("fresh", self._latest(limit))
        epoch, seq = since
        if seq == 0:
            return self._after(0, limit)
        keep = self._kept(epoch)
        if keep is None or (seq > keep and epoch == self.epoch):
            # An epoch that never was or is forgotten, or events that this epoch never ordered.
            return CatchUp("reset", self._latest(limit))
        if seq > keep:
            return CatchUp("rewind", self._after(keep, limit).entries, keep)
        return self._after(seq, limit)

    def _kept(self, epoch: int) -> int | None:
        """The last seq of an epoch's log that survived; None when nobody can say."""
        if epoch == self.epoch:
            return self.visible_seq
        if not 0 < epoch < self.epoch:
            return None
        oldest = self._epochs[0]
        if oldest.epoch > epoch + 1 and oldest.head_seq > 0:
            return None
        return next(start.head_seq for start in self._epochs if start.epoch > epoch)

    def _after(self, seq: int, limit: int) -> CatchUp:
        missing = self.visible_seq - seq
        if missing <= 0:
            return CatchUp("tail", ())
        if missing > limit or self.head_seq - seq > len(self.tail):
            return CatchUp("gap", self._latest(limit))
        return CatchUp("tail", self.visible_above(seq))

    def _latest(self, limit: int) -> Sequence[LogEntry]:
        return self.visible_above(max(self.visible_seq - limit, self.head_seq - len(self.tail)))

    def show(self, through_seq: int) -> Sequence[LogEntry]:
        """Let a strict room's subscribers see what is stored up to a seq; what is new to them, in order."""
        shown_seq = self.shown_seq
        if through_seq <= shown_seq:
            return ()
        self.shown_seq = through_seq
        return self.visible_above(shown_seq)

    def visible_above(self, seq: int) -> Sequence[LogEntry]:
        """The tail's entries above a seq that subscribers may see, oldest first, without erased texts.

        Args:
            seq: at or above the tail's start, and at most the head.
        """
        return self.between(seq, self.visible_seq)

    def between(self, seq: int, through_seq: int) -> Sequence[LogEntry]:
        """The tail's entries above a seq and up to another, oldest first, without erased texts.

        Args:
            seq: at or above the tail's start.
            through_seq: at or above `seq`, and at most the head.
        """
        # From the right end: a deque's far side is slow to index.
        entries = list(islice(reversed(self.tail), self.head_seq - through_seq, self.head_seq - seq))
        entries.reverse()
        if self.facts.erased:
            return [entry._replace(body=None) if self._is_erased(entry.seq) else entry for entry in entries]
        return entries

    def _is_erased(self, seq: int) -> bool:
        """Whether a text was deleted for good: a deletion that is not stored yet may still turn out void."""
        deleted_at = self.facts.erased.get(seq)
        return deleted_at is not None and self.is_settled(deleted_at)


def speaker_of(member: MemberRow, standing: Standing) -> Speaker:
    """A member as the rules of automatic moderation see one: they are for those without a say in the room.

    Args:
        member: who.
        standing: what the server knows of the same person.
    """
    return Speaker(
        member.user_id,
        member.joined_at_ms,
        standing.exempt or member.role != "member",
        standing.registered_at_ms,
    )
