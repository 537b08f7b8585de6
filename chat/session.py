"""The session actor: one connection's requests, in order, and the answers to them.

Most requests need no waiting: their turn runs in the reader's own call, from bytes to the room's mailbox.
What has to wait goes into one of the session's two mailboxes, each emptied by a worker of its own
(`SessionDesk` does the waiting): one for what decides the order (a `hello`, a re-sent message), behind which
all that follows waits too, and one for what does not (a page of history), which delays nothing but its like.
A full mailbox stops the reading of this connection, so that back-pressure reaches the sender's TCP and delays
nobody else.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio

from actors import ActorDied, ActorUnavailable, MailboxFull, TooManyActors
from chat.answer_size import fitting
from chat.auth import Principal
from chat.automod import UNKNOWN, Standing
from chat.codec import Codec
from chat.errors import CloseCode, ErrorCode, Refused, Undecodable
from chat.protocol import AnyRequest, Change, Envelope, Hello, Send, Status, bye, check_body, error
from chat.room_messages import RoomMessage, SendMessage
from chat.room_rules import SERVER_RANKS
from chat.session_line import Waiting, WaitingLine, decides_order
from chat.session_requests import perform, perform_change
from chat.session_services import SessionServices
from chat.session_state import Phase, SessionState, rate_refusal
from chat.subscriptions import Subscriptions
from chat.transport import CloseCause, ConnectionStream, Outbox, build_frame

log = structlog.stdlib.get_logger("chat.session")

BUSY_RETRY_S: Final = 0.25
"""When a full room may have emptied: some turns."""
ANSWERS_AT_ONCE: Final = 8
"""Subscriptions under way at a time; together with what is queued their answers fit into the outbox."""
ANSWER_SHARE: Final = 16
"""The part of the outbox that the answer to one of them may take."""
QUEUED_SHARE: Final = 4
"""The part of the outbox above which nothing long is added: so much of a page of history fits, too."""
AGAIN_S: Final = 10.0
"""For another hello, when the server could not check the last one and said when to try again."""
TIMED_ONE_IN: Final = 8
"""Messages of which the time to their `ok` is measured: measuring every one costs more than counting it."""


def _no_worker(_line: WaitingLine) -> None:
    raise RuntimeError("the gateway has not set start_worker")


class Session:
    """One connection, from the upgrade to its end.

    Attributes:
        session_id: unique among this process's sessions.
        answer_max_bytes: what one answer may take of the outbox.
        principal: who it is, once welcomed.
        status: what it last said of its availability.
        ended_with: why and how the server closes it; None while it is open or when the peer left first.
        hello_due_s: when it must have said hello; later, once a hello failed for no fault of the client's.
        spread: a factor about 1 for this session's times.
        look_at_s: when the heartbeat has to look at it next; 0.0: at once.
        ping_due_s: when an unanswered ping ends it; None: none is under way.
        services: what it shares with every other session.
        scope: the gateway's loop for this connection, cancelled when the session ends.
        start_worker: have `work` run for a mailbox in a task that ends with the connection; the gateway's.
        expires_at_ms: when the right to be here ends, wall clock; None: not by time.
        standing: what rules of automatic moderation are to know of the user.
        token_hash: of the registered user's token that it came with; None: it is a guest's, or another's.
    """

    __slots__ = (
        "_aside",
        "_codec",
        "_counted",
        "_detached",
        "_is_text",
        "_line",
        "_rooms",
        "_uncrowded",
        "answer_max_bytes",
        "encoding_index",
        "ended_with",
        "expires_at_ms",
        "hello_due_s",
        "look_at_s",
        "name",
        "outbox",
        "ping_due_s",
        "principal",
        "scope",
        "services",
        "session_id",
        "spread",
        "standing",
        "start_worker",
        "state",
        "status",
        "status_text",
        "stream",
        "token_hash",
        "user_id",
    )

    def __init__(
        self,
        session_id: str,
        stream: ConnectionStream,
        codec: Codec,
        services: SessionServices,
        *,
        hello_due_s: float,
        spread: float,
    ) -> None:
        self.session_id = session_id
        self.stream = stream
        self.outbox: Outbox = stream.outbox
        self.encoding_index = codec.index
        self.answer_max_bytes = stream.outbox.limit_bytes // QUEUED_SHARE
        self.state = SessionState(services.limits)
        self.principal: Principal | None = None
        self.user_id = ""
        self.name = ""
        self.status: Status = "online"
        self.status_text: str | None = None
        self.ended_with: tuple[CloseCode, str] | None = None
        self.hello_due_s = hello_due_s
        self.spread = spread
        self.look_at_s = 0.0
        self.ping_due_s: float | None = None
        self.expires_at_ms: int | None = None
        self.token_hash: bytes | None = None
        self.standing = UNKNOWN
        self.scope = trio.CancelScope()
        self.start_worker: Callable[[WaitingLine], None] = _no_worker
        self._codec = codec
        self._is_text = codec.is_text
        self.services = services
        self._counted = False
        # Made when first needed and dropped when empty: most of 10,000 connections wait for nothing.
        self._line: WaitingLine | None = None
        self._aside: WaitingLine | None = None
        self._rooms = Subscriptions(self.receives)
        self._uncrowded: trio.Event | None = None
        self._detached = False

    # -- as rooms and presence see it ------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether nothing reaches the client any more."""
        return self.state.phase is Phase.CLOSING

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read because a mailbox is full."""
        return any(line is not None and line.paused for line in (self._line, self._aside))

    def reply(self, envelope: Envelope) -> None:
        """Queue an envelope for this connection alone."""
        self.outbox.push(build_frame(self._codec.encode(envelope), text=self._is_text))

    def reply_events(self, envelope: Envelope, events: Sequence[bytes]) -> None:
        """Queue the answer to a subscription; its last field lists events that are encoded already.

        The oldest are left out, and a `tail` becomes a `gap`, where they would fill the outbox.

        Args:
            envelope: `ok` with what `asking` gave for an id, which is replaced by the client's.
            events: the last field.
        """
        request_id = self._rooms.stands(envelope["id"])
        if request_id is None:
            # The session has ended, and forgot what it had asked for.
            return
        envelope = {**envelope, "id": request_id}
        if events:
            max_bytes = self.answer_max_bytes * QUEUED_SHARE // ANSWER_SHARE
            places = fitting(events, len(events) - 1, max_bytes)
            if places.start:
                events = events[places.start :]
                if envelope["mode"] == "tail":
                    envelope = {**envelope, "mode": "gap"}
        self.reply_listing(envelope, "events", events)
        self._wake_uncrowded()

    def reply_listing(self, envelope: Envelope, field: str, items: Sequence[bytes]) -> None:
        """Queue an answer whose last field lists items that are encoded already."""
        self.outbox.push(build_frame(self._codec.encode_listing(envelope, field, items), text=self._is_text))

    def look_up(self, request: Change) -> None:
        """Have the desk ask storage for a message that the room does not remember, and the room once more.

        Raises:
            Refused: `busy`: too much waits already.
        """
        if not self._detached and not self._open_aside().put_if_spare(request):
            raise Refused(ErrorCode.BUSY, "too many requests wait", retry_after_s=BUSY_RETRY_S)

    def encode(self, envelope: Envelope) -> bytes:
        """An envelope in this connection's encoding."""
        return self._codec.encode(envelope)

    def push_ephemeral(self, frame: bytes) -> bool:
        """Queue a frame that may be shed; False when it was."""
        return self.outbox.push(frame, ephemeral=True)

    def refuse(self, refused: Refused) -> None:
        """Answer a request, or a frame, with an error."""
        self.services.refused[refused.code] += 1
        refused.request_id = self._rooms.refused(refused.request_id)
        if refused.code is ErrorCode.ROOM_NOT_FOUND:
            self.state.count_miss(self.services.clock())
        self.reply(error(refused))
        self._wake_uncrowded()

    def receives(self, room: str) -> bool:
        """Whether a room's topic delivers to this connection now."""
        topic = self.services.topics.get(room)
        return topic is not None and self in topic

    def _wake_uncrowded(self) -> None:
        if self._uncrowded is not None:
            self._uncrowded.set()
            self._uncrowded = None

    @property
    def crowded(self) -> bool:
        """Whether another long answer might not fit into the outbox."""
        return self._rooms.asked >= ANSWERS_AT_ONCE or self.outbox.queued_bytes > self.answer_max_bytes

    async def wait_uncrowded(self) -> None:
        """Wait until a long answer fits: the client has read what was queued, and rooms have answered.

        Ends at the latest with the session, which the flusher ends when the client reads nothing.
        """
        while self.crowded and not self._detached:
            if self.outbox.queued_bytes > self.answer_max_bytes:
                await self.outbox.wait_sent()
            else:
                if self._uncrowded is None:
                    self._uncrowded = trio.Event()
                await self._uncrowded.wait()

    def end(self, code: CloseCode, reason: str, retry_after_s: float | None = None) -> None:
        """Close from the server's side: say `bye`, leave routing now; the gateway does the rest."""
        if self._detached:
            return
        self.ended_with = (code, reason)
        self.reply(bye(code, reason, retry_after_s))
        self.stream.discard_messages()
        self.detach(clean=code is CloseCode.NORMAL)

    def quiesce(self) -> None:
        """Read no more requests; what was taken is still answered. For a server that stops."""
        self.stream.discard_messages()

    # -- the transport's callbacks ---------------------------------------------------------------------

    def on_frame(self, payload: bytes, is_text: bool) -> bool:  # noqa: FBT001  the transport's signature
        """Take one message from the client; False when nothing more may come for now.

        Never raises: what goes wrong here ends this session alone, with 4001.
        """
        if self._detached:
            return True
        try:
            return self._take(payload, is_text=is_text)
        except Exception:
            log.exception("session.crashed", session=self.session_id)
            self.end(CloseCode.INTERNAL, "internal error", 1.0)
            return True

    def on_too_large(self, size_bytes: int) -> None:
        """A frame above the limit is coming: it is not read."""
        refused = Refused(ErrorCode.TOO_LARGE, f"a frame of {size_bytes} bytes is too large")
        self.refuse(refused)
        self.end(CloseCode.TOO_LARGE, refused.message)

    def on_control(self, opcode: int) -> None:
        """A frame came that is no whole message (control, fragment): it counts, and a flood ends it all."""
        del opcode
        now_s = self.services.clock()
        if not self._detached and self.state.count_frame(now_s) and self.state.abusive(now_s):
            self.end(CloseCode.ABUSIVE_RATE, "too many frames for too long")

    def on_overflow(self) -> None:
        """The client does not read what it subscribed to."""
        if not self._detached:
            self.services.counts.slow_consumers += 1
            self.ended_with = (CloseCode.SLOW_CONSUMER, "too slow: resume by position")
            self.detach(clean=False)

    def on_transport_closed(self, cause: CloseCause) -> None:
        """The connection is gone."""
        # Closed here without our asking: trio-websocket has answered the client's close frame.
        self.detach(clean=cause is CloseCause.LOCAL)

    # -- turns -----------------------------------------------------------------------------------------

    def _take(self, payload: bytes, *, is_text: bool) -> bool:
        self.services.counts.frames_in += 1
        now_s = self.services.clock()
        wait_s = self.state.count_frame(now_s)
        request: AnyRequest | None = None
        try:
            request = self._codec.decode(payload, is_text=is_text)
            if wait_s:
                raise rate_refusal(wait_s, request.id)
            if self._line is not None and self._line.orders:
                return self._wait_in_line(request, admitted=False)
            if self.perform(request, now_s):
                return True
            return self._wait_in_line(request, admitted=True)
        except Refused as refused:
            if refused.request_id is None and request is not None:
                refused.request_id = request.id
            self.refuse(refused)
            if wait_s and self.state.abusive(now_s):
                self.end(CloseCode.ABUSIVE_RATE, "too many frames for too long")
        except Undecodable as undecodable:
            self.services.counts.bad_frames += 1
            self.refuse(Refused(ErrorCode.BAD_REQUEST, str(undecodable)))
            if self.state.count_undecodable():
                self.end(CloseCode.BAD_FRAMES, "too many frames that are no envelopes")
        return True

    def perform(self, request: AnyRequest, now_s: float) -> bool:
        """Do a request whose turn it is; False when it has to wait for something (`SessionDesk.finish`).

        Raises:
            Refused: to be answered, with the request's id.
        """
        self.state.admit(request, now_s)
        if type(request) is Send:
            return self._perform_send(request, now_s)
        # Before all others, for there are as many as of messages.
        if isinstance(request, Change):
            return perform_change(self, request)
        return perform(self, request)

    def _perform_send(self, request: Send, now_s: float) -> bool:
        check_body(request.body, request_id=request.id, max_bytes=self.services.body_max_bytes)
        if "\0" in request.cid:
            raise Refused(ErrorCode.BAD_REQUEST, "the cid holds a NUL character", field="cid")
        wait_s = self.services.ledger.take_send(self.user_id, request.room, now_s)
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "too many messages to this room", retry_after_s=wait_s)
        if request.retry:
            return False
        self.services.house.require_voice(self.user_id)
        self.send_message(request, now_s)
        return True

    def send_message(self, request: Send, arrived_s: float | None = None) -> None:
        """Put a message into its room's mailbox.

        Args:
            request: the message.
            arrived_s: when it came, on the services' clock; None: not to be timed.

        Raises:
            Refused: `busy`, `overloaded` or `unavailable`.
        """
        message = SendMessage(
            self,
            request.id,
            request.cid,
            request.body,
            request.reply_to,
            request.thread,
            standing=self.standing,
        )
        self.tell_room(request.room, message)
        counts = self.services.counts
        if not counts.sends % TIMED_ONE_IN:
            message.arrived_s = arrived_s
        counts.sends += 1
        self.services.presence.sent(request.room, self.user_id)

    def tell_room(self, room: str, message: RoomMessage, *, control: bool = False) -> None:
        """Put a message into a room's mailbox, its reserve included where it is for `control`.

        Raises:
            Refused: `busy`, `overloaded` or `unavailable`, each with the time to wait; `rate_limited` after
                too many rooms that do not exist, except for those that the session receives.
        """
        state = self.state
        if state.owes:
            wait_s = state.owed_s(self.services.clock())
            if wait_s and not self.receives(room):
                raise Refused(
                    ErrorCode.RATE_LIMITED, "too many rooms that do not exist", retry_after_s=wait_s
                )
        try:
            self.services.rooms.tell(room, message, control=control)
        except MailboxFull:
            raise Refused(ErrorCode.BUSY, "the room is busy", retry_after_s=BUSY_RETRY_S) from None
        except TooManyActors:
            raise Refused(ErrorCode.OVERLOADED, "too many rooms are active", retry_after_s=5.0) from None
        except (ActorUnavailable, ActorDied) as exc:
            # A room that has died: the server is stopping, and its mailbox is closed already.
            retry_after_s = (exc.retry_after_s if isinstance(exc, ActorUnavailable) else None) or 1.0
            message_text = "the room is not available now"
            raise Refused(ErrorCode.UNAVAILABLE, message_text, retry_after_s=retry_after_s) from None

    def require_place(self, room: str) -> None:
        """Find out whether the session may receive one more room, this one.

        Raises:
            Refused: `forbidden` at the limit.
        """
        if not self._rooms.has_place(room, self.state.subscriptions_max):
            raise self._no_place()

    def asking(self, room: str, request_id: int) -> int:
        """Count a subscription that is about to be asked for; what the room is to answer instead of the id.

        A room that was asked for before answers all its events again: that counts as a list.

        Raises:
            Refused: `forbidden` at the limit; `rate_limited`.
        """
        if room in self._rooms:
            self.state.count_list(self.services.clock(), request_id)
        ticket = self._rooms.ask(room, request_id, self.state.subscriptions_max)
        if ticket is None:
            raise self._no_place()
        return ticket

    def not_asked(self, ticket: int) -> None:
        """Take back what `asking` counted: the room was not told."""
        self._rooms.refused(ticket)
        self._wake_uncrowded()

    def leaving(self, room: str, request_id: int) -> None:
        """Count a subscription out that the room was asked to end."""
        self._rooms.leave(room, request_id)

    def _no_place(self) -> Refused:
        limit = self.state.subscriptions_max
        return Refused(ErrorCode.FORBIDDEN, f"a connection subscribes to {limit} rooms at most")

    # -- waiting in line -------------------------------------------------------------------------------

    def _wait_in_line(self, request: AnyRequest, *, admitted: bool) -> bool:
        """Put a request into its mailbox; False when the next one would not fit."""
        if admitted and not decides_order(request):
            return self._open_aside().put(request, admitted=True)
        line = self._line
        if line is None:
            line = self._line = WaitingLine(self.services.mailbox_capacity)
            self.start_worker(line)
        return line.put(request, admitted=admitted)

    def _open_aside(self) -> WaitingLine:
        line = self._aside
        if line is None:
            line = self._aside = WaitingLine(self.services.mailbox_capacity)
            self.start_worker(line)
        return line

    async def wait_resumed(self) -> None:
        """Wait until every mailbox has room again, or the session has ended."""
        for line in (self._line, self._aside):
            if line is not None:
                await line.wait_resumed()

    async def work(
        self, line: WaitingLine, finish: Callable[["Session", AnyRequest], Awaitable[None]]
    ) -> None:
        """Empty a mailbox, one request after the other; ends when it is empty, or with the session.

        Args:
            line: the one that `start_worker` was given.
            finish: does what a request has to wait for; bounded in time; raises `Refused`.
        """
        try:
            while not self._detached:
                batch = line.take()
                if not batch:
                    return
                for waiting in batch:
                    await self._serve(waiting, finish)
                    line.served(waiting)
                if line.resume() and not self.is_paused:
                    self.stream.resume_reading()
        finally:
            # Nothing waits any more, or nobody is there to be answered.
            if line is self._line:
                self._line = None
            else:
                self._aside = None

    async def _serve(
        self, waiting: Waiting, finish: Callable[["Session", AnyRequest], Awaitable[None]]
    ) -> None:
        request = waiting.request
        if self._detached:
            return
        try:
            if not waiting.admitted:
                if self.perform(request, self.services.clock()):
                    return
                if not decides_order(request) and self._open_aside().put_if_spare(request):
                    return
            await finish(self, request)
        except Refused as refused:
            if refused.request_id is None:
                refused.request_id = request.id
            if isinstance(request, Hello) and refused.code.temporary:
                again_s = (refused.retry_after_s or 0.0) + AGAIN_S
                self.hello_due_s = max(self.hello_due_s, self.services.clock() + again_s)
            self.refuse(refused)
        except Exception:
            log.exception("session.crashed", session=self.session_id)
            self.end(CloseCode.INTERNAL, "internal error", 1.0)

    # -- the end ---------------------------------------------------------------------------------------

    def greet(self, principal: Principal, expires_at_ms: int | None, token_hash: bytes | None = None) -> None:
        """Count the session in under its user.

        Raises:
            Refused: `forbidden`: the user has too many sessions.
        """
        self.services.ledger.open_session(principal.user_id, self)
        self._counted = True
        self.principal = principal
        self.standing = Standing(principal.role in SERVER_RANKS, principal.registered_at_ms)
        self.user_id = principal.user_id
        self.name = principal.name
        self.expires_at_ms = expires_at_ms
        self.look_at_s = 0.0
        self.token_hash = token_hash

    def detach(self, *, clean: bool) -> None:
        """Leave routing, so that nobody delivers to what is gone; slow work comes later. Idempotent.

        Args:
            clean: whether the user meant to go, rather than lost the connection.
        """
        if self._detached:
            return
        self._detached = True
        self.state.phase = Phase.CLOSING
        topics = self.services.topics
        for room in self._rooms:
            topic = topics.get(room)
            if topic is not None:
                topic.discard(self)
        self._rooms.clear()
        if self._counted:
            self._counted = False
            self.services.ledger.close_session(self.user_id, self)
            self.services.presence.session_closed(self, clean=clean)
        for line in (self._line, self._aside):
            if line is not None:
                line.close()
        self._wake_uncrowded()
        self.scope.cancel()
