"""The welcome: what whoever was let in is told, and what follows from being here (docs/protocol.md 4)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chat.auth import Authenticator, SignedIn
from chat.cursors import MINE_CURSOR, to_cursor
from chat.errors import CloseCode, ErrorCode, Refused
from chat.house import House
from chat.measures import Counts
from chat.presence_port import PresencePort
from chat.protocol import Envelope, Hello
from chat.session import Session
from chat.session_state import Phase
from storage.model import MembershipPage

WELCOME_ROOMS: Final = 100
"""Rooms in a welcome; more come with `next`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingServices:
    """What the greeter needs.

    Attributes:
        server: `welcome.server`.
        limits: `welcome.limits`.
        frame_max_bytes: a frame after the welcome.
        tell_pressure: tell a session how hard the server is pressed, if it is at all.
    """

    authenticator: Authenticator
    presence: PresencePort
    house: House
    server: Mapping[str, str]
    limits: Mapping[str, object]
    heartbeat_s: float
    frame_max_bytes: int
    tell_pressure: Callable[[Session], None]
    counts: Counts


class Greeter:
    """Welcomes sessions, or turns them away; it waits for nothing."""

    def __init__(self, services: GreetingServices) -> None:
        self._services = services

    def welcome_newcomer(self, session: Session, guest: str, request: Hello) -> None:
        """Welcome a guest who is new here: the database knows nothing of such, so it is not asked.

        Raises:
            Refused: `bad_request` for a bad name.
        """
        try:
            signed_in = self._services.authenticator.admit_newcomer(guest, request_id=request.id)
        except Refused as refused:
            self.turn_away(session, refused)
            return
        self.welcome(session, request, signed_in, None)

    def turn_away(self, session: Session, refused: Refused) -> None:
        """Count a refused `hello`, and end the connection of who may not come in at all.

        Raises:
            Refused: what was given, unless it ended the connection.
        """
        self._services.counts.hellos_refused += 1
        if refused.code is not ErrorCode.UNAUTHENTICATED:
            raise refused
        session.refuse(refused)
        session.end(CloseCode.BAD_TOKEN, refused.message)

    def welcome(
        self, session: Session, request: Hello, signed_in: SignedIn, page: MembershipPage | None
    ) -> None:
        """Count a session in and tell it what it needs to know.

        Args:
            session: open.
            request: its `hello`.
            signed_in: who it is.
            page: the user's rooms, the first of them; None: none.
        """
        services = self._services
        principal = signed_in.principal
        try:
            services.house.require_welcome(principal.user_id)
        except Refused as refused:
            refused.request_id = request.id
            services.counts.hellos_refused += 1
            session.refuse(refused)
            session.end(CloseCode.BANNED, refused.message)
            return
        try:
            session.greet(principal, signed_in.expires_at_ms, signed_in.token_hash)
        except Refused as refused:
            refused.request_id = request.id
            session.refuse(refused)
            session.end(CloseCode.TOO_MANY_CONNECTIONS, refused.message)
            return
        welcome: dict[str, object] = {
            "t": "welcome",
            "id": request.id,
            "user": {"id": principal.user_id, "name": principal.name},
            "session": session.session_id,
            "server": services.server,
            "limits": services.limits,
            "heartbeat": services.heartbeat_s,
            "rooms": [] if page is None else own_rooms(page),
        }
        if page is not None and page.next_after is not None:
            welcome["next"] = to_cursor(MINE_CURSOR + page.next_after)
        if signed_in.token is not None:
            welcome["token"] = signed_in.token
        services.counts.hellos += 1
        session.stream.max_frame_bytes = services.frame_max_bytes
        session.state.phase = Phase.READY
        session.reply(welcome)
        services.tell_pressure(session)
        session.status = request.status
        services.presence.session_opened(session, request.status)


def own_rooms(page: MembershipPage) -> Sequence[Envelope]:
    """A user's rooms as `welcome` and `rooms` list them."""
    return [
        {
            "room": membership.room,
            "epoch": membership.epoch,
            "seq": membership.head_seq,
            "role": membership.role,
            "read": membership.read_seq,
            "unread": membership.unread,
            "mentions": membership.mentions,
        }
        for membership in page.rooms
    ]
