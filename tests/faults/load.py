"""A steady load on a real server, and the check that nothing of it was lost, doubled or reordered.

Every room has talkers, whose messages are posted at a fixed rate whatever the server does, and listeners. All
of them keep their log of the room. `Load.check` then compares what was answered `ok`, every client's log,
the history as a stranger reads it, and the rows in Postgres.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, NamedTuple

import trio

from chat.client import Client, ClientOptions, Encoding, open_client
from chat.codec import JSON, MSGPACK
from chat.decode_memo import DecodeMemo
from chat.outbound import Delivery, Outgoing
from chat.transport.poller import Poller
from storage.database import Tx
from tests.e2e.server_process import ServerProcess, until
from tests.faults.client_log import ClientLog, Event, event_of

PAGE: Final = 100
TICK_S: Final = 0.02
CATCH_UP_S: Final = 60.0
"""For everything to be stored and told after a fault: how long it takes is no test's business."""

OPTIONS: Final = ClientOptions(
    connect_timeout_s=30.0,
    request_timeout_s=30.0,
    reconnect_first_s=0.1,
    reconnect_max_s=0.4,
    queued_max=100_000,
    # A room stays live while Postgres is away: talkers go on above what is stored.
    unstored_max=100_000,
)

_LOG: Final = """
SELECT r.name, l.seq, l.epoch, l.kind, l.author, l.cid, l.body
  FROM log l JOIN rooms r ON r.id = l.room_id
 ORDER BY l.room_id, l.seq
"""
_KEYS: Final = """
SELECT r.name, l.cid, l.seq FROM log l JOIN rooms r ON r.id = l.room_id WHERE l.kind = 'message'
"""


