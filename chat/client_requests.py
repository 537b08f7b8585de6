"""What one may ask of a server: every request of docs/protocol.md 3 that it serves, as a method.

All of them raise `RequestRefused` for an `error`, `RequestTimeout` when there is no answer in time, and
`ConnectionEnded` or `ClientClosed` when there will be none. Answers are the server's envelopes; a page's
`next` is the `cursor` of the following one. Cancelling a request stops the waiting; it may still happen.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

import trio

from chat.client_errors import ClientClosed, ConnectionLost, RequestRefused, RequestTimeout
from chat.client_session import ClientSession
from chat.client_state import Envelope
from chat.outbound import Outgoing, Stored

REPEATABLE: Final = frozenset(
    {
        "ping",
        "history",
        "search",
        "rooms",
        "room",
        "members",
        "reactions",
        "pins",
        "get",
        "audit",
        "users",
        "user",
        "sessions",
        "busiest",
        "presence",
        "watch",
        "unwatch",
        "unsubscribe",
        "read",
    }
)
"""Doing it twice is doing it once: sent again by itself when the connection breaks."""


@dataclass(frozen=True, slots=True)
class Given:
    """A field's value that is sent also when it is None."""

    value: object


CID_BITS: Final = 96
"""Unique per room and sender for ever: by the birthday bound one in a billion after 10^10 messages."""


