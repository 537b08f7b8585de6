"""A small Parley server in memory, for tests of clients: real WebSocket framing, no sockets, scripted faults.

It keeps the promises of docs/protocol.md 3-6 that a client leans on, and breaks connections, epochs and
answers when a test tells it to.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import trio
import trio.testing
import trio_websocket

from chat.codec import CODECS, Codec
from chat.errors import CloseCode

Envelope: TypeAlias = dict[str, object]
Intercept: TypeAlias = "Callable[[FakeSession, Envelope], bool]"
"""Sees every request first; True: it has dealt with it, or chosen to stay silent."""


class FakeRoom:
    """One room's log."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = 1
        self.events: list[Envelope] = []
        self.starts: dict[int, int] = {1: 0}
        self.members: set[str] = set()
        self.by_cid: dict[tuple[str, str], Envelope] = {}

    def append(self, kind: str, by: str, **fields: object) -> Envelope:
        """Put an event into the log."""
        seq = len(self.events) + 1
        event: Envelope = {
            "t": "event",
            "room": self.name,
            "epoch": self.epoch,
            "seq": seq,
            "at": 1_700_000_000_000 + seq,
            "by": by,
            "kind": kind,
            **fields,
        }
        self.events.append(event)
        if "cid" in fields:
            self.by_cid[by, cast("str", fields["cid"])] = event
        return event

    def rewind(self, keep: int) -> None:
        """A new owner takes over, and what is above `keep` did not survive."""
        for event in self.events[keep:]:
            self.by_cid.pop((cast("str", event["by"]), cast("str", event.get("cid"))), None)
        del self.events[keep:]
        self.epoch += 1
        self.starts[self.epoch] = keep

    def catch_up(self, since: list[int] | None, limit: int) -> Envelope:
        """Answer as docs/protocol.md 5 has it."""
        head = len(self.events)
        answer: Envelope = {"room": self.name, "epoch": self.epoch, "head": head, "durable": head}
        after: int | None
        if since is None:
            mode, after = "fresh", None
        else:
            epoch, seq = since
            keep = head if epoch == self.epoch else self.starts.get(epoch + 1)
            if epoch > self.epoch or (epoch and keep is None) or (epoch == self.epoch and seq > head):
                mode, after = "reset", None
            elif epoch and keep is not None and seq > keep:
                answer["keep"] = keep
                mode, after = "rewind", keep
            else:
                mode, after = "tail", seq
        if after is None or head - after > limit:
            mode = "gap" if mode == "tail" else mode
            events = self.events[max(head - limit, 0) :]
        else:
            events = self.events[after:]
        return {**answer, "mode": mode, "events": list(events), "snapshot": {}}

    def page(self, request: Envelope) -> Envelope:
        """Answer `history`."""
        limit = cast("int", request.get("limit", 50))
        after, before = request.get("after"), request.get("before")
        if isinstance(after, int):
            items = self.events[after : after + limit]
        else:
            upto = before - 1 if isinstance(before, int) else len(self.events)
            items = self.events[max(upto - limit, 0) : upto]
        return {"room": self.name, "items": list(items), "epoch": self.epoch, "durable": len(self.events)}


class FakeSession:
    """One connection on the server's side."""

    def __init__(
        self, server: "FakeServer", websocket: trio_websocket.WebSocketConnection, codec: Codec
    ) -> None:
        self.server = server
        self.websocket = websocket
        self.codec = codec
        self.user_id = ""
        self.name = ""
        self.rooms: set[str] = set()
        self.outbox_send, self.outbox = trio.open_memory_channel[Envelope | None](10_000)
        self.closing: tuple[int, str] | None = None

    def say(self, envelope: Envelope) -> None:
        """Send an envelope, after those said before."""
        self.outbox_send.send_nowait(envelope)

    def ok(self, request: Envelope, **fields: object) -> None:
        """Answer a request."""
        self.say({"t": "ok", "id": request["id"], **fields})

    def error(self, request: Envelope, code: str, *, temporary: bool = False, **fields: object) -> None:
        """Refuse a request."""
        said: Envelope = {"t": "error", "id": request["id"], "code": code, "message": code, **fields}
        self.say({**said, "temporary": temporary})

    def close(self, code: int, reason: str = "", retry_after_s: float | None = None) -> None:
        """Say `bye`, then close."""
        bye: Envelope = {"t": "bye", "code": code, "reason": reason}
        if retry_after_s is not None:
            bye["retry_after"] = retry_after_s
        self.say(bye)
        self.closing = (code, reason)
        self.outbox_send.send_nowait(None)

    async def write(self) -> None:
        """Write what is said until closed."""
        async for envelope in self.outbox:
            if envelope is None:
                break
            payload = self.codec.encode(envelope)
            await self.websocket.send_message(payload.decode() if self.codec.is_text else payload)
        code, reason = self.closing or (int(CloseCode.NORMAL), "")
        await self.websocket.aclose(code, reason)


