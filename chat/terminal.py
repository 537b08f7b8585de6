"""The line-mode client behind `parley connect`: read a line, say it; show what others say.

Works at a terminal and in a pipe. In a pipe it ends when the input ends and every message is stored; its exit
code says if one was not.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import tzinfo
from random import Random, SystemRandom
from typing import Final, TypeAlias, cast

import trio

from chat.client import (
    DEFAULT_OPTIONS,
    Client,
    ClientOptions,
    Dial,
    Encoding,
    open_client,
)
from chat.client_errors import ClientError, OutboundFull
from chat.client_feed import Connected, Disconnected, Ended, Notice, Update
from chat.client_state import Envelope, EventAdded, EventVoided, Hole, Left, OutOfOrder, Rewound, WasReset
from chat.first_dial import FirstDial
from chat.outbound import Delivery, Outgoing
from chat.terminal_input import Console
from chat.terminal_reads import TerminalReads
from chat.terminal_text import (
    HELP,
    Command,
    format_event,
    format_hit,
    format_unread,
    parse_count,
    parse_line,
    printable,
    quote,
    room_name_problem,
)

STORE_TIMEOUT_S: Final = 60.0
"""At the end of the input: for the last messages to be stored, reconnecting included."""

HISTORY_DEFAULT: Final = 20
HISTORY_MAX: Final = 1000
PAGE: Final = 100
LIST_MAX: Final = 500
PRESSURE_TOLD: Final = 2
"""From this level on one's own messages may wait."""

