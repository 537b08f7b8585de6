"""A whole server in memory on trio's virtual clock, and scripted clients to talk to it.

    @virtual_time
    async def test_a_room_answers_its_members() -> None:
        async with open_sim() as sim:
            ann = await sim.connect("ann")
            await ann.request("join", room="tea", create=True)
            await ann.request("send", room="tea", cid="1", body="hello")

Rules: nothing sleeps for real; every wait ends, in virtual seconds, with an `AssertionError` that shows what
came instead; and a test fails when the server logged an error that it was not told to expect.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from random import Random
from typing import Final, ParamSpec, TypeVar

import pytest
import structlog
import trio
import trio.testing

from actors import open_system
from chat.codec import JSON, MSGPACK, Codec
from chat.config import Config
from chat.health import Readiness
from chat.lifecycle import end_in_order, hold_connections
from chat.metrics import Metrics
from chat.node import Node
from chat.pressure_state import Measures
from storage.memory import MemoryStore
from storage.model import RoomId
from storage.store import Store
from storage.testing import Fault, FaultyStore
from tests.chat.transport.support import client_frame

P = ParamSpec("P")
T = TypeVar("T")

Envelope = Mapping[str, object]

CODECS: Final = (MSGPACK, JSON)
both: Final = pytest.mark.parametrize("codec", CODECS, ids=["msgpack", "json"])
"""Runs a test in either encoding."""
BEGIN_MS: Final = 1_750_000_000_000
"""The wall clock at the virtual clock's zero."""
PATIENCE_S: Final = 60.0
"""Virtual seconds after which a client gives up: above every limit of the default configuration."""
HASH_S: Final = 0.03
"""Virtual seconds that a password's hash takes."""
OP_TEXT: Final = 1
OP_BINARY: Final = 2
OP_CLOSE: Final = 8
OP_PING: Final = 9
OP_PONG: Final = 10