class Told(NamedTuple):
    """One `ok`: a promise for ever."""

    seq: int
    epoch: int
    by: str
    body: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How much load.

    Attributes:
        per_s: messages posted, over all rooms.
        body_bytes: the size of a body, at least.
    """

    rooms: int = 20
    talkers: int = 2
    listeners: int = 2
    per_s: float = 1000.0
    body_bytes: int = 40


class Talker:
    """A client that posts, and remembers what it was told of each message."""

    def __init__(self, client: Client, log: ClientLog) -> None:
        self.client = client
        self.log = log
        self.posted: dict[str, str] = {}
        self.told: dict[str, Told] = {}
        self.refused: list[str] = []
        self.ok_s: list[float] = []

    def post(self, body: str) -> None:
        """Post a message under a cid of its own."""
        cid = f"m{len(self.posted) + 1}"
        self.posted[cid] = body
        self.client.post(
            self.log.room, body, cid=cid, on_change=partial(self._on_change, trio.current_time())
        )

    def _on_change(self, posted_at_s: float, outgoing: Outgoing) -> None:
        if outgoing.state is Delivery.STORED and outgoing.stored is not None:
            stored = outgoing.stored
            if outgoing.cid in self.told:
                self.refused.append(f"{outgoing.cid} was answered twice")
            self.told[outgoing.cid] = Told(stored.seq, stored.epoch, self.client.user_id, outgoing.body)
            self.ok_s.append(trio.current_time() - posted_at_s)
        elif outgoing.state is Delivery.REFUSED:
            self.refused.append(f"{outgoing.cid}: {outgoing.refused}")

    @property
    def unanswered(self) -> int:
        """Messages posted and not yet stored."""
        return len(self.posted) - len(self.told)


class Load:
    """The clients and their messages. Made by `open_load`."""

    def __init__(self, server: ServerProcess, shape: Shape, rng: Random) -> None:
        self.server = server
        self.talkers: list[Talker] = []
        self.logs: list[ClientLog] = []
        self.clients: list[Client] = []
        self.rooms = [f"room-{number:02}" for number in range(1, shape.rooms + 1)]
        self._shape = shape
        self._rng = rng
        self._decodes = {
            codec: DecodeMemo(codec.decode_envelope, size=1024 * shape.rooms) for codec in (MSGPACK, JSON)
        }
        self._paused = False

    # -- its people ------------------------------------------------------------------------------------

    async def admit(self, stack: AsyncExitStack, poller: Poller) -> None:
        """Bring everybody into their rooms; the clients leave with the stack."""
        shape = self._shape
        for room in self.rooms:
            for number in range(shape.talkers + shape.listeners):
                log = ClientLog(room)
                # Both encodings in every room, among those who talk and those who listen.
                client = await self._enter(stack, poller, f"{room} {number}", log, json=number % 2 == 1)
                await client.join(room, create=True, limit=1)
                if number < shape.talkers:
                    self.talkers.append(Talker(client, log))

    async def _enter(
        self, stack: AsyncExitStack, poller: Poller, name: str, log: ClientLog, *, json: bool
    ) -> Client:
        encoding: Encoding = "json" if json else "msgpack"
        client = await stack.enter_async_context(
            open_client(
                self.server.url,
                guest=name,
                rng=Random(self._rng.random()),  # noqa: S311  jitter
                encoding=encoding,
                options=OPTIONS,
                on_update=log,
                decode=self._decodes[JSON if json else MSGPACK],
                poller=poller,
            )
        )
        self.logs.append(log)
        self.clients.append(client)
        return client

    # -- its messages ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Post at the rate, talker by talker, until cancelled; what is late is made up for."""
        began_s, posted, turn = trio.current_time(), 0, 0
        while True:
            due = int((trio.current_time() - began_s) * self._shape.per_s)
            if self._paused:
                posted = due
            while posted < due:
                self.talkers[turn % len(self.talkers)].post(self.body(turn))
                posted += 1
                turn += 1
            await trio.sleep(TICK_S)

    def body(self, number: int) -> str:
        """A body of the size asked for, unlike every other."""
        return f"message {number} ü 🦜 ".ljust(self._shape.body_bytes, ".")

    def pause(self) -> None:
        """Post nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Go on posting."""
        self._paused = False

    @property
    def posted(self) -> int:
        """Messages posted so far."""
        return sum(len(talker.posted) for talker in self.talkers)

    @property
    def told(self) -> int:
        """Messages answered `ok` so far."""
        return sum(len(talker.told) for talker in self.talkers)

    @property
    def unanswered(self) -> int:
        """Messages posted and not yet answered."""
        return sum(talker.unanswered for talker in self.talkers)

    @property
    def delivered(self) -> int:
        """Events that clients have seen so far."""
        return sum(log.seen for log in self.logs)

    async def more_told(self, count: int, *, timeout_s: float = CATCH_UP_S) -> None:
        """Wait for so many more `ok`s."""
        goal = self.told + count
        await until(lambda: self.told >= goal, f"not {count} more ok", timeout_s=timeout_s)

    async def all_connected(self) -> None:
        """Wait until every client is connected."""
        await until(lambda: all(client.connected for client in self.clients), "not all came back")

    async def settle(self) -> None:
        """Post no more; wait until every message is answered and every log ends as its room's does."""
        self.pause()
        await until(lambda: not self.unanswered, "not all messages are answered", timeout_s=CATCH_UP_S)
        # The event itself, not its seq: who has not come back yet may show another one there.
        last = {room: rows[-1] for room, rows in (await self.read_rows()).items() if rows}
        await until(
            lambda: all(
                log.room not in last or log.events.get(log.head) == last[log.room] for log in self.logs
            ),
            "not all clients have caught up",
            timeout_s=CATCH_UP_S,
        )

    # -- what must hold --------------------------------------------------------------------------------

    async def check_told(self) -> None:
        """Cheap, at any moment: everything answered `ok` so far is in Postgres under its seq.

        Raises:
            AssertionError: it is not.
        """
        told = {(talker.log.room, cid, ok.seq) for talker in self.talkers for cid, ok in talker.told.items()}

        async def read(tx: Tx) -> set[tuple[object, ...]]:
            return {tuple(row) for row in await tx.fetch(_KEYS)}

        async with self.server.database() as database:
            stored = await database.read(read)
        lost = told - stored
        assert not lost, f"{len(lost)} answered ok and not stored: {sorted(lost)[:5]}"

    async def check(self, *, in_order: bool) -> None:
        """Settle, then compare everything with everything.

        Args:
            in_order: whether each talker's messages must be in the order of posting.

        Raises:
            AssertionError: a promise of docs/design.md 1 is broken; the words tell which and where.
        """
        await self.settle()
        rows = await self.read_rows()
        histories = await self._read_histories()
        wrong: list[str] = []
        for room in self.rooms:
            talkers = [talker for talker in self.talkers if talker.log.room == room]
            logs = [log for log in self.logs if log.room == room]
            wrong += check_rows(room, rows[room], talkers, in_order=in_order)
            if histories[room] != rows[room]:
                wrong.append(f"{room}: history is not what Postgres has")
            for index, log in enumerate(logs):
                wrong += [f"{room}[{index}]: {words}" for words in check_log(log, rows[room])]
        assert not wrong, f"{len(wrong)} broken promises:\n" + "\n".join(wrong[:20])

    async def read_rows(self) -> Mapping[str, Sequence[Event]]:
        """Every room's log as Postgres has it."""

        async def read(tx: Tx) -> dict[str, list[Event]]:
            logs: dict[str, list[Event]] = {room: [] for room in self.rooms}
            for room, seq, epoch, kind, by, cid, body in await tx.fetch(_LOG):
                plain = kind != "message"
                logs[str(room)].append(
                    Event(
                        int(str(seq)),
                        int(str(epoch)),
                        str(by),
                        None if plain else str(cid),
                        None if plain else str(body),
                    )
                )
            return logs

        async with self.server.database() as database:
            return await database.read(read)

    async def _read_histories(self) -> Mapping[str, Sequence[Event]]:
        """Every room's log as somebody who has just come pages through it."""
        async with open_client(
            self.server.url,
            guest="stranger",
            rng=Random(1),  # noqa: S311
            options=OPTIONS,
        ) as client:
            return {room: await read_history(client, room) for room in self.rooms}

    def count_rewinds(self) -> int:
        """Rewinds that clients were told."""
        return sum(len(log.rewinds) for log in self.logs)

    def ok_percentile_ms(self, percent: float) -> float:
        """From posting to `ok`: faults included."""
        waits_s = sorted(wait_s for talker in self.talkers for wait_s in talker.ok_s)
        return waits_s[int((len(waits_s) - 1) * percent / 100)] * 1000 if waits_s else 0.0