PageAfter: TypeAlias = Callable[[str | None], Awaitable[Envelope]]
"""Gets the page after a cursor."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


class Terminal:
    """One user at one terminal.

    Args:
        show: prints one line.
        tz: of the times shown; the machine's when None.
    """

    def __init__(self, *, show: Callable[[str], None], tz: tzinfo | None) -> None:
        self._show = show
        self._tz = tz
        self._room = ""
        self._rooms: list[str] = []
        self._mine: dict[str, Outgoing] = {}
        self._settled = trio.Event()
        self._pressure = 0
        self.reads = TerminalReads()
        self._talking = False
        self.unstored = 0
        self.ended = trio.CancelScope()
        self.error: Exception | None = None

    # -- what comes --------------------------------------------------------------------------------------

    def on_update(self, update: Update) -> None:
        """Tell an update in at most one line."""
        match update:
            case EventAdded():
                self._show_event(update.event)
                self.reads.show(update.room, update.event.get("seq"))
            case EventVoided():
                self._tell(f"message #{update.seq} was not stored after all: forget it", update.room)
            case Rewound():
                self._tell(
                    f"the room's server died: what came after #{update.keep} did not survive", update.room
                )
            case WasReset():
                self._tell("this is not the log that was known: it begins anew", update.room)
            case Hole():
                self._tell(f"#{update.first} to #{update.last} are missing: see /history", update.room)
            case OutOfOrder():
                pass  # mended by asking again
            case Left():
                self._tell(f"the room is closed to you: {printable(str(update.refused))}", update.room)
                self._forget(update.room)
            case Connected():
                if update.again:
                    self._show("-- connected again")
            case Disconnected():
                reason = printable(update.reason) or "the connection broke"
                self._show(f"-- {reason} ({update.code}): again in {update.retry_in_s:.1f} s")
            case Notice():
                self._show_notice(update.envelope)
            case Ended():
                self.error = update.error
                if self._talking:
                    # Before that it is raised, for the command to tell.
                    self._show(f"-- ended: {printable(str(update.error))}")
                self.ended.cancel()

    def _tell(self, words: str, room: str) -> None:
        self._show(f"-- {printable(room)}: {words}")

    def _show_event(self, event: Envelope) -> None:
        if event.get("cid") in self._mine:
            # Said by this terminal: told when it is stored.
            return
        line = format_event(event, tz=self._tz, with_room=len(self._rooms) > 1)
        if line is not None:
            self._show(line)

    def _show_notice(self, envelope: Envelope) -> None:
        if envelope["t"] == "pressure":
            level = envelope.get("level")
            if not isinstance(level, int):
                return
            if level >= PRESSURE_TOLD or self._pressure >= PRESSURE_TOLD:
                reason = printable(str(envelope.get("reason", "")))
                self._show(f"-- the server is under pressure: level {level} of 4 {reason}".rstrip())
            self._pressure = level
        elif envelope["t"] == "error":
            self._show(f"-- the server says: {printable(str(envelope.get('message')))}")

    # -- what is said ------------------------------------------------------------------------------------

    def on_change(self, outgoing: Outgoing) -> None:
        """Tell how a message of ours is getting on."""
        body = quote(outgoing.body)
        match outgoing.state:
            case Delivery.SENT:
                if not outgoing.retry and outgoing.refused is None:
                    self._show(f"→ {body}")
            case Delivery.QUEUED:
                refused = outgoing.refused
                self._show(f"… {body} (again {f'after {refused.code}' if refused else 'when connected'})")
            case Delivery.ACCEPTED:
                pass
            case Delivery.STORED:
                self._show(f"✓ #{outgoing.seq} {body}")
                self._settle(outgoing)
            case Delivery.REFUSED:
                self.unstored += 1
                self._show(f"✗ {body}: {printable(str(outgoing.refused))}")
                self._settle(outgoing)
            case Delivery.ABANDONED:
                self.unstored += 1
                self._show(f"✗ {body}: not known to be stored")
                self._settle(outgoing)

    def _settle(self, outgoing: Outgoing) -> None:
        self._mine.pop(outgoing.cid, None)
        self._settled.set()

    async def say(self, client: Client, body: str) -> None:
        """Queue a message; waits while too many are on their way."""
        if not self._room:
            self._show("-- /join a room first")
            self.unstored += 1
            return
        while True:
            try:
                outgoing = client.post(self._room, body, on_change=self.on_change)
            except OutboundFull:
                self._settled = trio.Event()
                with trio.move_on_after(STORE_TIMEOUT_S):
                    await self._settled.wait()
            else:
                self._mine[outgoing.cid] = outgoing
                if not client.connected:
                    self._show(f"… {quote(body)} (when connected)")
                return

    async def wait_stored(self, client: Client) -> None:
        """Wait until no message is on its way, for `STORE_TIMEOUT_S` at most."""
        if self._mine and not client.connected:
            self._show(f"-- waiting for {len(self._mine)} to be stored, {STORE_TIMEOUT_S:.0f} s at most")
        with trio.move_on_after(STORE_TIMEOUT_S):
            while self._mine:
                self._settled = trio.Event()
                await self._settled.wait()

    # -- commands ----------------------------------------------------------------------------------------

    async def join(self, client: Client, room: str) -> None:
        """Follow a room, created where it is missing, and talk there from now on."""
        problem = room_name_problem(room)
        if problem is not None:
            self._show(f"-- {problem}")
            return
        if room not in self._rooms:
            await client.join(room, create=True, limit=HISTORY_DEFAULT)
            self._rooms.append(room)
        self._room = room
        self._show(f"-- you talk in {room}{'' if self._talking else '; /help lists what you can type'}")
        self._talking = True

    def tell_unread(self, welcome: Envelope) -> None:
        """Tell of one's rooms in which something was said since one read them."""
        line = format_unread(cast("list[Envelope]", welcome.get("rooms", [])))
        if line is not None:
            self._show(f"-- {line}")

    def _forget(self, room: str) -> None:
        self.reads.forget(room)
        if room in self._rooms:
            self._rooms.remove(room)
        if self._room == room:
            self._room = self._rooms[-1] if self._rooms else ""

    async def obey(self, client: Client, command: Command) -> bool:
        """Do what a line asks for; False to leave. A refusal is shown, and ends nothing."""
        name, argument = command
        try:
            if name == "say":
                await self.say(client, argument)
            elif name in {"quit", "exit"}:
                return False
            elif name == "help":
                self._show(HELP)
            elif name == "join" and argument:
                await self.join(client, argument)
            elif name == "rooms":
                await self._list_rooms(client)
            elif not self._room:
                self._show("-- /join a room first")
            elif name == "leave":
                await self._leave(client, argument or self._room)
            elif name == "history":
                await self._history(client, argument)
            elif name == "search":
                await self._search(client, argument)
            elif name == "who":
                await self._who(client)
            else:
                self._show(f"-- no such command: /{printable(name)}; try /help")
        except ClientError as exc:
            if self.error is None:
                # Otherwise it was told when the client ended.
                self._show(f"-- {printable(str(exc))}")
        return True

    async def _leave(self, client: Client, room: str) -> None:
        await client.leave(room)
        self._forget(room)
        self._show(f"-- you left {printable(room)}" + (f", you talk in {self._room}" if self._room else ""))

    async def _history(self, client: Client, argument: str) -> None:
        wanted = parse_count(argument, most=HISTORY_MAX) if argument else HISTORY_DEFAULT
        if wanted is None:
            self._show(f"-- how many? /history takes a number, such as {HISTORY_DEFAULT}")
            return
        events: list[Envelope] = []
        before: int | None = None
        while len(events) < wanted:
            page = await client.history(self._room, before=before, limit=min(wanted - len(events), PAGE))
            items = cast("list[Envelope]", page["items"])
            events[:0] = items
            if not items or "prev" not in page:
                break
            before = cast("int", page["prev"])
        for event in events:
            line = format_event(event, tz=self._tz, with_room=False)
            if line is not None:
                self._show(line)
        self._show(f"-- {len(events)} of {printable(self._room)}'s log")

    async def _search(self, client: Client, words: str) -> None:
        if not words:
            self._show("-- what for? /search takes words")
            return
        page = await client.search(words, room=self._room, limit=HISTORY_DEFAULT)
        items = cast("list[Envelope]", page["items"])
        for item in reversed(items):
            self._show(format_hit(item, tz=self._tz))
        more = ", the latest; there are more" if "next" in page else ""
        self._show(f"-- {len(items)} found in {printable(self._room)}{more}")
        if page.get("fresh") is not True:
            self._show(f"-- the latest {page.get('behind')} events of the room are not searched yet")

    async def _who(self, client: Client) -> None:
        names = await self._listed(
            lambda cursor: client.members(self._room, cursor=cursor, limit=PAGE), "name"
        )
        self._show(f"-- {len(names)} in {printable(self._room)}: {', '.join(names)}")

    async def _list_rooms(self, client: Client) -> None:
        names = await self._listed(lambda cursor: client.rooms(cursor=cursor, limit=PAGE), "room")
        self._show(f"-- {len(names)} rooms: {', '.join(names)}")

    @staticmethod
    async def _listed(page_after: PageAfter, field: str) -> list[str]:
        names: list[str] = []
        cursor: str | None = None
        while len(names) < LIST_MAX:
            page = await page_after(cursor)
            names += [printable(str(item[field])) for item in cast("list[Envelope]", page["items"])]
            following = page.get("next")
            if not isinstance(following, str):
                break
            cursor = following
        return names


