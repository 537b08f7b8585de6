"""The transport as a whole: TLS, and two of them in one process."""

import pytest
import trio
import trio_websocket

from chat.transport import ConnectionStream, build_frame
from tests.chat.transport.support import running_transport, tls_contexts


async def echo(stream: ConnectionStream) -> None:
    """Answer each message with itself."""
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)

        def take(payload: bytes, is_text: bool) -> None:
            stream.outbox.push(build_frame(payload, text=is_text))

        stream.enable_short_cut(take)
        ws = await request.accept()
        with pytest.raises(trio_websocket.ConnectionClosed):
            await ws.get_message()


async def test_tls_connections_use_the_same_outbox_and_short_cut() -> None:
    """A whole WebSocket conversation over TLS, large messages included."""
    server_context, client_context = tls_contexts()
    async with running_transport() as transport, trio.open_nursery() as nursery:
        (listener,) = await transport.listen("127.0.0.1", 0, ssl_context=server_context)
        await nursery.start(trio.serve_listeners, echo, [listener])
        port = listener.address[1]
        async with trio_websocket.open_websocket("localhost", port, "/", use_ssl=client_context) as ws:
            for size in (1, 5000, 8000):
                await ws.send_message(b"x" * size)
                assert await ws.get_message() == b"x" * size
            await ws.ping()
        nursery.cancel_scope.cancel()
        assert transport.statistics().frames >= 3


async def test_two_transports_in_one_process_share_nothing() -> None:
    """Two servers must run in one test."""
    async with running_transport() as one, running_transport() as two:
        assert one.flusher is not two.flusher
        assert one.statistics().flushes == two.statistics().flushes == 0
