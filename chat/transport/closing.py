"""Closing a WebSocket from the server's side, bounded whatever the peer does."""

from typing import Final

import trio
import trio_websocket

from chat.transport.frames import build_close, holds_close
from chat.transport.stream import ConnectionStream

CLOSE_HANDSHAKE_TIMEOUT_S: Final = 2.0


async def close_websocket(
    ws: trio_websocket.WebSocketConnection, stream: ConnectionStream, code: int, reason: str | None = None
) -> None:
    """Say `code` behind what is queued, give the peer its time to answer, and be gone.

    Messages that still come are dropped. trio-websocket's reader task must be running. Nothing
    happens if the connection is closed already. Ends within `CLOSE_HANDSHAKE_TIMEOUT_S`, shielded from
    cancellation so that a cancelled server's clients hear why; then the connection is aborted.

    Args:
        ws: The WebSocket over `stream`.
        stream: Its stream.
        code: The close code (RFC 6455 7.4), 1000-4999.
        reason: At most 123 bytes of UTF-8; longer ones are cut.
    """
    stream.discard_messages()
    # By us, and before trio-websocket says the same, which then goes nowhere: where the peer closes at that
    # very moment, its reader closes the stream before its close frame was sent.
    stream.send_close(build_close(code, reason or ""))
    with trio.move_on_after(CLOSE_HANDSHAKE_TIMEOUT_S, shield=True):
        await ws.aclose(code, reason)
        # Where the peer was first, its reader is still answering: a reset would overtake the answer.
        await stream.wait_ended()
    stream.abort()


async def close_unattended(stream: ConnectionStream, code: int, reason: str) -> None:
    """As `close_websocket`, for a stream that nobody else reads: trio-websocket has not come in.

    The peer's own close frame, or its end, is the answer; what comes before it is dropped. The stream is
    closed in good order, and aborted only where something queued cannot leave.
    """
    stream.discard_messages()
    # Reading goes on meanwhile: a peer that writes before it reads would never get to its reading.
    stream.send_close(build_close(code, reason))
    with trio.move_on_after(CLOSE_HANDSHAKE_TIMEOUT_S, shield=True):
        try:
            try:
                while (data := await stream.receive_some()) and not holds_close(data):
                    pass
            finally:
                # Not with a reset, where nothing is left to be sent: it can overtake the close frame.
                await stream.aclose()  # noqa: ASYNC102  bounded also when the time is up
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone, which is all that was asked
    stream.abort()
