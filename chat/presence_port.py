"""How sessions and rooms speak to the presence actor: each of its messages as a method."""

from collections.abc import Sequence
from typing import Final

import structlog

from actors import ActorDied, ExitReason, MailboxFull, MailboxSpec, Ref
from chat.errors import ErrorCode, Refused
from chat.peers import Peer
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
from chat.presence_pages import Member
from chat.presence_services import PresenceServices
from chat.protocol import Status, ok

log = structlog.stdlib.get_logger("chat.presence")

MAILBOX: Final = MailboxSpec(capacity=65_536)
"""For `spawn(mailbox=)`: every session of a node may open or close in one moment."""
RETRY_S: Final = 1.0


def answer_discarded(message: PresenceMessage, reason: ExitReason) -> None:
    """Answer a request that a crash or the end of the actor left behind; for `spawn(on_discard=)`."""
    del reason
    refuse(message, Refused(ErrorCode.UNAVAILABLE, "presence was restarted", retry_after_s=RETRY_S))


class PresencePort:
    """How sessions and rooms speak to presence. No method blocks.

    What may be asked again is refused with `busy` when the mailbox is full. What must not be lost (sessions
    that open and close, members that come and go) uses the mailbox's reserve; should even that be full, the
    actor crashes on purpose and starts again from the sessions that are open, and its watchers watch again.
    """

    __slots__ = ("_ref", "_services")

    def __init__(self, ref: Ref[PresenceMessage], services: PresenceServices) -> None:
        self._ref = ref
        self._services = services

    def session_opened(self, peer: Peer, status: Status, text: str | None = None) -> None:
        """A session was welcomed; call it before anything else of the session."""
        self._tell(SessionOpened(peer=peer, status=status, text=text))

    def session_closed(self, peer: Peer, *, clean: bool) -> None:
        """A session is over; call it once, after everything else of the session. See `SessionClosed`."""
        self._tell(SessionClosed(peer=peer, clean=clean))

    def set_status(self, peer: Peer, request_id: int, status: Status, text: str | None) -> None:
        """`presence`; presence answers."""
        self._ask(SetStatus(peer=peer, request_id=request_id, status=status, text=text))

    def watch_room(
        self,
        peer: Peer,
        request_id: int,
        room: str,
        *,
        epoch: int,
        roster: Sequence[Member],
        cursor: str | None,
        limit: int,
    ) -> None:
        """`watch{room}`, from the room, which has checked that the peer may see it; presence answers.

        Args:
            peer: who watches.
            request_id: the request's.
            room: the room.
            epoch: its ownership.
            roster: all of its members in any order, never changed afterwards; read only when nobody has
                watched the room for a while or `epoch` is new, so keep it until the members change. A large
                one is read a slice in a turn, and the answer comes after that.
            cursor: the request's.
            limit: the request's.
        """
        self._ask(
            WatchRoom(
                peer=peer,
                request_id=request_id,
                room=room,
                epoch=epoch,
                roster=roster,
                cursor=cursor,
                limit=limit,
            )
        )

    def watch_users(self, peer: Peer, request_id: int, users: Sequence[str]) -> None:
        """`watch{users}`, from the session; presence answers."""
        self._ask(WatchUsers(peer=peer, request_id=request_id, users=users))

    def unwatch(
        self, peer: Peer, request_id: int | None, *, room: str | None = None, users: Sequence[str] = ()
    ) -> None:
        """`unwatch`; presence answers, unless `request_id` is None."""
        self._ask(Unwatch(peer=peer, request_id=request_id, room=room, users=users))

    def end_watch(self, room: str, user_id: str) -> None:
        """A user may see a room's members no more; from the room, in the turn it happened.

        The watches of the room by all of the user's sessions end silently, those that wait for an answer get
        `not_member`. A `watch` that the room passes on later, because the user is back, counts again.
        """
        self._tell(EndWatch(room=room, user_id=user_id))

    def members_changed(self, room: str, *, joined: Sequence[Member], left: Sequence[str]) -> None:
        """Somebody became a member, or stopped being one; from the room, in the turn it happened."""
        self._tell(MembersChanged(room=room, joined=joined, left=left))

    def typing(self, peer: Peer, request_id: int | None, room: str, *, stop: bool) -> None:
        """`typing`, from a session that is subscribed to the room; presence answers.

        Where too many would have to be told it is answered here, with the time for which no notice is wanted:
        a thousand who type in a large room cost the actor nothing, and little where their clients listen.
        """
        services = self._services
        if room not in services.typing_rooms:
            topic = services.topics.get(room)
            if topic is not None and len(topic) > services.typing_limits.watchers_max:
                if request_id is not None:
                    peer.reply(ok(request_id, quiet=services.typing_limits.quiet_s))
                return
        self._ask(Typing(peer=peer, request_id=request_id, room=room, stop=stop))
        if not stop:
            # Now, not when the actor gets to it: the message that ends the typing may come before that.
            self._services.typing_rooms.add(room)

    def sent(self, room: str, user_id: str) -> None:
        """A message of the user is in the room's log; one look-up where nobody types."""
        if room in self._services.typing_rooms:
            try:
                self._ref.tell_nowait(MessageSent(room=room, user_id=user_id))
            except (MailboxFull, ActorDied):
                # The notice ends by itself a few seconds later.
                log.debug("presence.sent_not_told")

    def set_pressure(self, level: int) -> None:
        """The node's level of pressure, 0 to 4."""
        self._tell(SetPressure(level=level))

    def tick(self) -> None:
        """Something is due; for the alarm."""
        try:
            self._ref.tell_nowait(Tick(), control=True)
        except (MailboxFull, ActorDied):
            # With a full mailbox the actor is awake anyway, and does what is due in every turn.
            log.debug("presence.tick_not_told")

    def _tell(self, message: PresenceMessage) -> None:
        try:
            self._ref.tell_nowait(message, control=True)
        except MailboxFull:
            if not self._services.overflowed:
                self._services.overflowed = True
                log.warning("presence.overflowed")
        except ActorDied:
            # At shutdown sessions may end after presence has.
            log.debug("presence.gone")

    def _ask(self, message: PresenceMessage) -> None:
        try:
            self._ref.tell_nowait(message)
        except MailboxFull:
            refuse(message, Refused(ErrorCode.BUSY, "presence is busy", retry_after_s=RETRY_S))
        except ActorDied:
            refuse(message, Refused(ErrorCode.UNAVAILABLE, "the server is stopping", retry_after_s=RETRY_S))
