"""The presence actor of a node: the one writer of who is here, who watches whom, and who is typing.

What it decides lives in `PresenceState` and `TypingState`; this shell answers sessions, delivers diffs and
keeps one alarm. One actor for the node, and why: docs/adr/0006-presence-ownership.md.

The wire (docs/protocol.md 3-4), as this file speaks it:
- `ok` to `watch` carries `presence[]` (`user, name?, status, text?, since?`), `version`, and for a room also
  `room`, `counts{online, away, dnd, total}` and `next?`. A new `watch` of a room replaces the page that the
  session watched; `watch{users}` adds to the users that it watches.
- `presence{room?, changes[], counts?, next?, version}`: without `room`, the users watched by id, and always
  the session's own user, as it truly is. `changes` are items; with `joined: true` for a new member of the
  page; `{user, left: true}` for one that is not on it any more. `version` is the one before plus one (the
  first one without `room` is 2). Any other version means that something was lost: watch again. The server
  says so by itself with `version: 0` and no changes: when a diff of that room (or, without `room`, of the
  users watched by id) was shed, and, with `all: true`, when presence lost every watch in a crash.
- `typing{room, users[<=5], count}`: `users` are `{user, name}`, in the order they began.
"""

from typing import ClassVar, Final, assert_never

import trio

from actors import Actor, Batch, ExitReason
from chat.errors import ErrorCode, Refused
from chat.peers import Broadcast, Peer
from chat.presence_messages import (
    EndWatch,
    MembersChanged,
    MessageSent,
    PresenceMessage,
    SessionClosed,
    SessionOpened,
    SetPressure,
    SetStatus,
    Tick,
    Typing,
    Unwatch,
    WatchRoom,
    WatchUsers,
    refuse,
)
from chat.presence_pages import Delta
from chat.presence_services import PresenceServices
from chat.presence_state import PresenceState, Snapshot
from chat.presence_users import SessionId
from chat.protocol import Envelope, Status, ok
from chat.typing_state import TypingShown, TypingState, Typist

TURN_STEPS: Final = 1500
"""After so many the others get their turn, about 2 ms: see `PresenceState.take_steps`."""
MESSAGE_STEPS: Final = 3
"""What a message costs besides: 5 us."""
RETRY_S: Final = 1.0


class Overflowed(Exception):
    """Something that must not be lost found no room in the mailbox: begin again from the sessions."""