class ClientRequests(ABC):
    """The requests; `chat.client.Client` adds the connection that they go over.

    Args:
        session: where requests go and answers come from.
        rng: for `cid`s.
        timeout_s: for an answer, unless the call says otherwise.
    """

    __slots__ = (
        "_quiet_until_s",
        "_rng",
        "_session",
        "_timeout_s",
    )

    def __init__(self, session: ClientSession, rng: Random, timeout_s: float) -> None:
        self._session = session
        self._rng = rng
        self._timeout_s = timeout_s
        self._quiet_until_s: dict[str, float] = {}

    @abstractmethod
    async def _wait(self, event: trio.Event, timeout_s: float) -> bool:
        """Wait for the event; False after the time. Also returns True when the client ends."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise what ended the client, if it has ended."""

    async def request(
        self,
        t: str,
        *,
        timeout_s: float | None = None,
        again: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Envelope:
        """Send any request and return its `ok`. Without a connection it waits for one.

        Args:
            t: the request's type.
            timeout_s: for the answer, reconnecting included.
            again: fields with which it may be sent again when the connection breaks; None: it may not, unless
                doing it twice is doing it once (`REPEATABLE`).
            fields: the request's, without `id`; None counts as absent.

        Raises:
            ConnectionLost: the connection broke, and repeating might not be the same.
        """
        self._check_open()
        request: Envelope = {"t": t}
        for name, value in fields.items():
            if value is not None:
                request[name] = value.value if isinstance(value, Given) else value
        deadline_s = trio.current_time() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            reply = await self._ask(request, deadline_s)
            if reply is None:
                self._check_open()
                if again is not None:
                    request |= again
                    continue
                if t in REPEATABLE:
                    continue
                raise ConnectionLost(f"the connection broke before the answer to {t}")
            if reply["t"] == "error":
                raise RequestRefused.from_envelope(reply)
            return reply

    async def _ask(self, request: Envelope, deadline_s: float) -> Envelope | None:
        answered = trio.Event()
        replies: list[Envelope | None] = []

        def on_reply(reply: Envelope | None) -> None:
            replies.append(reply)
            answered.set()

        request_id = self._session.ask(request, on_reply)
        try:
            if not await self._wait(answered, max(deadline_s - trio.current_time(), 0.0)):
                raise RequestTimeout(f"no answer to {request['t']} in time")
        finally:
            self._session.forget(request_id)
        return replies[0] if replies else None

    # -- rooms -------------------------------------------------------------------------------------------

    async def join(
        self,
        room: str,
        *,
        create: bool = False,
        since: tuple[int, int] | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Become a member and follow the room, over every connection to come, until `leave`.

        Its events come as updates; the answer (`head`, `mode`, `snapshot`...) is returned, its `events` have
        been handed on already. Temporary refusals are waited out.

        Args:
            room: its name.
            create: where it does not exist.
            since: a position that the reader has already.
            limit: latest events to get at first; the server's default when None.
            timeout_s: for the answer, after which the room is not followed.
        """
        return await self._follow(
            room, joining=True, create=create, since=since, limit=limit, timeout_s=timeout_s
        )

    async def subscribe(
        self,
        room: str,
        *,
        since: tuple[int, int] | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Follow the room as `join` does, without becoming a member."""
        return await self._follow(
            room, joining=False, create=False, since=since, limit=limit, timeout_s=timeout_s
        )

    async def _follow(
        self,
        room: str,
        *,
        joining: bool,
        create: bool,
        since: tuple[int, int] | None,
        limit: int | None,
        timeout_s: float | None,
    ) -> Envelope:
        self._check_open()
        answered = trio.Event()
        answers: list[Envelope | RequestRefused] = []

        def on_answer(answer: Envelope | RequestRefused) -> None:
            answers.append(answer)
            answered.set()

        self._session.follow(
            room, joining=joining, create=create, since=since, limit=limit, on_answer=on_answer
        )
        try:
            await self._wait(answered, self._timeout_s if timeout_s is None else timeout_s)
        finally:
            if not answers:
                self._session.unfollow(room)
        if not answers:
            self._check_open()
            raise RequestTimeout(f"no answer for the room {room} in time")
        answer = answers[0]
        if isinstance(answer, RequestRefused):
            raise answer
        return answer

    def position(self, room: str) -> tuple[int, int] | None:
        """The `[epoch, seq]` up to which a followed room's events were handed on; None before the first."""
        entry = self._session.rooms.get(room)
        return None if entry is None else entry.log.position

    async def unsubscribe(self, room: str) -> Envelope:
        """Follow the room no more; membership stays."""
        self._session.unfollow(room)
        return await self.request("unsubscribe", room=room)

    async def leave(self, room: str) -> Envelope:
        """Be a member no more, and follow it no more."""
        answer = await self.request("leave", room=room)
        self._session.unfollow(room)
        return answer

    async def create(
        self,
        room: str,
        *,
        kind: Literal["public", "private"] = "public",
        topic: str = "",
        slow_s: float = 0.0,
        strict: bool = False,
        language: str | None = None,
        timeout_s: float | None = None,
    ) -> Envelope:
        """Create a room and own it. Raises ConnectionLost when it is not known whether it was.

        `language` decides what a word is when the room is searched; the server's default when None.
        """
        return await self.request(
            "create",
            room=room,
            kind=kind,
            topic=topic,
            slow=slow_s,
            strict=strict,
            language=language,
            timeout_s=timeout_s,
        )

    # -- sending -----------------------------------------------------------------------------------------

    def post(
        self,
        room: str,
        body: str,
        *,
        cid: str | None = None,
        reply_to: int | None = None,
        thread: int | None = None,
        on_change: Callable[[Outgoing], None] | None = None,
    ) -> Outgoing:
        """Queue a message and return at once; it is sent, and sent again, until stored or refused for good.

        Args:
            room: a room that one is a member of.
            body: 1-8192 bytes of UTF-8.
            cid: makes it idempotent; a random one when None.
            reply_to: a seq of the room.
            thread: a seq of the room.
            on_change: called after every change of the message's state, synchronously; must not raise.

        Raises:
            OutboundFull: too many are unfinished; nothing was queued.
        """
        self._check_open()
        outgoing = self._session.outbound.post(
            room,
            f"{self._rng.getrandbits(CID_BITS):024x}" if cid is None else cid,
            body,
            reply_to=reply_to,
            thread=thread,
            on_change=on_change,
        )
        self._session.wake()
        return outgoing

    async def send(
        self,
        room: str,
        body: str,
        *,
        cid: str | None = None,
        reply_to: int | None = None,
        thread: int | None = None,
        timeout_s: float = 60.0,
    ) -> Stored:
        """Send a message and wait until it is committed for ever.

        Raises:
            RequestRefused: the server will not have it.
            RequestTimeout: not stored yet; it goes on being sent.
            OutboundFull: too many are unfinished; nothing was queued.

        Cancellation: stops the waiting, not the sending.
        """
        done = trio.Event()

        def on_change(outgoing: Outgoing) -> None:
            if outgoing.state.final:
                done.set()

        outgoing = self.post(room, body, cid=cid, reply_to=reply_to, thread=thread, on_change=on_change)
        if not await self._wait(done, timeout_s):
            raise RequestTimeout("the message is not stored yet")
        if outgoing.stored is not None:
            return outgoing.stored
        self._check_open()
        if outgoing.refused is None:
            raise ClientClosed("the client ended before the message was stored")
        raise outgoing.refused

    # -- reading -----------------------------------------------------------------------------------------

    async def ping(self, *, timeout_s: float | None = None) -> Envelope:
        """Ask for a sign of life."""
        return await self.request("ping", timeout_s=timeout_s)

    async def history(
        self,
        room: str,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        thread: int | None = None,
        fold: bool = False,
        limit: int = 50,
    ) -> Envelope:
        """A page of stored events: `items`, `next`, `prev`, `epoch`, `durable`. Give one seq, or none.

        With `thread` of the messages of the thread that begins at that seq; with `fold` the messages are as
        they are now.
        """
        return await self.request(
            "history",
            room=room,
            before=before,
            after=after,
            around=around,
            thread=thread,
            fold=fold or None,
            limit=limit,
        )

    async def search(
        self, query: str, *, room: str | None = None, cursor: str | None = None, limit: int = 20
    ) -> Envelope:
        """Messages with these words, newest first: `items`, `next`, `fresh`, `behind`, in one room `indexed`.

        Args:
            query: words, "a phrase", or, -not; 256 characters at most.
            room: in this one alone; otherwise in all public rooms and one's own.
            cursor: `next` of the page before, of the same query and room.
            limit: items at most.
        """
        return await self.request("search", query=query, room=room, cursor=cursor, limit=limit)

    async def rooms(
        self, *, mine: bool = False, every: bool = False, cursor: str | None = None, limit: int = 50
    ) -> Envelope:
        """The public rooms by name, with `mine` one's own, with `every` all, for the server's people."""
        return await self.request("rooms", mine=mine or None, all=every or None, cursor=cursor, limit=limit)

    async def room(self, room: str) -> Envelope:
        """One room's settings."""
        return await self.request("room", room=room)

    async def members(self, room: str, *, cursor: str | None = None, limit: int = 50) -> Envelope:
        """A room's members: `items`, `next`."""
        return await self.request("members", room=room, cursor=cursor, limit=limit)

    # -- being there -------------------------------------------------------------------------------------

    async def presence(
        self, status: Literal["online", "away", "dnd", "invisible"], *, text: str | None = None
    ) -> Envelope:
        """Say how available one is."""
        return await self.request("presence", status=status, text=text)

    async def watch(
        self,
        *,
        room: str | None = None,
        users: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Envelope:
        """Hear of the presence of a room's members or of users, as notices, until the connection ends."""
        listed = None if users is None else list(users)
        return await self.request("watch", room=room, users=listed, cursor=cursor, limit=limit)

    async def unwatch(self, *, room: str | None = None, users: Sequence[str] | None = None) -> Envelope:
        """Hear of it no more."""
        return await self.request("unwatch", room=room, users=None if users is None else list(users))

    async def read(self, room: str, seq: int, *, timeout_s: float | None = None) -> Envelope:
        """Say that one has read the room up to `seq`; `read`: where the pointer is now, and is stored.

        It never goes back. One's other sessions hear of it at once, as a notice, and so does this one; in
        small rooms the other members do, too. Saying it once a second is enough.
        """
        return await self.request("read", room=room, seq=seq, timeout_s=timeout_s)

    async def typing(self, room: str, *, stop: bool = False) -> Envelope:
        """Say that one is typing, or has stopped.

        Where the room shows no typing, the server says for how long (`quiet`, seconds); until then nothing is
        sent, and the answer is what it said.
        """
        now_s = trio.current_time()
        until_s = self._quiet_until_s.get(room, 0.0)
        if now_s < until_s:
            return {"t": "ok", "quiet": until_s - now_s}
        answer = await self.request("typing", room=room, stop=stop)
        self._quiet_until_s.pop(room, None)
        quiet_s = answer.get("quiet")
        if isinstance(quiet_s, int | float):
            for over in [each for each, end_s in self._quiet_until_s.items() if end_s <= now_s]:
                del self._quiet_until_s[over]
            self._quiet_until_s[room] = now_s + quiet_s
        return answer
