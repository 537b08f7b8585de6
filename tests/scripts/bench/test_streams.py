"""Both measuring clients, against a server that talks as the peers do: lines, heartbeats, silence."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from chat.transport.frames import parse_masked_frame
from scripts.bench.dialects import UPGRADED, client_frame, frame_to_send, handshake, message_body
from scripts.bench.driver import Pace
from scripts.bench.script import FIRST_ID, Connection, Dialect, IdKind, SeqKind, Step, render_script
from scripts.bench.server import Target
from tests.scripts.bench.support import CORES, client_of, needs_compiler

LINES: Final = Dialect(
    id_kind=IdKind.DIGITS,
    seq_kind=SeqKind.NONE,
    ok_mark=b"+OK ",
    error_mark=b"-ERR",
    seq_mark=b"",
    delimiter=b"\r\n",
    ping=b"PING",
    pong=client_frame(b"PONG\r\n", text=False),
)


class _Liner:
    """A server of lines: it pings whoever comes, and answers a line with an ok and the line, cut anywhere."""

    def __init__(self) -> None:
        self.pongs = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            await self._talk(stream)
        except trio.BrokenResourceError:
            return  # the clients end connections by a reset

    async def _talk(self, stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await stream.send_all(_pieces(b"HELLO\r\nPING\r\n"))
        data, lines = data.partition(b"\r\n\r\n")[2], b""
        async for more in stream:
            data += more
            at = 0
            while isinstance(taken := parse_masked_frame(data, at, 65536), tuple):
                payload, at, _is_text = taken
                lines += payload
            data = data[at:]
            *whole, lines = lines.split(b"\r\n")
            for line in whole:
                await self._line(stream, bytes(line))

    async def _line(self, stream: trio.SocketStream, line: bytes) -> None:
        if line == b"PONG":
            self.pongs += 1
        elif line == b"JOIN":
            await stream.send_all(_pieces(b"JOINED\r\n"))
        else:
            number, _, body = line.partition(b" ")
            await stream.send_all(_pieces(b"+OK %b\r\nMSG 1\r\n%b\r\n" % (number, body)))


def _pieces(text: bytes) -> bytes:
    """The text in frames of seven bytes: lines begin and end in the middle of them."""
    cut = [text[at : at + 7] for at in range(0, len(text), 7)]
    return b"".join(bytes((0x82, len(piece))) + piece for piece in cut)


def _connection(port: int, room: int) -> Connection:
    number = b"%d" % FIRST_ID
    return Connection(
        room=room,
        steps=(
            Step(sent=handshake("localhost", port, None), mark=UPGRADED),
            Step(sent=client_frame(b"JOIN\r\n", text=False), mark=b"JOINED"),
        ),
        send=frame_to_send(number + b" " + message_body().encode() + b"\r\n", text=False, id_at=0),
    )


@asynccontextmanager
async def _serving(liner: _Liner, directory: Path) -> AsyncGenerator[Target]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, liner.serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port: int = listeners[0].socket.getsockname()[1]
        yield Target(pid=1, host="127.0.0.1", port=port, ops_port=0, log=directory / "log")
        nursery.cancel_scope.cancel()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["C", "Python"])
async def test_messages_are_found_in_a_stream_wherever_frames_cut_it(name: str, tmp_path: Path) -> None:
    """Each is counted once, each ping is answered, each ok belongs to its send."""
    liner = _Liner()
    async with _serving(liner, tmp_path) as target:
        script = render_script(LINES, [_connection(target.port, room) for room in range(3)])
        pace = Pace(rate=100, settle_s=0, warmup_s=0.05, measure_s=0.2, slices=2)
        run = await client_of(name, tmp_path).run(target, script, pace, cores=CORES)
    assert run.violations() == []
    assert (run.live, run.sent, run.events, run.oks) == (3, 25, 25, 25)
    assert run.ok.count > 0
    assert run.others == 25
    assert run.pings == liner.pongs == 3


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["C", "Python"])
async def test_at_rate_zero_the_measured_time_passes_idle(name: str, tmp_path: Path) -> None:
    """Nothing is sent, and what the server takes for that is seen."""
    liner = _Liner()
    async with _serving(liner, tmp_path) as target:
        script = render_script(LINES, [_connection(target.port, 0)])
        pace = Pace(rate=0, settle_s=0, warmup_s=0, measure_s=0.2, slices=2)
        run = await client_of(name, tmp_path).run(target, script, pace, cores=CORES)
    assert run.violations() == []
    assert (run.live, run.sent, run.events) == (1, 0, 0)
    assert len(run.shots) == 3
    assert run.seconds == pytest.approx(0.2, rel=0.5)
