"""One connection's WebSocket: trio-websocket takes part in it only when something unusual comes.

Nearly all connections shake hands properly and then exchange whole data frames, pings and pongs, which the
stream's short cut deals with. trio-websocket's objects, its reader's task and its second look at the
handshake cost a third of a new connection's price; so they are made when a fragment, a close frame or a
broken frame comes, or for a handshake that is not plain. It then gets every byte that the short cut does not
take.
"""

from collections.abc import Mapping
from typing import Final

import trio
import trio_websocket

from chat.transport.closing import close_unattended, close_websocket
from chat.transport.stream import ConnectionStream
from chat.transport.upgrade import accept_upgrade, plain_request

ATTEND_TIMEOUT_S: Final = 3.0
"""Nothing is waited for but other tasks' turns; but 8,000 closes at once took 0.7 s of them (measured)."""


class WebSocket:
    """A server's WebSocket over one stream whose head was read.

    Args:
        nursery: where trio-websocket's reader runs; its tasks are the connection's.
        stream: `enable_short_cut` is called on it between `examine` and `accept`.
        subprotocol: of the answer; None: the client offered none.
        message_max_bytes: what a message in fragments may hold.
    """

    __slots__ = (
        "_answer",
        "_inner",
        "_message_max_bytes",
        "_nursery",
        "_request",
        "_stream",
        "_subprotocol",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: ConnectionStream,
        *,
        subprotocol: str | None,
        message_max_bytes: int,
    ) -> None:
        self._nursery = nursery
        self._stream = stream
        self._subprotocol = subprotocol
        self._message_max_bytes = message_max_bytes
        self._answer: bytes | None = None
        self._request: trio_websocket.WebSocketRequest | None = None
        self._inner: trio_websocket.WebSocketConnection | None = None

    @property
    def attended(self) -> bool:
        """Whether trio-websocket takes part."""
        return self._inner is not None

    @property
    def closed_with(self) -> int | None:
        """The code with which trio-websocket has closed, or failed, the connection; None: it has not."""
        inner = self._inner
        return None if inner is None or inner.closed is None else inner.closed.code

    async def examine(self, headers: Mapping[bytes, bytes]) -> None:
        """Judge the handshake whose head the stream has read; trio-websocket judges one that is not plain.

        Raises:
            trio_websocket.HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError: it was refused,
                which the peer was told, or the peer is gone.

        Cancellation: close the stream.
        """
        self._answer = accept_upgrade(headers, subprotocol=self._subprotocol)
        if self._answer is None:
            self._request = await self._wrap()

    async def accept(self) -> None:
        """Answer a handshake that was examined; frames count from here on. Raises as `examine`."""
        if self._answer is not None:
            self._stream.answer_upgrade(self._answer)
            self._answer = None
        elif self._request is not None:
            self._inner = await self._request.accept(subprotocol=self._subprotocol)
            self._request = None

    async def get_message(self) -> str | bytes:
        """The next message that came in fragments.

        Raises:
            trio_websocket.ConnectionClosed: the connection has ended.

        Cancellation: nothing is lost.
        """
        if self._inner is None:
            if not await self._stream.wait_passed():
                raise trio_websocket.ConnectionClosed(None)
            self._stream.shake_hands_again(plain_request(self._subprotocol))
            with trio.move_on_after(ATTEND_TIMEOUT_S, shield=True):
                self._inner = await (await self._wrap()).accept(subprotocol=self._subprotocol)
            if self._inner is None:
                # The connection's nursery is being cancelled.
                self._stream.abort()
                raise trio_websocket.ConnectionClosed(None)
        return await self._inner.get_message()

    async def aclose(self, code: int, reason: str) -> None:
        """Say `code` behind what is queued, give the peer its time to answer, and be gone.

        Nothing happens when the connection has ended. Bounded, and shielded, as both ways to close are.
        """
        if self._inner is None:
            if self._stream.close_cause is None:
                await close_unattended(self._stream, code, reason)
        elif self._inner.closed is None:
            await close_websocket(self._inner, self._stream, code, reason)

    async def _wrap(self) -> trio_websocket.WebSocketRequest:
        return await trio_websocket.wrap_server_stream(
            self._nursery, self._stream, max_message_size=self._message_max_bytes, receive_buffer_size=None
        )