def virtual_time(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run an async test on a clock that jumps to the next deadline whenever everybody waits."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(partial(test, *args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))

    return run


def request_head(
    method: str, target: str, fields: Mapping[str, str], changes: Mapping[str, str | None]
) -> bytes:
    """A request up to its body.

    Args:
        method: of the request.
        target: what is asked for.
        fields: the headers.
        changes: more of them, or others, `_` standing for `-`; None leaves one out.
    """
    headers = {**fields, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def upgrade_request(*, target: str = "/ws", **headers: str | None) -> bytes:
    """A WebSocket handshake (RFC 6455, 4.1).

    Args:
        target: what is asked for.
        headers: more of them, or others, `_` standing for `-`; None leaves one out.
    """
    fields = {
        "host": "localhost:8000",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }
    return request_head("GET", target, fields, headers)


async def at_once(work: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
    """Do in its turn, on this thread, what a server does on another: virtual time waits for no thread."""
    async with limiter:
        await trio.sleep(HASH_S)
        return work()


async def read_answer(stream: trio.abc.Stream) -> bytes:
    """All that comes until the server closes."""
    answer = bytearray()
    with trio.fail_after(PATIENCE_S):
        while data := await stream.receive_some():
            answer += data
    return bytes(answer)


def cut(stream: trio.abc.Stream | None) -> None:
    """Break a connection to the simulation, both ways."""
    assert isinstance(stream, trio.StapledStream)
    stream.send_stream.close()
    stream.receive_stream.close()


class SimClient:
    """One scripted connection. A task of the simulation reads for it and answers pings.

    Attributes:
        stream: this end of the connection, for bytes of one's own making.
        codec: its encoding.
        received: every envelope that ever came, oldest first.
        closed_with: the server's close code; None while there is none, 0 for an end without a close frame.
        close_reason: what the close frame said.
        answers_pings: whether pings get their pongs.
        answers_close: whether a close frame gets its answer, as RFC 6455 asks for.
        pings: how many came.
        user_id: from the welcome.
    """

    def __init__(self, stream: trio.abc.Stream, codec: Codec) -> None:
        self.stream = stream
        self.codec = codec
        self.received: list[Envelope] = []
        self.closed_with: int | None = None
        self.close_reason = ""
        self.answers_pings = True
        self.answers_close = True
        self.pings = 0
        self.user_id = ""
        self._unread: list[Envelope] = []
        self._arrived = trio.Event()
        self._buffer = bytearray()
        self._last_id = 0
        self._writing = trio.Lock()
        self._replies: list[bytes] = []

    # -- sending ---------------------------------------------------------------------------------------

    def frame(self, envelope: Envelope) -> bytes:
        """An envelope as this client's frame."""
        return self.frame_of(self.codec.encode(envelope))

    def frame_of(self, payload: bytes) -> bytes:
        """Any payload as a data frame of this client's kind."""
        return client_frame(payload, opcode=OP_TEXT if self.codec.is_text else OP_BINARY)

    async def send(self, t: str, **fields: object) -> int:
        """Send a request with a new id; its id."""
        self._last_id += 1
        await self.write(self.frame({"t": t, "id": self._last_id, **fields}))
        return self._last_id

    async def send_payload(self, payload: bytes) -> None:
        """Send any bytes as a message."""
        await self.write(self.frame_of(payload))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with self._writing:
            await self.stream.send_all(data)

    async def request(self, t: str, **fields: object) -> Envelope:
        """Send a request and return its answer, which must not be an error."""
        answer = await self.answer(await self.send(t, **fields))
        if answer["t"] == "error":
            raise AssertionError(f"{t} was refused: {answer}")
        return answer

    async def refused(self, t: str, **fields: object) -> Envelope:
        """Send a request and return its answer, which must be an error."""
        answer = await self.answer(await self.send(t, **fields))
        if answer["t"] != "error":
            raise AssertionError(f"{t} was not refused: {answer}")
        return answer

    # -- receiving -------------------------------------------------------------------------------------

    async def answer(self, request_id: int) -> Envelope:
        """The answer to a request."""
        return await self.expect(id=request_id)

    async def expect(self, t: str | None = None, /, **fields: object) -> Envelope:
        """The first envelope not expected before that has this `t` and these fields; others stay.

        Raises:
            AssertionError: the connection ended, or `PATIENCE_S` passed, without one.
        """
        wanted = fields if t is None else {"t": t, **fields}
        with trio.move_on_after(PATIENCE_S):
            while True:
                for index, envelope in enumerate(self._unread):
                    if all(name in envelope and envelope[name] == value for name, value in wanted.items()):
                        return self._unread.pop(index)
                if self.closed_with is not None:
                    break
                self._arrived = trio.Event()
                await self._arrived.wait()
        raise AssertionError(f"no {wanted} came; closed: {self.closed_with}; unread: {self._unread}")

    def heard(self, t: str, **fields: object) -> list[Envelope]:
        """Every envelope that ever came with this `t` and these fields."""
        return [
            envelope
            for envelope in self.received
            if envelope["t"] == t and all(envelope.get(name) == value for name, value in fields.items())
        ]

    def bodies(self, room: str) -> list[object]:
        """The messages of a room as they were seen, in order."""
        return [event["body"] for event in self.heard("event", room=room, kind="message")]

    def answers(self) -> Counter[object]:
        """How many answers came, by request id."""
        kinds = {"ok", "error", "welcome"}
        return Counter(
            envelope["id"] for envelope in self.received if envelope["t"] in kinds and "id" in envelope
        )

    async def wait_closed(self) -> int:
        """Wait for the connection's end; the close code, or 0 where it ended without one."""
        with trio.move_on_after(PATIENCE_S):
            while self.closed_with is None:
                self._arrived = trio.Event()
                await self._arrived.wait()
        if self.closed_with is None:
            raise AssertionError(f"still open; unread: {self._unread}")
        return self.closed_with

    # -- the connection --------------------------------------------------------------------------------

    async def upgrade(self, request: bytes) -> int:
        """Shake hands; the answer's status."""
        await self.stream.send_all(request)
        with trio.fail_after(PATIENCE_S):
            while b"\r\n\r\n" not in self._buffer:
                data = await self.stream.receive_some()
                if not data:
                    raise AssertionError(f"no answer to the handshake: {bytes(self._buffer)!r}")
                self._buffer += data
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        return int(head.split(b" ", 2)[1])

    async def hello(self, name: str, **fields: object) -> Envelope:
        """Come in as a guest; the welcome."""
        return await self.come_in(guest=name, **fields)

    async def come_in(self, **fields: object) -> Envelope:
        """Say a `hello` of these fields; the welcome."""
        welcome = await self.request("hello", **fields)
        assert welcome["t"] == "welcome"
        user = welcome["user"]
        assert isinstance(user, Mapping)
        self.user_id = str(user["id"])
        return welcome

    async def close(self, code: int = 1000) -> None:
        """Leave in good order."""
        await self.write(client_frame(code.to_bytes(2), opcode=OP_CLOSE))
        await self.wait_closed()

    def vanish(self) -> None:
        """Lose the connection without a word."""
        cut(self.stream)

    async def read(self) -> None:
        """Take in what comes until the connection ends; for the simulation."""
        try:
            while True:
                self._take_frames()
                for reply in self._replies:
                    await self.write(reply)
                self._replies.clear()
                data = await self.stream.receive_some()
                if not data:
                    break
                self._buffer += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # An abort of the server, or `vanish`.
            self.closed_with = self.closed_with or 0
        finally:
            self.closed_with = self.closed_with or 0
            self._arrived.set()

    def _take_frames(self) -> None:
        buffer = self._buffer
        while len(buffer) >= 2:
            start, size = 2, buffer[1]
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(buffer[2:start])
            if len(buffer) < start + size:
                return
            opcode = buffer[0] & 0x0F
            payload = bytes(buffer[start : start + size])
            del buffer[: start + size]
            self._take_frame(opcode, payload)

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == OP_CLOSE:
            self.closed_with = int.from_bytes(payload[:2]) if payload else 1005
            self.close_reason = payload[2:].decode()
            if self.answers_close:
                self._replies.append(client_frame(payload, opcode=OP_CLOSE))
        elif opcode == OP_PING:
            self.pings += 1
            if self.answers_pings:
                self._replies.append(client_frame(payload, opcode=OP_PONG))
        elif opcode in {OP_TEXT, OP_BINARY}:
            assert (opcode == OP_TEXT) is self.codec.is_text, "an answer in the other encoding"
            envelope = self.codec.decode_envelope(payload)
            self.received.append(envelope)
            self._unread.append(envelope)
        self._arrived.set()


class Sim:
    """A running server in memory.

    Attributes:
        node: its parts.
        store: where it stores.
        faults: what happens to calls of the store, by the method's name; change it at any time.
        calls: how many there were so far, by the method's name.
        logged: what the server logged.
    """

    def __init__(
        self,
        node: Node,
        store: Store,
        faults: dict[str, Fault],
        calls: Counter[str],
        nursery: trio.Nursery,
        handlers: trio.Nursery,
        logged: Sequence[Mapping[str, object]],
    ) -> None:
        self.node = node
        self.store = store
        self.faults = faults
        self.calls = calls
        self.logged = logged
        self._nursery = nursery
        self._handlers = handlers

    async def stop(self) -> None:
        """Stop the server as `parley serve` does at a signal; nothing runs but the store afterwards."""
        await end_in_order(self.node, self._handlers)

    def dial(self, *, peer: str = "127.0.0.1", lockstep: bool = False) -> trio.abc.Stream:
        """Connect; nothing is said yet.

        Args:
            peer: the address that the server sees.
            lockstep: nothing is sent before the other side receives: for clients that do not read.
        """
        make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        ours, theirs = make()
        self._handlers.start_soon(self.node.gateway.handle, self.node.transport.wrap(theirs, peer=peer))
        return ours

    async def dial_soon(self) -> trio.abc.Stream:
        """Connect, as the `dial` of a client library."""
        await trio.lowlevel.checkpoint()
        return self.dial()

    async def open(self, codec: Codec = MSGPACK, *, peer: str = "127.0.0.1") -> SimClient:
        """Connect and shake hands; no `hello` yet."""
        client = SimClient(self.dial(peer=peer), codec)
        status = await client.upgrade(upgrade_request(sec_websocket_protocol=codec.subprotocol))
        assert status == 101, f"the handshake was answered {status}"
        self.start_reading(client)
        return client

    async def connect(self, name: str, codec: Codec = MSGPACK, **fields: object) -> SimClient:
        """Connect and come in as a guest of this name; `fields` go into the `hello`."""
        client = await self.open(codec)
        await client.hello(name, **fields)
        return client

    async def enter(self, token: object, codec: Codec = MSGPACK) -> SimClient:
        """Connect and come in with a token."""
        client = await self.open(codec)
        await client.come_in(token=token)
        return client

    async def join(self, room: str, *names: str, codec: Codec = MSGPACK) -> list[SimClient]:
        """Connect guests and make them members of a room, which is made if there is none."""
        clients = [await self.connect(name, codec) for name in names]
        for client in clients:
            await client.request("join", room=room, create=True)
        return clients

    def start_reading(self, client: SimClient) -> None:
        """Have a client take in what comes."""
        self._nursery.start_soon(client.read)

    def start_soon(self, async_fn: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run something beside the test; it is cancelled with the simulation."""
        self._nursery.start_soon(async_fn)

    def press(self, level: int) -> None:
        """Put the server under this pressure, which nobody is told."""
        self.node.governor._state.level = level  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  nothing else presses it

    def errors(self) -> list[Mapping[str, object]]:
        """What was logged as an error."""
        return [entry for entry in self.logged if entry["log_level"] in {"error", "critical"}]


def as_late_as(lag_s: float) -> Callable[[Node], None]:
    """As `prepare`: the server takes itself for so late, however late the machine under the test is."""

    def prepare(node: Node) -> None:
        node._measure = lambda: Measures(lag_s=lag_s, commit_wait_s=0.0, backlog=0.0)  # type: ignore[method-assign]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  of a busy machine no test can make a quiet one

    return prepare


def items(answer: Envelope) -> list[dict[str, object]]:
    """What a list lists."""
    listed = answer["items"]
    assert isinstance(listed, list)
    return listed


async def room_id(store: Store, room: str) -> RoomId:
    """A room's number in storage."""
    row = await store.find_room(room)
    assert row is not None
    return row.room_id


async def walk(client: SimClient, t: str, **fields: object) -> list[list[dict[str, object]]]:
    """Every page of a list, by its cursors."""
    pages: list[list[dict[str, object]]] = []
    cursor: dict[str, object] = {}
    while True:
        page = await client.request(t, **fields, **cursor)
        pages.append(items(page))
        if "next" not in page:
            return pages
        cursor = {"cursor": page["next"]}


@asynccontextmanager
async def open_sim(
    config: Config | None = None,
    *,
    store: Store | None = None,
    errors: Collection[str] = (),
    prepare: Callable[[Node], None] | None = None,
    seed: int = 1,
) -> AsyncGenerator[Sim, None]:
    """Start a server in memory; it ends in order with the body.

    Args:
        config: the settings; by default those of a server on loopback.
        store: what it stores in; by default an empty one.
        errors: events that may be logged as errors.
        prepare: called with the server's parts before they start.
        seed: of all chance.

    Raises:
        AssertionError: the server logged another error.
    """
    store = store or MemoryStore()
    faults: dict[str, Fault] = {}
    calls: Counter[str] = Counter()

    def script(call: str) -> Fault | None:
        calls[call] += 1
        return faults.get(call)

    rng = Random(seed)  # noqa: S311  a simulation's chance
    metrics = Metrics()
    with structlog.testing.capture_logs() as logged:
        async with open_system(observer=metrics.turns, rng=rng) as system, trio.open_nursery() as parts:
            node = Node(
                config or Config(),
                FaultyStore(store, script),
                system,
                metrics=metrics,
                readiness=Readiness(),
                now_ms=lambda: BEGIN_MS + int(trio.current_time() * 1000),
                rng=rng,
                random_bytes=rng.randbytes,
                in_thread=at_once,
            )
            if prepare is not None:
                prepare(node)
            await parts.start(node.run)
            node.readiness.started()
            async with trio.open_nursery() as clients:
                handlers = await clients.start(hold_connections)
                sim = Sim(node, store, faults, calls, clients, handlers, logged)
                yield sim
                clients.cancel_scope.cancel()
            faults.clear()
            await system.shutdown(deadline_s=10.0)
            parts.cancel_scope.cancel()
    unexpected = [entry for entry in sim.errors() if entry["event"] not in errors]
    assert not unexpected, f"the server logged {unexpected}"