async def run_terminal(
    url: str,
    *,
    room: str = "lobby",
    name: str | None = None,
    token: str | None = None,
    encoding: Encoding = "msgpack",
    lines: AsyncIterator[str] | None = None,
    show: Callable[[str], None] | None = None,
    tz: tzinfo | None = None,
    rng: Random | None = None,
    options: ClientOptions = DEFAULT_OPTIONS,
    dial: Dial | None = None,
) -> int:
    """Talk in a room until the input ends or `/quit`; what is said then is waited for.

    Args:
        url: the server's, see `open_client`.
        room: joined first, created where it is missing.
        name: of a guest; or
        token: of a registered user, or of a guest that comes back. One of the two.
        encoding: of the protocol.
        lines: what is typed; standard input when None.
        show: prints one line; standard output when None.
        tz: of the times shown; the machine's when None.
        rng: for jitter and message ids; the system's when None.
        options: of the client.
        dial: in place of TCP.

    Returns:
        0 when everything that was said is stored, else 1.

    Raises:
        ConnectFailed: nobody answers there; at once, for somebody waits at the terminal.
        ClientError: refused at the door, or by the first room.
    """
    first = FirstDial(url, dial)
    await first.connect()
    console = Console()
    terminal = Terminal(show=show or console.show, tz=tz)
    try:
        async with open_client(
            url,
            token=token,
            guest=name,
            encoding=encoding,
            rng=rng or SystemRandom(),
            options=options,
            on_update=terminal.on_update,
            dial=first.dial,
            client_name="parley-connect",
        ) as client:
            with terminal.ended:
                await _talk(client, terminal, lines or console, room)
    finally:
        console.close()
        await first.aclose()
    return EXIT_FAILED if terminal.unstored or terminal.error is not None else EXIT_OK


async def _talk(client: Client, terminal: Terminal, lines: AsyncIterator[str], room: str) -> None:
    terminal.tell_unread(client.welcome)
    await terminal.join(client, room)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.reads.run, client)
        async for line in lines:
            command = parse_line(line)
            if command is not None and not await terminal.obey(client, command):
                break
        await terminal.wait_stored(client)
        nursery.cancel_scope.cancel()