class FakeServer:
    """See the module. Made by `open_fake_server`.

    Attributes:
        requests: everything that was asked, in order.
        intercept: see `Intercept`.
        refusing_dials: how many of the next connections fail before they are made.
    """

    def __init__(self, handler_nursery: trio.Nursery) -> None:
        self.rooms: dict[str, FakeRoom] = {}
        self.sessions: list[FakeSession] = []
        self.requests: list[Envelope] = []
        self.intercept: Intercept | None = None
        self.refusing_dials = 0
        self.dialled_at_s: list[float] = []
        self.users: dict[str, tuple[str, str]] = {}
        self.page_limit = 50
        self._handler_nursery = handler_nursery
        self._streams: list[trio.abc.Stream] = []

    # -- what tests do -----------------------------------------------------------------------------------

    async def dial(self) -> trio.abc.Stream:
        """A connection's client side: `open_client(dial=...)`."""
        self.dialled_at_s.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusing_dials:
            self.refusing_dials -= 1
            raise ConnectionRefusedError("nobody listens")
        theirs, ours = trio.testing.memory_stream_pair()
        self._streams.append(ours)
        self._handler_nursery.start_soon(self._serve, ours)
        return theirs

    def room(self, name: str) -> FakeRoom:
        """A room, made when first asked for."""
        return self.rooms.setdefault(name, FakeRoom(name))

    def asked(self, t: str) -> list[Envelope]:
        """The requests of one type so far."""
        return [request for request in self.requests if request["t"] == t]

    def publish(self, room: str, event: Envelope) -> None:
        """Deliver an event to those who follow the room."""
        for session in self.sessions:
            if room in session.rooms:
                session.say(event)

    def speak(
        self, room: str, body: str, *, by: str = "u_other", name: str = "other", cid: str = ""
    ) -> Envelope:
        """Somebody says something."""
        log = self.room(room)
        said = cid or f"c{len(log.events)}"
        event = log.append("message", by, n=len(log.events) + 1, cid=said, body=body, name=name)
        self.publish(room, event)
        return event

    def cut(self) -> None:
        """Break every connection without a word, as a pulled cable does when TCP notices."""
        sessions, self.sessions = self.sessions, []
        for session in sessions:
            session.rooms.clear()
        streams, self._streams = self._streams, []
        for stream in streams:
            self._handler_nursery.start_soon(trio.aclose_forcefully, stream)

    # -- serving -----------------------------------------------------------------------------------------

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, cast("trio.SocketStream", stream))
                subprotocol = next((name for name in request.proposed_subprotocols if name in CODECS), None)
                if subprotocol is None:
                    await request.reject(400)
                else:
                    await self._talk(await request.accept(subprotocol=subprotocol), subprotocol, nursery)
        except* (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async def _talk(
        self, websocket: trio_websocket.WebSocketConnection, subprotocol: str, nursery: trio.Nursery
    ) -> None:
        session = FakeSession(self, websocket, CODECS[subprotocol])
        self.sessions.append(session)
        nursery.start_soon(session.write)
        try:
            while True:
                message = await websocket.get_message()
                if session not in self.sessions:
                    # Cut: what was on its way is lost, as all that comes after it.
                    continue
                payload = message.encode() if isinstance(message, str) else message
                self._answer(session, session.codec.decode_envelope(payload))
        finally:
            if session in self.sessions:
                self.sessions.remove(session)
            nursery.cancel_scope.cancel()

    def _answer(self, session: FakeSession, request: Envelope) -> None:
        self.requests.append(request)
        if self.intercept is not None and self.intercept(session, request):
            return
        t = request["t"]
        if t == "hello":
            self._welcome(session, request)
        elif t in {"join", "subscribe"}:
            room = self.room(cast("str", request["room"]))
            if t == "join":
                room.members.add(session.user_id)
            since = cast("list[int] | None", request.get("since"))
            session.ok(request, **room.catch_up(since, cast("int", request.get("limit", self.page_limit))))
            session.rooms.add(room.name)
        elif t in {"unsubscribe", "leave"}:
            session.rooms.discard(cast("str", request["room"]))
            session.ok(request)
        elif t == "send":
            self._order(session, request)
        elif t == "history":
            session.ok(request, **self.room(cast("str", request["room"])).page(request))
        elif t == "members":
            room = self.room(cast("str", request["room"]))
            items = [{"user": user, "name": self.name_of(user)} for user in sorted(room.members)]
            session.ok(request, items=items)
        elif t == "rooms":
            session.ok(request, items=[{"room": name} for name in sorted(self.rooms)])
        else:
            session.ok(request)

    def name_of(self, user_id: str) -> str:
        """A user's display name."""
        return next((name for known, name in self.users.values() if known == user_id), user_id)

    def _welcome(self, session: FakeSession, request: Envelope) -> None:
        token = request.get("token")
        if isinstance(token, str):
            if token not in self.users:
                session.error(request, "unauthenticated")
                return
        else:
            token = f"token-{len(self.users)}"
            letters = "abcdefghijklmnopqrstuvwxyz"
            self.users[token] = (f"g_{letters[len(self.users)]}", cast("str", request["guest"]))
        session.user_id, session.name = self.users[token]
        session.say(
            {
                "t": "welcome",
                "id": request["id"],
                "user": {"id": session.user_id, "name": session.name},
                "session": f"s{len(self.dialled_at_s)}",
                "server": {"name": "fake", "version": "0", "node": "n"},
                "limits": {},
                "heartbeat": 25.0,
                "rooms": [],
                "token": token,
            },
        )

    def _order(self, session: FakeSession, request: Envelope) -> None:
        room = self.room(cast("str", request["room"]))
        if session.user_id not in room.members:
            session.error(request, "not_member")
            return
        cid = cast("str", request["cid"])
        known = room.by_cid.get((session.user_id, cid))
        event = known or room.append(
            "message",
            session.user_id,
            n=len(room.events) + 1,
            cid=cid,
            body=request["body"],
            name=session.name,
        )
        if known is None:
            self.publish(room.name, event)
        fields: Envelope = {"seq": event["seq"], "epoch": event["epoch"], "at": event["at"], "cid": cid}
        if known is not None:
            fields["dup"] = True
        session.ok(request, **fields)


@asynccontextmanager
async def open_fake_server() -> AsyncGenerator[FakeServer]:
    """A server for the length of the block; its connections end with it."""
    async with trio.open_nursery() as nursery:
        yield FakeServer(nursery)
        nursery.cancel_scope.cancel()


class Refusals:
    """An `Intercept` that refuses the next requests of some types, in order."""

    def __init__(self) -> None:
        self._due: dict[str, deque[Envelope]] = {}

    def add(self, t: str, code: str, *, temporary: bool = False, **fields: object) -> None:
        """Refuse the next request of type `t` so."""
        refusal: Envelope = {"code": code, "temporary": temporary, **fields}
        self._due.setdefault(t, deque()).append(refusal)

    def __call__(self, session: FakeSession, request: Envelope) -> bool:
        """Refuse it if it is due."""
        due = self._due.get(cast("str", request["t"]))
        if not due:
            return False
        session.say({"t": "error", "id": request["id"], "message": "scripted", **due.popleft()})
        return True


__all__ = ["Envelope", "FakeRoom", "FakeServer", "FakeSession", "Refusals", "open_fake_server"]