async def read_history(client: Client, room: str) -> list[Event]:
    """A room's whole log by `history`, from its first event on."""
    events: list[Event] = []
    while True:
        page = await client.history(room, after=len(events), limit=PAGE)
        items = page["items"]
        assert isinstance(items, list)
        events += [event_of(item) for item in items]
        if "next" not in page:
            return events


def check_rows(room: str, rows: Sequence[Event], talkers: Sequence[Talker], *, in_order: bool) -> list[str]:
    """What is wrong with a room's rows, given what was posted and what was told; empty: nothing."""
    wrong: list[str] = []
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        wrong.append(f"{room}: the log has gaps")
    epochs = [row.epoch for row in rows]
    if epochs != sorted(epochs):
        wrong.append(f"{room}: an epoch falls while seq rises")
    by_key = {(row.by, row.cid): row for row in rows if row.is_message}
    messages = sum(row.is_message for row in rows)
    if len(by_key) != messages:
        twice = [
            key for key, count in Counter((row.by, row.cid) for row in rows if row.cid).items() if count > 1
        ]
        wrong.append(f"{room}: stored twice: {twice[:5]}")
    for talker in talkers:
        wrong += [f"{room}: {words}" for words in talker.refused]
        for cid, ok in talker.told.items():
            row = by_key.get((ok.by, cid))
            if row is None:
                wrong.append(f"{room}: {cid} was answered ok and is lost")
            elif (row.seq, row.epoch, row.body) != (ok.seq, ok.epoch, talker.posted[cid]):
                wrong.append(f"{room}: {cid} was answered {ok}, stored is {row}")
        by = talker.client.user_id
        stored = [row.cid for row in rows if row.is_message and row.by == by]
        if in_order and stored != list(talker.posted):
            wrong.append(f"{room}: a talker's messages are not in the order of posting")
    if messages != sum(len(talker.posted) for talker in talkers):
        wrong.append(f"{room}: {messages} messages stored, others were posted")
    return wrong


def check_log(log: ClientLog, rows: Sequence[Event]) -> list[str]:
    """What is wrong with a client's log, given the room's rows; empty: nothing."""
    wrong = list(log.wrong)
    survivors = {(row.seq, row.epoch): row for row in rows}
    expected = {row.seq: (row.by, row.cid or "", row.body or "") if row.is_message else None for row in rows}
    if log.shown() != expected:
        shown = log.shown()
        odd = [seq for seq in sorted(expected.keys() | shown.keys()) if shown.get(seq) != expected.get(seq)]
        wrong.append(f"it does not show what is stored at {odd[:5]} of {len(rows)}")
    for rewind in log.rewinds:
        # `keep` is the last that survived: nothing that did may be among what was dropped.
        spared = [event.seq for event in rewind.dropped if (event.seq, event.epoch) in survivors]
        if spared:
            wrong.append(f"a rewind to #{rewind.keep} dropped {spared[:5]}, which survived")
    return wrong


@asynccontextmanager
async def open_load(
    server: ServerProcess, shape: Shape | None = None, *, seed: int = 1, running: bool = True
) -> AsyncGenerator[Load]:
    """Everybody in their rooms, and the load running until the body ends.

    Args:
        server: started.
        shape: how much.
        seed: of everything random but what the network does.
        running: whether messages are posted by themselves.
    """
    load = Load(server, shape or Shape(), Random(seed))  # noqa: S311  a test's choices
    poller = Poller()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        async with AsyncExitStack() as stack:
            try:
                await load.admit(stack, poller)
                if running:
                    nursery.start_soon(load.run)
                yield load
            except Exception as error:  # noqa: BLE001  raised below, without the nursery's group
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
