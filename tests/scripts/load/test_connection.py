"""A connection without tasks, over a pair of kernel sockets."""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from chat.client_session import ClientSession
from chat.client_state import Envelope
from chat.codec import MSGPACK
from chat.outbound import Outbound
from chat.transport.frames import build_frame, parse_masked_frame
from scripts.load.connection import Closed, Connection
from scripts.load.poller import Poller

BOUND_S = 10.0
KNOWN = build_frame(b"known", text=False)
EVENT: Envelope = {"t": "event"}


class Scene:
    """A connection, the session behind it, and the server's end of the socket."""

    def __init__(self, connection: Connection, session: ClientSession, server: trio.SocketStream) -> None:
        self.connection = connection
        self.session = session
        self.server = server
        self.got: list[bytes] = []
        self.closed: list[Closed] = []
        self.events: list[Envelope] = []
        self.takes_events = True

    def take(self, event: Envelope) -> bool:
        """A broadcast that is known."""
        if self.takes_events:
            self.events.append(event)
        return self.takes_events

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the poller work until something is so."""
        with trio.fail_after(BOUND_S):
            while not condition():
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_scene() -> AsyncGenerator[Scene]:
    """An open connection, its handshake done."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    poller = Poller()
    scenes: list[Scene] = []
    session = ClientSession(
        decode=MSGPACK.decode_envelope,
        encode=MSGPACK.encode,
        outbound=Outbound(),
        feed=None,
        on_update=lambda _: None,
        now_s=trio.current_time,
        wake=lambda: None,
        answer_s=BOUND_S,
        store_s=BOUND_S,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        connection = Connection(
            ours,
            session=session,
            on_message=lambda payload: scenes[0].got.append(payload),  # noqa: PLW0108  the scene comes later
            broadcasts={KNOWN: EVENT},
            on_broadcast=lambda event: scenes[0].take(event),  # noqa: PLW0108  same
            text=False,
            poller=poller,
            on_closed=lambda closed: scenes[0].closed.append(closed),  # noqa: PLW0108  same
            on_flushed=lambda _: None,
            now_s=trio.current_time(),
        )
        async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as server:
            scenes.append(Scene(connection, session, server))
            yield scenes[0]
            connection.abort()
        nursery.cancel_scope.cancel()
    poller.close()


async def test_messages_are_handed_on_whatever_pieces_they_come_in() -> None:
    """The first of them behind the handshake already."""
    async with open_scene() as scene:
        frames = build_frame(b"one", text=False) + build_frame(b"x" * 300, text=False)
        scene.connection.begin(frames[:3], trio.current_time())
        for index in range(3, len(frames), 50):
            await scene.server.send_all(frames[index : index + 50])
        await scene.until(lambda: len(scene.got) == 2)
        assert scene.got == [b"one", b"x" * 300]


async def test_a_ping_is_answered() -> None:
    """With its own payload, masked."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        await scene.server.send_all(b"\x89\x02hi")
        assert await scene.server.receive_some(100) == b"\x8a\x82\0\0\0\0hi"


async def test_what_the_session_has_to_say_is_sent() -> None:
    """As masked frames, in one piece."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        scene.session.attach({"user": {"id": "u_a"}})
        replies: list[Envelope | None] = []
        scene.session.ask({"t": "ping"}, replies.append)
        scene.connection.flush(trio.current_time())
        parsed = parse_masked_frame(await scene.server.receive_some(1000), 0, 1000)
        assert isinstance(parsed, tuple)
        assert MSGPACK.decode_envelope(parsed[0]) == {"t": "ping", "id": 1}


async def test_a_server_that_closes_is_told_with_its_code_and_reason() -> None:
    """After our half of the closing handshake."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        await scene.server.send_all(b"\x88\x06" + (4002).to_bytes(2) + b"slow")
        await scene.until(lambda: scene.closed)
        assert scene.closed == [Closed(4002, "slow")]
        assert (await scene.server.receive_some(100))[0] == 0x88


async def test_a_bye_overrules_the_close_code() -> None:
    """It says when to come back."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        scene.session.bye = {"code": 4000, "reason": "restart", "retry_after": 2.5}
        await scene.server.send_eof()
        await scene.until(lambda: scene.closed)
        assert scene.closed == [Closed(4000, "restart", 2.5)]


async def test_frames_that_no_server_may_send_end_the_connection() -> None:
    """Masked ones, for example."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        await scene.server.send_all(b"\x82\x85\0\0\0\0hello")
        await scene.until(lambda: scene.closed)
        assert scene.closed[0].code == 1006
        assert not scene.connection.open


async def test_a_paused_connection_reads_nothing_until_it_goes_on() -> None:
    """What came meanwhile waits in the kernel."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        scene.connection.pause()
        await scene.server.send_all(build_frame(b"one", text=False))
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert scene.got == []
        scene.connection.resume()
        await scene.until(lambda: scene.got)


async def test_closing_in_good_order_waits_for_the_servers_half() -> None:
    """Messages that come before it still count; aborting would not wait, and tells nobody."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        scene.connection.close()
        assert (await scene.server.receive_some(100))[0] == 0x88
        await scene.server.send_all(build_frame(b"late", text=False) + b"\x88\x02" + (1000).to_bytes(2))
        await scene.until(lambda: scene.closed)
        assert scene.got == [b"late"]
        assert scene.closed == [Closed(1000, "")]
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        scene.connection.abort()
        assert await scene.server.receive_some(100) == b""
        assert scene.closed == []


async def test_what_the_kernel_does_not_take_is_kept_and_given_up_in_time() -> None:
    """The connection ends when nothing has been taken for too long."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        while scene.connection.blocked_since_s is None:
            scene.connection.say(b"x" * 60_000)
            scene.connection.flush(100.0)
        assert scene.closed == []
        scene.connection.flush(111.0)
        assert [closed.reason for closed in scene.closed] == ["the server took nothing for 10 s"]


async def test_a_known_broadcast_is_not_taken_apart() -> None:
    """Unless it is refused, or comes together with something else."""
    async with open_scene() as scene:
        scene.connection.begin(b"", trio.current_time())
        await scene.server.send_all(KNOWN)
        await scene.until(lambda: scene.events)
        assert scene.got == []
        await scene.server.send_all(KNOWN + KNOWN)
        await scene.until(lambda: len(scene.got) == 2)
        scene.takes_events = False
        await scene.server.send_all(KNOWN)
        await scene.until(lambda: len(scene.got) == 3)
        assert scene.events == [EVENT]


async def test_bytes_within_a_message_that_look_like_a_broadcast_are_none() -> None:
    """They are the rest of what has begun."""
    async with open_scene() as scene:
        outer = build_frame(b"before " + KNOWN, text=False)
        scene.connection.begin(outer[: -len(KNOWN)], trio.current_time())
        await scene.server.send_all(KNOWN)
        await scene.until(lambda: scene.got)
        assert scene.got == [b"before " + KNOWN]
        assert scene.events == []
