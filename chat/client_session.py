"""What a client knows across its connections: open requests, rooms, messages on their way.

Synchronous and without I/O: `on_message` takes what came, `collect` gives what is to be sent, `next_due_s`
says when to ask again; `chat.client` moves the bytes. Time is trio's clock in seconds, as an argument or
from the clock that the constructor is given.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

from chat.client_errors import RequestRefused, ServerMisbehaved
from chat.client_feed import Feed, Notice, Update
from chat.client_state import Envelope, EventAdded, Left, LogUpdate, Phase, Rewound, RoomLog, Want, WasReset
from chat.errors import Undecodable
from chat.outbound import Outbound, Outgoing, Stored

OnReply: TypeAlias = Callable[[Envelope | None], None]
"""Takes the `ok` or `error`; None: the connection was lost before it."""

OnAnswer: TypeAlias = Callable[[Envelope | RequestRefused], None]

FILL_PAGE: Final = 100
STALL_S: Final = 0.2
RETRY_S: Final = 1.0


class RoomEntry:
    """One room that the client follows.

    Attributes:
        joining: `join` is still to be answered; from then on `subscribe` is enough.
    """

    __slots__ = ("asked", "create", "joining", "limit", "log", "on_answer", "retry_at_s")

    def __init__(self, log: RoomLog, *, joining: bool, create: bool, limit: int | None) -> None:
        self.log = log
        self.joining = joining
        self.create = create
        self.limit = limit
        self.asked = 0
        self.retry_at_s = 0.0
        self.on_answer: list[OnAnswer] = []


class ClientSession:
    """See the module.

    Args:
        decode: a message's payload to its envelope.
        encode: the reverse.
        outbound: the messages on their way.
        feed: where updates go; or
        on_update: who is called with them. A raise ends the client.
        now_s: the clock.
        wake: called when `collect` has something new.
        answer_s: how long the server may take for `subscribe` and `history`.
        store_s: how long it may take to store a message. Longer: storage may be away for a while.
    """

    __slots__ = (
        "_answer_s",
        "_asked",
        "_attention",
        "_decode",
        "_emit",
        "_encode",
        "_feed",
        "_internal",
        "_next_id",
        "_now_s",
        "_out",
        "_parked",
        "_sends",
        "_store_s",
        "attached",
        "bye",
        "outbound",
        "received",
        "rooms",
        "user_id",
        "wake",
    )

    def __init__(
        self,
        *,
        decode: Callable[[bytes], Envelope],
        encode: Callable[[Envelope], bytes],
        outbound: Outbound,
        feed: Feed | None,
        on_update: Callable[[Update], None] | None,
        now_s: Callable[[], float],
        wake: Callable[[], None],
        answer_s: float,
        store_s: float,
    ) -> None:
        self.outbound = outbound
        self.user_id = ""
        self.received = 0
        self.bye: Envelope | None = None
        self.attached = False
        self.rooms: dict[str, RoomEntry] = {}
        self._decode = decode
        self._encode = encode
        self._feed = feed
        self._emit: Callable[[Update], None] = on_update or (feed.put if feed is not None else _ignore)
        self._now_s = now_s
        self.wake = wake
        self._answer_s = answer_s
        self._store_s = store_s
        self._next_id = 0
        self._out: list[bytes] = []
        self._asked: dict[int, OnReply] = {}
        self._parked: dict[int, tuple[Envelope, OnReply]] = {}
        self._sends: dict[int, tuple[Outgoing, float]] = {}
        self._internal: dict[int, tuple[RoomEntry, Want, float]] = {}
        self._attention: dict[str, RoomEntry] = {}

    # -- requests ----------------------------------------------------------------------------------------

    def ask(self, fields: Envelope, on_reply: OnReply) -> int:
        """Send a request, or keep it until there is a connection; `forget` its id when giving up."""
        request_id = self._new_id()
        if self.attached:
            self._ask_now(request_id, fields, on_reply)
        else:
            self._parked[request_id] = (fields, on_reply)
        return request_id

    def greet(self, fields: Envelope, on_reply: OnReply) -> bytes:
        """The payload of `hello`: the one request that goes out before the welcome."""
        request_id = self._new_id()
        self._asked[request_id] = on_reply
        return self._encode({**fields, "id": request_id})

    def forget(self, request_id: int) -> None:
        """No longer wait for an answer: it will be ignored."""
        self._asked.pop(request_id, None)
        self._parked.pop(request_id, None)

    def _ask_now(self, request_id: int, fields: Envelope, on_reply: OnReply) -> None:
        self._asked[request_id] = on_reply
        self._out.append(self._encode({**fields, "id": request_id}))
        self.wake()

    def _new_id(self) -> int:
        self._next_id = self._next_id + 1 & 0xFFFF_FFFF
        return self._next_id

    # -- rooms -------------------------------------------------------------------------------------------

    def follow(
        self,
        room: str,
        *,
        joining: bool,
        create: bool = False,
        since: tuple[int, int] | None = None,
        limit: int | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        """Follow a room until `unfollow`, over every connection. Again for a known room: ask again."""
        entry = self.rooms.get(room)
        if entry is None:
            log = RoomLog(room, since)
            entry = self.rooms[room] = RoomEntry(log, joining=joining, create=create, limit=limit)
        else:
            entry.joining = entry.joining or joining
            entry.create = entry.create or create
            self._abort(entry)
            entry.log.detach()
        if on_answer is not None:
            entry.on_answer.append(on_answer)
        self._attend(entry)

    def unfollow(self, room: str) -> None:
        """Take no more of a room's events."""
        entry = self.rooms.pop(room, None)
        if entry is not None:
            self._abort(entry)
            self._attention.pop(room, None)

    def resume_paused(self) -> None:
        """The reader has caught up: rooms go on where they paused."""
        for entry in self.rooms.values():
            entry.log.resume()
            if entry.log.want is not Want.NOTHING:
                self._attend(entry)

    def _attend(self, entry: RoomEntry) -> None:
        self._attention[entry.log.room] = entry
        self.wake()

    def _abort(self, entry: RoomEntry) -> None:
        """Ignore the answer to what was asked for this room."""
        self._internal.pop(entry.asked, None)
        entry.asked = 0

    # -- the connection ----------------------------------------------------------------------------------

    def attach(self, welcome: Envelope) -> None:
        """Welcomed: rooms resume, what was parked goes out."""
        user = cast("dict[str, object]", welcome["user"])
        self.user_id = cast("str", user["id"])
        self.attached = True
        self.bye = None
        for entry in self.rooms.values():
            self._attend(entry)
        parked, self._parked = self._parked, {}
        for request_id, (fields, on_reply) in parked.items():
            self._ask_now(request_id, fields, on_reply)
        self.wake()

    def detach(self) -> None:
        """The connection is gone: everything open is lost, asked again, or queued again."""
        self.attached = False
        self._out.clear()
        self._internal.clear()
        self._sends.clear()
        self._attention.clear()
        for entry in self.rooms.values():
            entry.asked = 0
            entry.retry_at_s = 0.0
            if entry.log.phase is not Phase.PAUSED:
                entry.log.detach()
        self.outbound.lost()
        asked, self._asked = self._asked, {}
        for on_reply in asked.values():
            on_reply(None)

    # -- sending -----------------------------------------------------------------------------------------

    def collect(self, now_s: float) -> list[bytes]:
        """The payloads to send now.

        Raises:
            ServerMisbehaved: an answer is overdue; the connection is of no use.
        """
        if not self.attached:
            return []
        self._check_overdue(now_s)
        payloads, self._out = self._out, []
        if self._attention:
            for room, entry in list(self._attention.items()):
                if entry.retry_at_s <= now_s:
                    del self._attention[room]
                    self._ask_for(entry, payloads, now_s)
        for outgoing in self.outbound.due(now_s):
            request_id = self._new_id()
            self._sends[request_id] = (outgoing, now_s + self._store_s)
            fields = outgoing.fields()
            fields["id"] = request_id
            payloads.append(self._encode(fields))
        return payloads

    @property
    def idle(self) -> bool:
        """Whether `collect` had nothing to give before `next_due_s`."""
        return not (self._out or self.outbound.ready)

    def next_due_s(self) -> float | None:
        """When `collect` must be called again at the latest; None: when woken."""
        due_s = [entry.retry_at_s for entry in self._attention.values()]
        for _, deadline_s in self._sends.values():
            due_s.append(deadline_s)
            break
        for _, _, deadline_s in self._internal.values():
            due_s.append(deadline_s)
            break
        blocked_s = self.outbound.next_due_s()
        if blocked_s is not None:
            due_s.append(blocked_s)
        return min(due_s, default=None)

    def _check_overdue(self, now_s: float) -> None:
        # Both dicts are in the order of asking, and so of their deadlines: the first is the oldest.
        for _, deadline_s in self._sends.values():
            if deadline_s <= now_s:
                raise ServerMisbehaved("no answer to a send in time")
            break
        for _, _, deadline_s in self._internal.values():
            if deadline_s <= now_s:
                raise ServerMisbehaved("no answer to a subscription in time")
            break

    def _ask_for(self, entry: RoomEntry, payloads: list[bytes], now_s: float) -> None:
        log = entry.log
        want = log.want
        if entry.asked or want is Want.NOTHING or (self._feed is not None and self._feed.full):
            # A full feed calls `resume_paused` when it has been read.
            return
        fields: Envelope
        if want is Want.SUBSCRIBE:
            fields = {"t": "join" if entry.joining else "subscribe", "room": log.room}
            if entry.joining and entry.create:
                fields["create"] = True
            if log.position is not None:
                fields["since"] = log.position
            if entry.limit is not None:
                fields["limit"] = entry.limit
            log.subscribing()
        else:
            after, missing = log.page_after()
            fields = {"t": "history", "room": log.room, "after": after, "limit": min(missing, FILL_PAGE)}
        request_id = self._new_id()
        entry.asked = request_id
        self._internal[request_id] = (entry, want, now_s + self._answer_s)
        fields["id"] = request_id
        payloads.append(self._encode(fields))

    # -- receiving ---------------------------------------------------------------------------------------

    def on_message(self, payload: bytes) -> None:
        """Take one message of the server.

        Raises:
            ServerMisbehaved: it is none of the protocol's.
        """
        self.received += 1
        try:
            update = self._digest(self._decode(payload))
        except (KeyError, TypeError, ValueError, Undecodable) as exc:
            raise ServerMisbehaved(f"unreadable: {exc!r}") from exc
        if update is None:
            return
        if type(update) is EventAdded:
            self._emit(update)
        else:
            for one in cast("Sequence[Update]", update):
                self._emit(one)

    def _digest(self, envelope: Envelope) -> EventAdded | Sequence[Update] | None:
        kind = envelope["t"]
        if kind == "event":
            room = cast("str", envelope["room"])
            entry = self.rooms.get(room)
            if entry is None:
                # Unsubscribed a moment ago: what was on its way is nobody's.
                return None
            if envelope["by"] == self.user_id and "cid" in envelope:
                self.outbound.accepted(room, cast("str", envelope["cid"]), cast("int", envelope["seq"]))
                if self.outbound.ready:
                    self.wake()
            log = entry.log
            if self._feed is not None and log.phase is Phase.LIVE and self._feed.full:
                log.pause()
                return None
            if log.take(envelope):
                return EventAdded(room, envelope)
            return self._settle(entry, log.live(envelope))
        if kind in {"ok", "error", "welcome"}:
            return self._answered(envelope)
        if kind == "bye":
            self.bye = envelope
        if self._feed is not None and self._feed.full:
            self._feed.dropped += 1
            return None
        return (Notice(envelope),)

    def _settle(self, entry: RoomEntry, updates: Sequence[Update]) -> Sequence[Update]:
        """See to what a room needs now, and tell the messages on their way what did not survive."""
        if entry.log.want is not Want.NOTHING and not entry.asked:
            self._attend(entry)
        for update in updates:
            if type(update) is Rewound:
                self.outbound.rewound(update.room, update.keep)
            elif type(update) is WasReset:
                self.outbound.rewound(update.room, 0)
        return updates

    def _answered(self, envelope: Envelope) -> Sequence[Update]:
        request_id = envelope.get("id")
        if not isinstance(request_id, int):
            # An error for a frame that the server could not read: whatever it was is overdue some day.
            return (Notice(envelope),)
        send = self._sends.pop(request_id, None)
        if send is not None:
            self._sent(send[0], envelope)
            return ()
        internal = self._internal.pop(request_id, None)
        if internal is not None:
            return self._room_answered(internal[0], internal[1], envelope)
        on_reply = self._asked.pop(request_id, None)
        if on_reply is not None:
            on_reply(envelope)
        return ()

    def _sent(self, outgoing: Outgoing, envelope: Envelope) -> None:
        if envelope["t"] == "ok":
            stored = Stored(
                seq=cast("int", envelope["seq"]),
                epoch=cast("int", envelope["epoch"]),
                at_ms=cast("int", envelope["at"]),
                dup=envelope.get("dup") is True,
            )
            self.outbound.stored(outgoing, stored)
            if self.outbound.ready:
                self.wake()
        else:
            self.outbound.refused(outgoing, RequestRefused.from_envelope(envelope), self._now_s())
            self.wake()

    def _room_answered(self, entry: RoomEntry, want: Want, envelope: Envelope) -> Sequence[Update]:
        entry.asked = 0
        log = entry.log
        if envelope["t"] == "error":
            return self._room_refused(entry, want, RequestRefused.from_envelope(envelope))
        if want is Want.HISTORY:
            updates = log.page(envelope)
            if log.stalls:
                # Not readable yet: it was broadcast before it was stored.
                entry.retry_at_s = self._now_s() + STALL_S * 2**log.stalls
            return self._settle(entry, updates)
        entry.joining = False
        entry.retry_at_s = 0.0
        settled = self._settle(entry, log.answer(envelope))
        self._tell(entry, envelope)
        return settled

    def _room_refused(self, entry: RoomEntry, want: Want, refused: RequestRefused) -> Sequence[Update]:
        log = entry.log
        if refused.temporary:
            if want is Want.SUBSCRIBE:
                log.detach()
            wait_s = refused.retry_after_s if refused.retry_after_s is not None else RETRY_S
            entry.retry_at_s = self._now_s() + wait_s
            self._attend(entry)
            return ()
        if want is Want.HISTORY:
            updates: list[LogUpdate] = []
            log.give_up(updates)
            return self._settle(entry, updates)
        was_known = not entry.joining and not entry.on_answer
        self.unfollow(log.room)
        self._tell(entry, refused)
        return (Left(log.room, refused),) if was_known else ()

    @staticmethod
    def _tell(entry: RoomEntry, answer: Envelope | RequestRefused) -> None:
        waiting, entry.on_answer = entry.on_answer, []
        for on_answer in waiting:
            on_answer(answer)


def _ignore(update: Update) -> None:
    """Neither a feed nor a callback: the client is for requests only."""
    del update
