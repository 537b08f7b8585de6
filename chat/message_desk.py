"""What a session has to wait for about messages, and about shared state.

Pages of history, who reacted, pins, values; and what storage knows of a message that its room has forgotten.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never, cast

from actors import ActorDied, ActorUnavailable, AskTimeout, MailboxFull, TooManyActors
from chat.answer_size import fitting
from chat.cursors import from_cursor, is_seq, to_cursor
from chat.errors import ErrorCode, Refused
from chat.folding import fold_event
from chat.json_value import decode_value
from chat.measures import Counts
from chat.message_facts import KIND_STATE, KINDS_OF_MESSAGES
from chat.protocol import (
    Change,
    Delete,
    Envelope,
    GetState,
    History,
    Pins,
    Reactions,
    Send,
    SetState,
    ok,
)
from chat.room import RETRY_UNAVAILABLE_S
from chat.room_changes import repeats
from chat.room_messages import InspectRoom, RoomInfo
from chat.room_news import as_event
from chat.room_state import KIND_MESSAGE
from chat.rooms import Rooms as RoomActors
from chat.session import BUSY_RETRY_S, Session
from chat.session_requests import change_room, oversees, require_emoji
from storage.model import HistoryPage, KnownCid, LogEntry
from storage.page import PageAsk
from storage.store import Store

PRESSED_LEVEL: Final = 3
"""From this level of pressure on, pages of history are a quarter as long."""


class MessageDesk:
    """Finishes the requests about messages that have to wait, for every session.

    Args:
        store: what is read.
        rooms: who decides.
        timeout_s: for a room's answer.
        page_max: items of a page.
        pressure: how hard the server is pressed, 0 to 4.
        counts: duplicates, and where pages came from, are counted there.
    """

    def __init__(
        self,
        store: Store,
        rooms: RoomActors,
        *,
        timeout_s: float,
        page_max: int,
        pressure: Callable[[], int],
        counts: Counts,
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._timeout_s = timeout_s
        self._page_max = page_max
        self._pressure = pressure
        self._counts = counts

    async def inspect(
        self, room: str, user_id: str, *, oversees: bool = False, page: PageAsk | None = None
    ) -> RoomInfo:
        """What the room's actor says of itself, with a page of its log where its memory has it.

        Args:
            room: its name.
            user_id: who asks.
            oversees: whether that is one of the server's people, who may read every room.
            page: of the log, wanted besides.

        Raises:
            Refused: `room_not_found`, `busy`, `overloaded`, `unavailable`, `timeout`.
        """
        self._counts.look_up_room(found=self._rooms.is_active(room))
        try:
            return await self._rooms.ref(room).ask(
                lambda reply: InspectRoom(user_id=user_id, oversees=oversees, reply=reply, page=page),
                timeout_s=self._timeout_s,
            )
        except MailboxFull:
            raise Refused(ErrorCode.BUSY, "the room is busy", retry_after_s=BUSY_RETRY_S) from None
        except TooManyActors:
            raise Refused(ErrorCode.OVERLOADED, "too many rooms are active", retry_after_s=5.0) from None
        except (ActorUnavailable, ActorDied):
            raise Refused(
                ErrorCode.UNAVAILABLE, "the room is not available now", retry_after_s=RETRY_UNAVAILABLE_S
            ) from None
        except AskTimeout:
            raise Refused(ErrorCode.TIMEOUT, "the room did not answer in time", retry_after_s=1.0) from None

    async def write(self, session: Session, request: Send | Change) -> None:
        """Ask a room once more to put something into its log."""
        if isinstance(request, Send):
            await self._send_again(session, request)
        else:
            await self._change(session, request)

    async def read(self, session: Session, request: History | Reactions | Pins | GetState) -> None:
        """Answer from what is stored."""
        match request:
            case History():
                await self._history(session, request)
            case Reactions():
                await self._reactions(session, request)
            case Pins():
                await self._pins(session, request)
            case GetState():
                await self._get_state(session, request)
            case _:
                assert_never(request)

    # -- writing ---------------------------------------------------------------------------------------

    async def _send_again(self, session: Session, request: Send) -> None:
        """Find out whether a re-sent message is stored already, before the room orders it again."""
        info = await self.inspect(request.room, session.user_id, oversees=oversees(session))
        found = await self._find_cid(info, session, request.cid)
        if found is None:
            session.services.house.require_voice(session.user_id)
            session.send_message(request)
        elif found.kind != KIND_MESSAGE or found.body not in {request.body, None}:
            raise Refused(ErrorCode.CID_CONFLICT, f"this cid sent another body, at seq {found.seq}")
        else:
            self._reply_known(session, request.id, request.cid, found)

    async def _change(self, session: Session, request: Change) -> None:
        """Ask the room once more, with what storage knows: of the message, and of a `cid` sent again."""
        info = await self.inspect(request.room, session.user_id, oversees=oversees(session))
        if request.retry and request.cid is not None:
            found = await self._find_cid(info, session, request.cid)
            if found is not None:
                command = change_room(session, request)
                if not repeats(command.request, found.kind, found.body, found.data):
                    raise Refused(ErrorCode.CID_CONFLICT, f"this cid did something else, at seq {found.seq}")
                self._reply_known(session, request.id, request.cid, found)
                return
        if not isinstance(request, Delete):
            session.services.house.require_voice(session.user_id)
        stored = None
        if not isinstance(request, SetState):
            stored = await self._store.fold_messages(info.row.room_id, [request.seq], user_id=session.user_id)
        session.tell_room(request.room, change_room(session, request, stored))

    async def _find_cid(self, info: RoomInfo, session: Session, cid: str) -> KnownCid | None:
        return (await self._store.find_cids(info.row.room_id, session.user_id, [cid])).get(cid)

    def _reply_known(self, session: Session, request_id: int, cid: str, found: KnownCid) -> None:
        self._counts.duplicates += 1
        session.reply(ok(request_id, seq=found.seq, epoch=found.epoch, at=found.at_ms, cid=cid, dup=True))

    # -- reading ---------------------------------------------------------------------------------------

    async def _history(self, session: Session, request: History) -> None:
        """A page of a room's log, or of a thread; with `fold` the present of its messages."""
        if sum(seq is not None for seq in (request.before, request.after, request.around)) > 1:
            raise Refused(ErrorCode.BAD_REQUEST, "give one of before, after and around", field="before")
        pressed = self._pressure() >= PRESSED_LEVEL
        page_max = max(1, self._page_max // 4) if pressed else self._page_max
        ask = PageAsk(request.before, request.after, request.around, min(request.limit, page_max))
        # What only storage knows is not asked of the room.
        plain = request.thread is None and not request.fold
        info = await self.inspect(
            request.room, session.user_id, oversees=oversees(session), page=ask if plain else None
        )
        page = info.page
        if page is not None:
            self._counts.history_hits += 1
        else:
            self._counts.history_misses += 1
            page = await self._store.history(
                info.row.room_id,
                **ask._asdict(),
                thread=request.thread,
                fold_for=session.user_id if request.fold else None,
            )
        fields: dict[str, object] = {"room": request.room, "epoch": page.epoch, "durable": page.durable_seq}
        envelopes = [as_event(request.room, entry) for entry in page.items]
        if request.fold:
            envelopes = [_folded(page, envelope) for envelope in envelopes]
        items = [session.encode(envelope) if envelope else b"" for envelope in envelopes]
        if items:
            places = fitting(items, _first_wanted(request, page.items), session.answer_max_bytes)
            if page.more_before or places.start > 0:
                fields["prev"] = page.items[places.start].seq
            if page.more_after or places.stop < len(items):
                fields["next"] = page.items[places.stop - 1].seq
            items = [item for item in items[places.start : places.stop] if item]
        await session.wait_uncrowded()
        session.reply_listing(ok(request.id, **fields), "items", items)

    async def _reactions(self, session: Session, request: Reactions) -> None:
        """Who reacted to a message, by emoji and user."""
        emoji = None if request.emoji is None else require_emoji(request.emoji)
        after = None
        if request.cursor is not None:
            where, _, rest = from_cursor(request.cursor).partition("/")
            found_emoji, _, user_id = rest.partition("/")
            if where != f"{request.room}#{request.seq}" or not found_emoji or not user_id:
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            after = (found_emoji, user_id)
        info = await self.inspect(request.room, session.user_id, oversees=oversees(session))
        limit = min(request.limit, self._page_max)
        rows = await self._store.list_reactions(
            info.row.room_id, request.seq, emoji=emoji, after=after, limit=limit + 1
        )
        page = rows[:limit]
        reply_page(
            session,
            request.id,
            [{"emoji": row.emoji, "user": row.user_id, "name": row.name, "seq": row.seq} for row in page],
            f"{request.room}#{request.seq}/{page[-1].emoji}/{page[-1].user_id}"
            if len(rows) > limit
            else None,
        )

    async def _pins(self, session: Session, request: Pins) -> None:
        """What is pinned, the latest pin first, each message as it is now."""
        before = None
        if request.cursor is not None:
            room, _, seq = from_cursor(request.cursor).partition("^")
            if room != request.room or not is_seq(seq):
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
            before = int(seq)
        info = await self.inspect(request.room, session.user_id, oversees=oversees(session))
        limit = min(request.limit, self._page_max)
        page = await self._store.list_pins(
            info.row.room_id, user_id=session.user_id, before=before, limit=limit + 1
        )
        pins = page.pins[:limit]
        items = [session.encode(fold_event(as_event(request.room, entry), now)) for entry, now in pins]
        await reply_fitting(
            session,
            ok(request.id, room=request.room, durable=page.durable_seq),
            items,
            is_last=len(page.pins) <= limit,
            cursor_after=lambda place: f"{request.room}^{pins[place][1].pin_seq}",
        )

    async def _get_state(self, session: Session, request: GetState) -> None:
        """One key of the shared state, or a page of them, as they are stored."""
        after = None
        if request.cursor is not None:
            room, _, after = from_cursor(request.cursor).partition("=")
            if room != request.room or not after:
                raise Refused(ErrorCode.BAD_CURSOR, "the cursor is of another list", field="cursor")
        info = await self.inspect(request.room, session.user_id, oversees=oversees(session))
        limit = min(request.limit, self._page_max)
        state = await self._store.read_state(info.row.room_id, key=request.key, after=after, limit=limit + 1)
        page = state.rows[:limit]
        items = [
            session.encode(
                {
                    "key": row.key,
                    "value": None if row.value is None else decode_value(row.value),
                    "version": row.version,
                    "seq": row.seq,
                }
            )
            for row in page
        ]
        await reply_fitting(
            session,
            ok(request.id, room=request.room, durable=state.durable_seq),
            items,
            is_last=len(state.rows) <= limit,
            cursor_after=lambda place: f"{request.room}={page[place].key}",
        )


async def reply_fitting(
    session: Session,
    answer: Envelope,
    items: Sequence[bytes],
    *,
    is_last: bool,
    cursor_after: Callable[[int], str],
) -> None:
    """Answer with as many of a page's items as fit, and the cursor of what comes behind them, if any does."""
    if items:
        places = fitting(items, 0, session.answer_max_bytes)
        if not is_last or places.stop < len(items):
            answer = {**answer, "next": to_cursor(cursor_after(places.stop - 1))}
        items = items[: places.stop]
    await session.wait_uncrowded()
    session.reply_listing(answer, "items", items)


def _folded(page: HistoryPage, event: Envelope) -> Envelope:
    """An event as it is now; empty for one that only tells of another's past."""
    message = page.folded.get(cast("int", event["seq"]))
    if message is not None:
        return fold_event(event, message)
    return {} if event["kind"] in KINDS_OF_MESSAGES or event["kind"] == KIND_STATE else event


def _first_wanted(request: History, items: Sequence[LogEntry]) -> int:
    """The place in a page that a reader looks for: what must be there when not all of it fits."""
    if request.after is not None:
        return 0
    if request.around is None:
        return len(items) - 1
    return min(range(len(items)), key=lambda place: abs(items[place].seq - (request.around or 0)))


def reply_page(session: Session, request_id: int, items: Sequence[Envelope], next_after: str | None) -> None:
    """Answer with a page of a list, and the cursor of the next one if there is one."""
    if next_after is None:
        session.reply(ok(request_id, items=items))
    else:
        session.reply(ok(request_id, items=items, next=to_cursor(next_after)))