class Presence(Actor[PresenceMessage]):
    """The actor. Never waits in a turn; a crash loses the watches, and says so to those who watched."""

    kind: ClassVar[str] = "presence"

    __slots__ = (
        "_at_ms",
        "_now",
        "_overflowed",
        "_peers",
        "_services",
        "_stale",
        "_state",
        "_statistics",
        "_typing",
    )

    def __init__(self, services: PresenceServices) -> None:
        self._services = services
        self._now = 0.0
        self._at_ms = 0
        self._overflowed = False  # whether this life began because something was lost
        self._statistics = services.statistics
        self._state = PresenceState(services.presence_limits, services.hidden)
        self._typing = TypingState(services.typing_limits)
        self._peers: dict[SessionId, Peer] = {}
        # Watches of which a diff was shed, and the watcher was told so and has not got a later one.
        self._stale: set[tuple[SessionId, str | None]] = set()

    async def on_start(self) -> None:
        """Begin with the sessions that are open; those of a life before are told that their watches ended."""
        services = self._services
        self._now = trio.current_time()
        self._at_ms = services.now_ms()
        again = self._statistics.lives > 0
        self._statistics.lives += 1
        self._overflowed = services.overflowed
        services.overflowed = False
        services.typing_rooms.clear()
        hidden = frozenset(services.hidden)
        services.hidden.clear()
        for opened in services.sessions():
            status = "invisible" if opened.peer.user_id in hidden else opened.status
            self._open(opened.peer, status, opened.text)
            if again:
                opened.peer.reply({"t": "presence", "all": True, "changes": (), "version": 0})
        services.alarm.set(self._next_deadline())

    def on_batch(self, batch: Batch[PresenceMessage]) -> None:
        """Work on what waits, then on what is due, once.

        Raises:
            Overflowed: the port lost something; crashes this life.
        """
        services = self._services
        if services.overflowed:
            raise Overflowed
        self._now = trio.current_time()
        self._at_ms = services.now_ms()
        state = self._state
        left = TURN_STEPS
        for message in batch:
            self.receive(message)
            left -= MESSAGE_STEPS + state.take_steps()
            if left <= 0:
                break
        self._advance(self._now, self._at_ms)
        self._go_on(left)
        more = state.busy or services.waiting.next is not None
        services.alarm.set(self._now if more else self._next_deadline())

    async def on_stop(self, reason: ExitReason) -> None:
        """Answer those who wait for a large room: a next life, if there is one, knows nothing of it."""
        del reason
        for message in self._services.waiting.clear():
            refuse(message, Refused(ErrorCode.UNAVAILABLE, "presence was restarted", retry_after_s=RETRY_S))

    def receive(self, message: PresenceMessage) -> None:
        """Work on one message, as of the time at which its batch began."""
        state, now, at_ms = self._state, self._now, self._at_ms
        try:
            match message:
                case SessionOpened():
                    # Its end may be among what was lost: it must not become a ghost.
                    if not (self._overflowed and message.peer.is_closed):
                        self._open(message.peer, message.status, message.text)
                case SessionClosed():
                    self._close(message, now, at_ms)
                case SetStatus():
                    peer = message.peer
                    state.say(peer.session_id, message.status, message.text, now=now, at_ms=at_ms)
                    peer.reply(ok(message.request_id))
                case WatchRoom() | WatchUsers() | Unwatch() | EndWatch():
                    self._watch(message, now)
                case MembersChanged():
                    state.members_changed(message.room, message.joined, message.left, now=now)
                case Typing():
                    self._type(message, now)
                case MessageSent():
                    self._typing.sent(message.room, message.user_id, now=now)
                    self._forget_quiet(message.room)
                case SetPressure():
                    state.set_level(message.level)
                case Tick():
                    pass
                case _:
                    assert_never(message)
        except Refused as refused:
            refuse(message, refused)
        for user_id in state.take_hidden():
            self._typing.silence(user_id, now=now)

    def _open(self, peer: Peer, status: Status, text: str | None) -> None:
        self._peers[peer.session_id] = peer
        self._state.open(
            peer.session_id, peer.user_id, peer.name, status, text, now=self._now, at_ms=self._at_ms
        )

    def _close(self, message: SessionClosed, now: float, at_ms: int) -> None:
        session_id = message.peer.session_id
        if self._peers.pop(session_id, None) is None:
            return
        self._typing.end_session(session_id, message.peer.user_id, now=now)
        self._state.close(session_id, clean=message.clean, now=now, at_ms=at_ms)
        if self._stale:
            self._stale = {stale for stale in self._stale if stale[0] != session_id}

    def _go_on(self, left: int) -> None:
        """Do a turn's worth of what is too long for one, then answer those who waited for it."""
        state = self._state
        waiting = self._services.waiting
        if state.busy:
            for room in state.work(now=self._now):
                waiting.open(room)
        left -= state.take_steps()
        # One in any case: a full mailbox must not keep them waiting for ever.
        while (message := waiting.next) is not None:
            try:
                self._show_room(message)
            except Refused as refused:
                refuse(message, refused)
            waiting.pop()
            left -= MESSAGE_STEPS + state.take_steps()
            if left <= 0:
                break

    def _watch(self, message: WatchRoom | WatchUsers | Unwatch | EndWatch, now: float) -> None:
        match message:
            case WatchRoom():
                self._watch_room(message, now)
            case WatchUsers():
                session_id = message.peer.session_id
                snapshot = self._state.watch_users(session_id, message.users)
                self._stale.discard((session_id, None))
                message.peer.reply(_watched(message.request_id, None, snapshot))
            case Unwatch():
                self._unwatch(message, now)
            case EndWatch():
                self._end_watch(message, now)
            case _:
                assert_never(message)

    def _watch_room(self, message: WatchRoom, now: float) -> None:
        waiting = self._services.waiting
        ready = self._state.open_room(
            message.peer.session_id,
            message.room,
            epoch=message.epoch,
            roster=message.roster,
            cursor=message.cursor,
            now=now,
        )
        if not ready:
            waiting.hold(message.room)
        # Behind those who wait, so that of two pages that one session asks for the later one counts.
        if ready and message.room not in waiting:
            self._show_room(message)
        else:
            waiting.add(message)

    def _show_room(self, message: WatchRoom) -> None:
        session_id = message.peer.session_id
        snapshot = self._state.watch_room(
            session_id, message.room, cursor=message.cursor, limit=message.limit
        )
        self._stale.discard((session_id, message.room))
        message.peer.reply(_watched(message.request_id, message.room, snapshot))

    def _unwatch(self, message: Unwatch, now: float) -> None:
        session_id = message.peer.session_id
        if message.room is not None:
            for waiting in self._services.waiting.withdraw(message.room, session_id=session_id):
                refuse(waiting, Refused(ErrorCode.CONFLICT, "unwatched before it could be shown"))
            self._state.unwatch_room(session_id, message.room, now=now)
            self._stale.discard((session_id, message.room))
        if message.users:
            self._state.unwatch_users(session_id, message.users)
        if message.request_id is not None:
            message.peer.reply(ok(message.request_id))

    def _end_watch(self, message: EndWatch, now: float) -> None:
        for waiting in self._services.waiting.withdraw(message.room, user_id=message.user_id):
            refuse(waiting, Refused(ErrorCode.NOT_MEMBER, "you have left the room"))
        for session_id in self._state.end_watch(message.room, message.user_id, now=now):
            self._stale.discard((session_id, message.room))

    def _type(self, message: Typing, now: float) -> None:
        peer = message.peer
        session_id = peer.session_id
        if message.stop:
            self._typing.stop(message.room, session_id, peer.user_id, now=now)
        elif session_id in self._peers and not self._state.is_hidden(peer.user_id):
            # Who is invisible is not shown as typing: a name there would tell what the status hides.
            topic = self._services.topics.get(message.room)
            if topic is not None:
                self._services.typing_rooms.add(message.room)
                self._typing.start(
                    message.room, session_id, Typist(peer.user_id, peer.name), watchers=len(topic), now=now
                )
        self._forget_quiet(message.room)
        if message.request_id is not None:
            limits = self._services.typing_limits
            is_told = self._watchers_of(message.room) <= limits.watchers_max
            peer.reply(ok(message.request_id, **({} if is_told else {"quiet": limits.quiet_s})))

    def _forget_quiet(self, room: str) -> None:
        if not self._typing.is_active(room):
            self._services.typing_rooms.discard(room)

    def _next_deadline(self) -> float | None:
        first = self._state.next_deadline()
        second = self._typing.next_deadline()
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    def _advance(self, now: float, at_ms: int) -> None:
        for delta in self._state.advance(now=now, at_ms=at_ms):
            self._deliver(delta)
        for user_id in self._state.take_hidden():
            self._typing.silence(user_id, now=now)
        for shown in self._typing.advance(now=now, watchers_of=self._watchers_of):
            self._tell_typing(shown)

    def _deliver(self, delta: Delta) -> None:
        message = Broadcast(_as_diff(delta))
        peers = self._peers
        statistics = self._statistics
        statistics.diffs += 1
        stale = self._stale
        room = delta.room
        for session_id in delta.watchers:
            peer = peers[session_id]
            if peer.push_ephemeral(message.frame(peer.encoding_index)):
                statistics.deliveries += 1
                # The version that it got now shows the gap by itself.
                if stale:
                    stale.discard((session_id, room))
                continue
            statistics.shed += 1
            if (session_id, room) not in stale:
                stale.add((session_id, room))
                lost: dict[str, object] = {"t": "presence", "changes": (), "version": 0}
                if room is not None:
                    lost["room"] = room
                peer.reply(lost)

    def _watchers_of(self, room: str) -> int:
        topic = self._services.topics.get(room)
        return 0 if topic is None else len(topic)

    def _tell_typing(self, shown: TypingShown) -> None:
        if not shown.total:
            self._services.typing_rooms.discard(shown.room)
        topic = self._services.topics.get(shown.room)
        if topic is None:
            return
        self._statistics.typing += 1
        topic.publish_ephemeral(
            Broadcast(
                {
                    "t": "typing",
                    "room": shown.room,
                    "users": [{"user": one.user_id, "name": one.name} for one in shown.users],
                    "count": shown.total,
                }
            )
        )


def _watched(request_id: int, room: str | None, snapshot: Snapshot) -> Envelope:
    answer: dict[str, object] = {"t": "ok", "id": request_id}
    if room is not None:
        answer["room"] = room
    answer["presence"] = snapshot.items
    if snapshot.counts is not None:
        answer["counts"] = snapshot.counts.to_wire()
    answer["version"] = snapshot.version
    if snapshot.next is not None:
        answer["next"] = snapshot.next
    return answer


def _as_diff(delta: Delta) -> Envelope:
    envelope: dict[str, object] = {"t": "presence"}
    if delta.room is not None:
        envelope["room"] = delta.room
    envelope["changes"] = delta.changes
    if delta.counts is not None:
        envelope["counts"] = delta.counts.to_wire()
    if delta.next is not None:
        envelope["next"] = delta.next[0]
    envelope["version"] = delta.version
    return envelope
