"""Bytes between sockets and sessions: frames, outboxes, one flusher, one poller.

The package knows nothing of chat: callbacks take bytes, outboxes take frames. One `Transport` per
server owns the two shared tasks; every accepted connection is a `ConnectionStream` that
a `WebSocket` serves, with the hot paths (data frames in, broadcast frames out) taken around trio-websocket.

Layers, each importing only those before it: errors, frames, pace, upgrade; intake, wire; outbox; flusher;
poller, stream; closing, listener; websocket, hub.
"""

from chat.transport.errors import HeadTimeout as HeadTimeout
from chat.transport.errors import HeadTooLarge as HeadTooLarge
from chat.transport.errors import TransportError as TransportError
from chat.transport.flusher import Flusher as Flusher
from chat.transport.flusher import FlusherStatistics as FlusherStatistics
from chat.transport.flusher import FlushObserver as FlushObserver
from chat.transport.frames import PING_FRAME as PING_FRAME
from chat.transport.frames import build_close as build_close
from chat.transport.frames import build_frame as build_frame
from chat.transport.hub import Transport as Transport
from chat.transport.listener import ConnectionListener as ConnectionListener
from chat.transport.listener import bind_sockets as bind_sockets
from chat.transport.outbox import Outbox as Outbox
from chat.transport.stream import ConnectionStream as ConnectionStream
from chat.transport.websocket import WebSocket as WebSocket
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
    "WebSocket",
    "bind_sockets",
    "build_close",
    "build_frame",
]
