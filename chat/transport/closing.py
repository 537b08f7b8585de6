"""Closing a WebSocket from the server's side, bounded whatever the peer does."""

from typing import Final

import trio
import trio_websocket

from chat.transport.stream import ConnectionStream

CLOSE_HANDSHAKE_TIMEOUT_S: Final = 2.0


async def close_websocket(
    ws: trio_websocket.WebSocketConnection,
    stream: ConnectionStream,
    code: int,
    reason: str | None = None,
    *,
    timeout_s: float = CLOSE_HANDSHAKE_TIMEOUT_S,
) -> None:
    """Say `code` behind what is queued, give the peer its time to answer, and be gone.

    Messages that still come are dropped. trio-websocket's reader task must be running. Nothing
    happens if the connection is closed already. Ends within `timeout_s`, shielded from cancellation
    so that a cancelled server's clients hear why; then the connection is aborted.

    Args:
        ws: The WebSocket over `stream`.
        stream: Its stream.
        code: The close code (RFC 6455 7.4), 1000-4999.
        reason: At most 123 bytes of UTF-8; longer ones are cut.
        timeout_s: Bound on sending what is queued and on the peer's answer.
    """
    stream.discard_messages()
    with trio.move_on_after(timeout_s, shield=True):
        await ws.aclose(code, reason)
    stream.abort()
