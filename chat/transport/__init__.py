"""Bytes between sockets and sessions: frames, outboxes, one flusher, one poller.

The package knows nothing of chat: callbacks take bytes, outboxes take frames. One `Transport` per
server owns the two shared tasks; every accepted connection is a `ConnectionStream` that
trio-websocket drives, with the hot paths (data frames in, broadcast frames out) taken around it.

Layers, each importing only those before it: errors, frames, pace; intake, wire; outbox; flusher;
poller, stream; listener; hub.
"""

from chat.transport.closing import close_websocket as close_websocket
from chat.transport.errors import HeadTimeout as HeadTimeout
from chat.transport.errors import HeadTooLarge as HeadTooLarge
from chat.transport.errors import TransportError as TransportError
from chat.transport.flusher import Flusher as Flusher
from chat.transport.flusher import FlusherStatistics as FlusherStatistics
from chat.transport.flusher import FlushObserver as FlushObserver
from chat.transport.frames import PING_FRAME as PING_FRAME
from chat.transport.frames import build_frame as build_frame
from chat.transport.hub import Transport as Transport
from chat.transport.listener import ConnectionListener as ConnectionListener
from chat.transport.listener import bind_sockets as bind_sockets
from chat.transport.outbox import Outbox as Outbox
from chat.transport.stream import ConnectionStream as ConnectionStream
from chat.transport.wire import CloseCause as CloseCause

__all__ = [
    "PING_FRAME",
    "CloseCause",
    "ConnectionListener",
    "ConnectionStream",
    "FlushObserver",
    "Flusher",
    "FlusherStatistics",
    "HeadTimeout",
    "HeadTooLarge",
    "Outbox",
    "Transport",
    "TransportError",
    "bind_sockets",
    "build_frame",
    "close_websocket",
]
