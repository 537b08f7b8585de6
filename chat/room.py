"""The room actor: one writer for one room's state. It decides and orders; it never waits in a turn.

What it decides lives in `RoomState`. This shell hands entries to the writer, events to the topic and answers
to sessions, always in that order: what a subscriber sees is already with the writer, so a crash in the
middle of a turn loses nothing.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final, assert_never

import structlog
import trio

from actors import Actor, Crashed, ExitReason
from chat.automod import Filtered
from chat.errors import CloseCode, ErrorCode, Refused
from chat.house import WHERE
from chat.protocol import SERVER_ROOM, Leave, Mod, ok
from chat.receipts import stored
from chat.room_answers import answer_discarded, answer_refused, refuse_all, waiting_for
from chat.room_changes import Done, LookUp, order_change
from chat.room_governance import KINDS as GOVERNING_KINDS
from chat.room_governance import Act, Expire, order_governance
from chat.room_guard import RoomGuard
from chat.room_messages import (
    ApplyRules,
    ChangeRoom,
    GovernRoom,
    InspectRoom,
    JoinRoom,
    KnownGovernance,
    Member,
    Published,
    ReadRoom,
    RoomInfo,
    RoomMessage,
    SendMessage,
    ServerEntry,
    Settled,
    SubscribeRoom,
    UnsubscribeRoom,
    WatchMembers,
)
from chat.room_news import RoomNews, snapshot
from chat.room_page import page_of
from chat.room_rules import SERVER_RANKS
from chat.room_services import RoomServices
from chat.room_state import Known, RoomState
from chat.sanctions import Sanctions
from chat.topic import Topic
from storage.errors import Unavailable
from storage.model import (
    Activation,
    CidConflict,
    Duplicate,
    Entry,
    Fenced,
    LogEntry,
    MemberChange,
    MemberRow,
    Poisoned,
    Receipt,
    RoomId,
    Stored,
)
from storage.writer import Writer

log = structlog.stdlib.get_logger("chat.room")

RETRY_UNAVAILABLE_S: Final = 2.0
"""When to try again while the database is away: a restart takes about a second."""
ACTIVATION_RETRY_S: Final = 0.25
TWINS_MAX: Final = 16
"""Requests that may wait for one message: each is a client that lost its connection and came back."""
RETRY_UNSETTLED_S: Final = 0.5


class Room(Actor[RoomMessage]):
    """One room, from activation to passivation."""

    kind: ClassVar[str] = "room"

    __slots__ = (
        "_absence",
        "_fenced",
        "_found_from",
        "_governed_seq",
        "_guard",
        "_handed_on",
        "_news",
        "_roster",
        "_services",
        "_state",
        "_topic",
        "_writer",
        "name",
    )

    def __init__(self, name: str, services: RoomServices) -> None:
        self.name = name
        self._services = services
        self._state: RoomState | None = None
        self._writer: Writer[object] = services.writers.writer_for(RoomId(0))
        # What presence was last given, kept until somebody comes or goes.
        self._roster: Sequence[MemberRow] | None = None
        self._topic: Topic | None = None
        self._guard = RoomGuard(services.rule_book, services.reviews, services.now_ms)
        self._news = RoomNews(
            name, sessions_of=services.sessions_of, house=services.house, counts=services.counts
        )
        self._absence = (ErrorCode.ROOM_NOT_FOUND, "there is no such room")
        self._handed_on: list[RoomMessage] = []
        self._fenced = False
        # From this seq on the start has looked for voids that nobody was told of.
        self._found_from = 1
        # The last event that governs: what is so already is so by that one at the latest.
        self._governed_seq = 0

    # -- life ------------------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Take the room over: wait for what is still being stored of it, raise the epoch, read the tail.

        With the database away it tries for `activation_s`; then all that waits is answered `unavailable`, and
        the next to ask activates the room anew.
        """
        services = self._services
        activation: Activation | None = None
        self._absence = (ErrorCode.UNAVAILABLE, "the database is away")
        with trio.move_on_after(services.activation_s):
            activation = await self._take_over()
            self._absence = (ErrorCode.ROOM_NOT_FOUND, "there is no such room")
        if activation is None:
            return
        state = RoomState(activation, tail_events=services.tail_events, members_max=services.members_max)
        await self._guard.start(state, activation.rules)
        topic = services.topics.open(self.name, state.row.room_id)
        self._writer = services.writers.writer_for(state.row.room_id)
        self._state = state
        self._topic = topic
        services.counts.rooms_activated += 1
        topic.staff = state.roster.staff()
        if self.name == SERVER_ROOM:
            services.house.sanctions = Sanctions(activation.sanctions, WHERE)
            state.roster.sanctions = services.house.sanctions
        self._catch_topic_up(state, topic)
        self._found_from = state.head_seq + 1 - len(state.tail)
        for seq in state.unannounced_voids():
            self._retract(state, topic, seq)

    async def _take_over(self) -> Activation | None:
        """Become the owner in storage, trying again while the database is away."""
        services = self._services
        topic = services.topics.get(self.name)
        if topic is not None:
            await services.writers.wait_flushed(topic.room_id)
        # Else a pointer that is stored, and answered, a moment after this read would be lower here.
        await services.reads.wait_flushed(self.name)
        while True:
            try:
                return await services.store.activate(
                    self.name, tail_events=services.tail_events, at_ms=services.now_ms()
                )
            except Unavailable:
                await trio.sleep(ACTIVATION_RETRY_S)

    def _catch_topic_up(self, state: RoomState, topic: Topic) -> None:
        """Bring subscribers who lived through a crash to the rebuilt log."""
        if len(topic):
            caught_up = state.catch_up((topic.epoch, topic.last_seq), len(state.tail))
            if caught_up.mode == "tail":
                for entry in caught_up.entries:
                    self._news.publish(topic, entry)
            else:
                # They saw what did not survive, or missed more than the tail holds: resuming tells which.
                for peer in list(topic):
                    peer.end(CloseCode.MOVED, "the room was restarted")
        topic.last_seq = state.visible_seq
        topic.epoch = state.epoch

    async def on_stop(self, reason: ExitReason) -> None:
        """Leave nothing behind: subscribers of a room that ends here must resume elsewhere.

        After a crash they stay: the next life catches them up. A room that is given up for crashing too often
        is `Rooms`' business.
        """
        if self._state is not None:
            self._services.reads.end(self._state.progress)
        if isinstance(reason, Crashed):
            return
        if not self._waits_for_the_database():
            topic = self._services.topics.close(self.name)
            if topic is not None:
                self._services.counts.rooms_passivated += 1
                for peer in list(topic):
                    peer.end(CloseCode.MOVED, "the room moved")
        for message in self._handed_on:
            self._services.successor(self.name, message)

    def _waits_for_the_database(self) -> bool:
        """Whether this life never began, and the next one must find what the last one left.

        By the topic it knows that it has to wait for the writer; without, it would fence what is held.
        """
        topic = self._services.topics.get(self.name)
        if self._state is not None or topic is None or self._absence[0] is not ErrorCode.UNAVAILABLE:
            return False
        return len(topic) > 0 or self._services.writers.pending(topic.room_id) > 0

    def on_idle(self) -> None:
        """Give memory back when nobody listens and everything is stored."""
        state = self._state
        topic = self._topic
        if state is None or topic is None:
            self.passivate()
            return
        if not len(topic) and not self._writer.pending(state.row.room_id):
            self.passivate()

    # -- turns -----------------------------------------------------------------------------------------

    def receive(self, message: RoomMessage) -> None:
        """One message; answers, orders and delivers, and never waits."""
        state = self._state
        topic = self._topic
        if state is None or topic is None:
            self._receive_absent(message)
            return
        try:
            if type(message) is SendMessage:
                self._send(state, topic, message)
            else:
                self._receive_other(state, topic, message)
        except Filtered as filtered:
            refused = self._guard.refuse(state, message, filtered, partial(self._act, state, topic))
            if refused is not None:
                answer_refused(message, refused)
        except Refused as refused:
            answer_refused(message, refused)

    def _receive_other(self, state: RoomState, topic: Topic, message: RoomMessage) -> None:
        match message:
            case SendMessage():
                self._send(state, topic, message)
            case ChangeRoom():
                self._change(state, topic, message)
            case GovernRoom(request=Leave()) if state.row.kind == "public":
                self._leave(state, topic, message)
            case GovernRoom():
                self._govern(state, topic, message)
            case Settled():
                results = message.results
                while results:
                    self._settle(state, topic, *results[0])
                    results.popleft()
            case Published():
                for entry in state.show(message.seq):
                    self._news.publish(topic, entry)
            case JoinRoom():
                self._join(state, topic, message)
            case SubscribeRoom():
                self._require_reader(state, message.peer.user_id, oversees=message.oversees)
                self._subscribe(state, topic, message.peer, message.request_id, message.since, message.limit)
            case UnsubscribeRoom() | ReadRoom() | WatchMembers() | InspectRoom():
                self._serve_reader(state, topic, message)
            case ApplyRules():
                self._guard.apply(state, message)
            case _:
                assert_never(message)

    def _receive_absent(self, message: RoomMessage) -> None:
        """There is no such room, or nobody can say: answer so, and make way for the next to ask."""
        code, text = self._absence
        if code is ErrorCode.ROOM_NOT_FOUND and isinstance(message, JoinRoom) and message.must_exist:
            message.must_exist = False
            self._handed_on.append(message)
        else:
            retry_after_s = RETRY_UNAVAILABLE_S if code.temporary else None
            answer_discarded(message, Refused(code, text, retry_after_s=retry_after_s))
        self.passivate()

    # -- messages --------------------------------------------------------------------------------------

    def _send(self, state: RoomState, topic: Topic, message: SendMessage) -> None:
        services = self._services
        peer = message.peer
        self._require_writer()
        ordered = state.order_message(
            by=peer.user_id,
            name=peer.name,
            cid=message.cid,
            body=message.body,
            reply_to=message.reply_to,
            thread=message.thread,
            now_ms=services.now_ms(),
            reviewed=message.reviewed,
            standing=message.standing,
        )
        if type(ordered) is LogEntry:
            self._writer.submit(ordered, message)
            message.progress = state.progress
            if not state.row.strict:
                self._news.publish(topic, ordered)
            if state.automod is not None:
                self._guard.follow_up(state, message, ordered, partial(self._act, state, topic))
        elif type(ordered) is Known:
            self._send_known(state, message, ordered.entry)

    def _change(self, state: RoomState, topic: Topic, message: ChangeRoom) -> None:
        peer = message.peer
        self._require_writer()
        ordered = order_change(
            state,
            message.request,
            by=peer.user_id,
            name=peer.name,
            now_ms=self._services.now_ms(),
            value=message.value,
            stored=message.stored,
            standing=message.standing,
        )
        match ordered:
            case LogEntry():
                self._writer.submit(ordered, message)
                message.progress = state.progress
                if not state.row.strict:
                    self._news.publish(topic, ordered)
                if state.automod is not None:
                    self._guard.follow_up(state, message, ordered, partial(self._act, state, topic))
            case Known():
                self._send_known(state, message, ordered.entry)
            case Done():
                entry = state.entry_at(ordered.seq)
                if entry is None:
                    peer.reply(ok(message.request_id, seq=ordered.seq, dup=True))
                else:
                    self._send_known(state, message, entry)
            case LookUp():
                peer.look_up(message.request)
            case _:
                assert_never(ordered)

    def _act(self, state: RoomState, topic: Topic, entry: LogEntry) -> None:
        """Store and deliver an act of the server itself."""
        # Beyond the bound: it follows from what was taken, and may not be lost.
        self._writer.submit(entry, ServerEntry(progress=state.progress), beyond_bound=True)
        if not state.row.strict:
            self._news.publish(topic, entry)

    def _send_known(self, state: RoomState, message: SendMessage | ChangeRoom, entry: LogEntry) -> None:
        """Answer what was ordered before: now when it is stored, with the first one otherwise."""
        progress = state.progress
        if entry.seq in progress.unsettled:
            raise Refused(
                ErrorCode.UNAVAILABLE,
                "it is not known yet what became of this message",
                retry_after_s=RETRY_UNSETTLED_S,
            )
        if entry.seq <= progress.durable_seq:
            message.peer.reply(stored(message.request_id, entry, dup=True))
        else:
            twins = progress.twins.setdefault(entry.seq, [])
            if len(twins) >= TWINS_MAX:
                raise Refused(
                    ErrorCode.BUSY, "this message waits to be stored", retry_after_s=RETRY_UNAVAILABLE_S
                )
            twins.append((message.peer, message.request_id))
            message.progress = progress
        self._services.counts.duplicates += 1

    def _require_writer(self) -> None:
        if not self._writer.accepts():
            raise Refused(
                ErrorCode.UNAVAILABLE,
                "messages cannot be stored now",
                retry_after_s=RETRY_UNAVAILABLE_S,
            )

    def _retract(self, state: RoomState, topic: Topic, seq: int) -> None:
        """Tell everybody, also those who are away now, that the event at `seq` did not survive."""
        state.void(seq)
        self._news.forget(seq)
        entry = state.announce_void(seq, now_ms=self._services.now_ms())
        self._act(state, topic, entry)

    def _settle(self, state: RoomState, topic: Topic, entry: Entry, ticket: object, receipt: Receipt) -> None:
        """Act on what became of an entry, where it is more than a message that was stored."""
        match receipt:
            case Stored():
                if isinstance(ticket, JoinRoom):
                    self._join_stored(state, topic, ticket)
                elif isinstance(ticket, GovernRoom):
                    ticket.peer.reply(ok(ticket.request_id, **ticket.fields))
            case Fenced():
                refuse_all(entry, ticket, ErrorCode.UNAVAILABLE, "the room has moved", retry_after_s=0.5)
                # What an earlier life ordered says nothing of this one.
                if not self._fenced and entry.epoch == state.epoch:
                    self._fenced = True
                    log.warning("room.fenced", room=self.name, epoch=entry.epoch)
                    self.stop()
            case Duplicate():
                self._retract_entry(state, topic, entry)
                for peer, request_id in waiting_for(entry, ticket):
                    self._services.counts.duplicates += 1
                    peer.reply(
                        ok(
                            request_id,
                            seq=receipt.seq,
                            epoch=receipt.epoch,
                            at=receipt.at_ms,
                            cid=entry.cid if isinstance(entry, LogEntry) else None,
                            dup=True,
                        )
                    )
            case CidConflict():
                self._retract_entry(state, topic, entry)
                message = f"this cid sent another body, at seq {receipt.seq}"
                refuse_all(entry, ticket, ErrorCode.CID_CONFLICT, message)
            case Poisoned():
                self._retract_entry(state, topic, entry)
                log.error("room.poisoned", room=self.name, kind=type(entry).__name__)
                refuse_all(entry, ticket, ErrorCode.BAD_REQUEST, "the database refuses this for ever")
                if isinstance(entry, LogEntry) and entry.kind in GOVERNING_KINDS:
                    # The room is not what it took itself for: the next life reads what it is.
                    self.stop()
            case _:
                assert_never(receipt)

    def _retract_entry(self, state: RoomState, topic: Topic, entry: Entry) -> None:
        # Of what an earlier epoch committed, this life has looked for the voids in its tail already.
        if isinstance(entry, LogEntry) and (entry.epoch == state.epoch or entry.seq < self._found_from):
            progress = state.progress
            progress.durable_seq = max(progress.durable_seq, entry.seq)
            self._retract(state, topic, entry.seq)
            progress.unsettled.discard(entry.seq)

    # -- members ---------------------------------------------------------------------------------------

    def _join(self, state: RoomState, topic: Topic, message: JoinRoom) -> None:
        peer = message.peer
        self._require_writer()
        now_ms = self._services.now_ms()
        member = state.admit(peer.user_id, peer.name, now_ms)
        if member is None:
            self._joined(state, topic, message)
            return
        self._writer.submit(
            MemberChange(
                state.row.room_id,
                state.epoch,
                member.user_id,
                member.name,
                member.role,
                member.joined_at_ms,
                member.read_seq,
                state.head_n,
            ),
            message,
        )
        message.submitted = True
        self._roster = None
        self._services.presence.members_changed(self.name, joined=(member,), left=())

    def _join_stored(self, state: RoomState, topic: Topic, message: JoinRoom) -> None:
        if message.peer.user_id in state.members:
            self._joined(state, topic, message)
        else:
            message.peer.refuse(
                Refused(ErrorCode.NOT_MEMBER, "the room was left again", request_id=message.request_id)
            )

    def _joined(self, state: RoomState, topic: Topic, message: JoinRoom) -> None:
        self._subscribe(state, topic, message.peer, message.request_id, message.since, message.limit)

    def _leave(self, state: RoomState, topic: Topic, message: GovernRoom) -> None:
        """End a membership of a public room: no event of the log, which would be 50 million deliveries."""
        self._require_writer()
        member = state.remove(message.peer.user_id, self._services.now_ms())
        self._writer.submit(
            MemberChange(
                state.row.room_id,
                state.epoch,
                member.user_id,
                member.name,
                None,
                self._services.now_ms(),
                member.read_seq,
                state.head_n,
            ),
            message,
        )
        message.progress = state.progress
        self._membership_ended(state, topic, member.user_id)

    def _membership_ended(self, state: RoomState, topic: Topic, user_id: str) -> None:
        if user_id in topic.staff:
            topic.staff = state.roster.staff()
        self._roster = None
        self._services.presence.members_changed(self.name, joined=(), left=(user_id,))
        self._end_reading(state, topic, user_id)

    def _end_reading(self, state: RoomState, topic: Topic, user_id: str) -> None:
        for subscriber in [s for s in topic if s.user_id == user_id]:
            topic.discard(subscriber)
        if not state.may_read(user_id, self._services.now_ms()):
            self._services.presence.end_watch(self.name, user_id)

    def _govern(self, state: RoomState, topic: Topic, message: GovernRoom) -> None:
        # Only the server asks for an act, once it has looked at who asks.
        moderates = isinstance(message.request, Mod | Act)
        # A room on fire is moderated by the server's people also while nothing else is taken.
        beyond_bound = moderates and message.actor.server_role in SERVER_RANKS
        if not beyond_bound:
            self._require_writer()
        governed = order_governance(
            state,
            message.request,
            actor=message.actor,
            target=message.target,
            seqs=message.seqs,
            now_ms=self._services.now_ms(),
        )
        entry = governed.entry
        if isinstance(message.request, Mod | Expire):
            message.fields = {**message.fields, "affected": governed.affected}
        if entry is None:
            self._govern_known(state, message)
            return
        if moderates or isinstance(message.request, Expire):
            message.fields = {**message.fields, "audit": f"{self.name}:{entry.seq}"}
        self._writer.submit(entry, message, beyond_bound=beyond_bound)
        message.progress = state.progress
        self._governed_seq = entry.seq
        if message.then is not None:
            message.then()
        if governed.concerns_stranger and self.name != SERVER_ROOM:
            # Who has nothing to do with a room is not to be molested from there.
            self._news.hush(entry.seq)
        if not state.row.strict:
            self._news.publish(topic, entry)
        topic.staff = state.roster.staff()
        if governed.shut_out is not None:
            self._end_reading(state, topic, governed.shut_out)
        if governed.left is not None:
            self._membership_ended(state, topic, governed.left)
        elif governed.joined is not None:
            self._roster = None
            self._services.presence.members_changed(self.name, joined=(governed.joined,), left=())

    def _govern_known(self, state: RoomState, message: GovernRoom) -> None:
        """Answer what is so already: when it is stored that it is so, as with what is sent again early."""
        progress, seq = state.progress, self._governed_seq
        if seq <= progress.durable_seq:
            message.peer.reply(ok(message.request_id, **message.fields))
            return
        twins = progress.twins.setdefault(seq, [])
        if len(twins) >= TWINS_MAX:
            raise Refused(
                ErrorCode.BUSY, "what this room is waits to be stored", retry_after_s=RETRY_UNAVAILABLE_S
            )
        twins.append((KnownGovernance(message), message.request_id))
        message.progress = progress

    # -- readers ---------------------------------------------------------------------------------------

    def _require_reader(self, state: RoomState, user_id: str, *, oversees: bool) -> None:
        """As `RoomState.require_reader`; the server's people read every room."""
        if not oversees:
            state.require_reader(user_id, self._services.now_ms())

    def _subscribe(
        self,
        state: RoomState,
        topic: Topic,
        peer: Member,
        request_id: int,
        since: tuple[int, int] | None,
        limit: int,
    ) -> None:
        if peer.is_closed:
            return
        caught_up = state.catch_up(since, limit)
        if caught_up.mode == "gap":
            self._services.counts.gaps += 1
        elif caught_up.mode == "rewind":
            self._services.counts.rewinds += 1
        else:
            self._services.counts.tail_hits += 1
        fields: dict[str, object] = {
            "room": state.row.name,
            "epoch": state.epoch,
            "head": state.visible_seq,
            "durable": min(state.progress.durable_seq, state.visible_seq),
            "mode": caught_up.mode,
        }
        if caught_up.keep is not None:
            fields["keep"] = caught_up.keep
        fields["snapshot"] = snapshot(state, peer.user_id)
        peer.reply_events(
            ok(request_id, **fields), self._news.encoded(state, caught_up.entries, peer.encoding_index)
        )
        topic.add(peer)

    def _serve_reader(
        self,
        state: RoomState,
        topic: Topic,
        message: UnsubscribeRoom | ReadRoom | WatchMembers | InspectRoom,
    ) -> None:
        match message:
            case UnsubscribeRoom():
                topic.discard(message.peer)
                message.peer.reply(ok(message.request_id, room=self.name))
            case ReadRoom():
                self._read(state, topic, message)
            case WatchMembers():
                self._watch(state, message)
            case InspectRoom():
                self._inspect(state, message)
            case _:
                assert_never(message)

    def _read(self, state: RoomState, topic: Topic, message: ReadRoom) -> None:
        """Move a pointer, tell of it at once, and have it stored, for which the answer waits.

        Also a pointer that does not move is stored: it may be one whose storing failed.
        """
        user_id = message.peer.user_id
        reads = self._services.reads
        reads.require_place(state.row.room_id, user_id)
        if state.move_read(user_id, message.seq, self._services.now_ms()) is not None:
            self._news.tell_read(state, topic, user_id)
        seq = state.members[user_id].read_seq
        # Last: from here on the worker answers.
        reads.submit(self.name, state.row.room_id, seq, state.progress, message.peer, message.request_id)

    def _watch(self, state: RoomState, message: WatchMembers) -> None:
        state.require_reader(message.peer.user_id, self._services.now_ms())
        if self._roster is None:
            self._roster = tuple(state.members.values())
        self._services.presence.watch_room(
            message.peer,
            message.request_id,
            self.name,
            epoch=state.epoch,
            roster=self._roster,
            cursor=message.cursor,
            limit=message.limit,
        )

    def _inspect(self, state: RoomState, message: InspectRoom) -> None:
        try:
            self._require_reader(state, message.user_id, oversees=message.oversees)
        except Refused as refused:
            message.reply.fail(refused)
            return
        message.reply.set(
            RoomInfo(
                row=state.row,
                epoch=state.epoch,
                head_seq=state.visible_seq,
                head_n=state.head_n,
                durable_seq=state.progress.durable_seq,
                members=len(state.members),
                role=state.roster.role_of(message.user_id),
                page=None if message.page is None else page_of(state, message.page),
            )
        )
