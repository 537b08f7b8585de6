"""PURE: the peers: what each is, how its server is started, how it is spoken to, and what it does not do.

A peer is one entry here; a server of ours on the peer's library is one file in `servers/`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from scripts.bench.peers.dialects import (
    JSON_ROOMS,
    SOCKET_IO,
    json_rooms_connection,
    socket_io_connection,
)
from scripts.bench.script import Connection, Dialect

_SERVERS: Final = Path(__file__).with_name("servers")
_PORT: Final = re.compile(r"^port (\d+)$", re.MULTILINE)


class Family(Enum):
    """Where a peer is installed from."""

    NPM = "npm"
    PYPI = "PyPI"
    DEBIAN = "Debian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a server is started.

    Attributes:
        command: the program by its path, and its arguments.
        environment: added to this process's.
        files: written into the server's directory before, by name.
        ready: found in what the server says once it serves; its first group, where it has one, is the port.
            None: it serves when its port takes connections.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    ready: re.Pattern[str] | None = _PORT


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


def _node(script: str) -> Callable[[Path, Path, int], Launch]:
    def launch(root: Path, _directory: Path, _port: int) -> Launch:
        return Launch(
            command=["/usr/bin/env", "node", str(_SERVERS / script)],
            environment={"NODE_PATH": str(root / "node_modules"), "NODE_ENV": "production"},
        )

    return launch


def _python(script: str) -> Callable[[Path, Path, int], Launch]:
    def launch(root: Path, _directory: Path, _port: int) -> Launch:
        return Launch(command=[str(root / "bin" / "python"), "-I", str(_SERVERS / script)])

    return launch


PEERS: Final[Sequence[Peer]] = (
    Peer(
        name="socket.io",
        title="Socket.IO",
        family=Family.NPM,
        packages=("socket.io", "engine.io/ws", "bufferutil", "node"),
        lacks="no storage, no sequence numbers, no replay; the acknowledgement says that the server has emitted",
        dialect=SOCKET_IO,
        connect=socket_io_connection,
        launch=_node("socketio_server.js"),
    ),
    Peer(
        name="ws",
        title="ws",
        family=Family.NPM,
        packages=("ws", "bufferutil", "node"),
        lacks="no storage, no sequence numbers, no replay, no acknowledgement, no heartbeat; rooms are a Map",
        dialect=JSON_ROOMS,
        connect=json_rooms_connection,
        launch=_node("ws_server.js"),
    ),
    Peer(
        name="python-socketio",
        title="python-socketio",
        family=Family.PYPI,
        packages=("python-socketio", "python-engineio", "uvicorn", "websockets", "uvloop"),
        lacks="no storage, no sequence numbers, no replay; the acknowledgement says that the server has emitted",
        dialect=SOCKET_IO,
        connect=socket_io_connection,
        launch=_python("socketio_server.py"),
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
        launch=_python("websockets_server.py"),
    ),
)
