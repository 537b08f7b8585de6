"""The peers: what each is, how its server is started, how it is spoken to, and what it does not do.

A peer is one entry here; a server of ours on the peer's library is one file in `servers/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from scripts.bench.peers.dialects import (
    JSON_ROOMS,
    NATS,
    SOCKET_IO,
    XMPP,
    json_rooms_connection,
    nats_connection,
    socket_io_connection,
    xmpp_connection,
)
from scripts.bench.peers.launches import Launch, ejabberd, nats, node, python
from scripts.bench.script import Connection, Dialect


class Family(Enum):
    """Where a peer is installed from."""

    NPM = "npm"
    PYPI = "PyPI"
    DEBIAN = "Debian"


class Connect(Protocol):
    """Makes the script of one connection."""

    def __call__(self, host: str, port: int, *, index: int, room: int) -> Connection:
        """The connection with that number, in the room with that number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A product that Parley is measured beside.

    Attributes:
        name: on the command line and in the table.
        title: as its makers write it.
        packages: whose versions count, as the installation calls them.
        lacks: what it does not do in this test, for the reader to weigh the figures.
        launch: from the installation's root, the server's own directory and a free port.
    """

    name: str
    title: str
    family: Family
    packages: Sequence[str]
    lacks: str
    dialect: Dialect
    connect: Connect
    launch: Callable[[Path, Path, int], Launch]


PEERS: Final[Sequence[Peer]] = (
    Peer(
        name="socket.io",
        title="Socket.IO",
        family=Family.NPM,
        packages=("socket.io", "engine.io/ws", "bufferutil", "node"),
        lacks="no storage, no sequence numbers, no replay; the acknowledgement says that the server emitted",
        dialect=SOCKET_IO,
        connect=socket_io_connection,
        launch=node("socketio_server.js"),
    ),
    Peer(
        name="ws",
        title="ws",
        family=Family.NPM,
        packages=("ws", "bufferutil", "node"),
        lacks="no storage, no sequence numbers, no replay, no acknowledgement, no heartbeat; rooms are a Map",
        dialect=JSON_ROOMS,
        connect=json_rooms_connection,
        launch=node("ws_server.js"),
    ),
    Peer(
        name="python-socketio",
        title="python-socketio",
        family=Family.PYPI,
        packages=("python-socketio", "python-engineio", "uvicorn", "websockets", "uvloop"),
        lacks="no storage, no sequence numbers, no replay; the acknowledgement says that the server emitted",
        dialect=SOCKET_IO,
        connect=socket_io_connection,
        launch=python("socketio_server.py"),
    ),
    Peer(
        name="websockets",
        title="websockets",
        family=Family.PYPI,
        packages=("websockets", "uvloop"),
        lacks="no storage, no sequence numbers, no replay, no acknowledgement; rooms are a dictionary; its "
        "broadcast skips slow receivers",
        dialect=JSON_ROOMS,
        connect=json_rooms_connection,
        launch=python("websockets_server.py"),
    ),
    Peer(
        name="nats",
        title="NATS",
        family=Family.DEBIAN,
        packages=("nats-server",),
        lacks="no storage (without JetStream), no sequence numbers, no replay, no acknowledgement, no names; "
        "rooms are subjects",
        dialect=NATS,
        connect=nats_connection,
        launch=nats,
    ),
    Peer(
        name="ejabberd",
        title="ejabberd (MUC)",
        family=Family.DEBIAN,
        packages=("ejabberd", "erlang-base"),
        lacks="no storage (no archive, no room history), no sequence numbers, no acknowledgement but the "
        "room's echo; presences of a room are not broadcast",
        dialect=XMPP,
        connect=xmpp_connection,
        launch=ejabberd,
    ),
)
