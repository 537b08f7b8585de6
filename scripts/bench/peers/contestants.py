"""Everybody who is measured, behind one interface: Parley, the physical limit, the peers."""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Protocol

from scripts.bench.dialects import (
    PARLEY,
    PLAIN,
    handshake,
    parley_connection,
    parley_handshake,
    plain_connection,
)
from scripts.bench.limit import EVENT_BYTES, open_limit
from scripts.bench.peers.catalogue import Peer
from scripts.bench.peers.install import Installed
from scripts.bench.peers.serve import open_peer
from scripts.bench.script import Connection, Dialect
from scripts.bench.server import Target, open_server


class Contestant(Protocol):
    """A server that can be started and spoken to."""

    @property
    def name(self) -> str:
        """On the command line and in tables."""
        ...

    @property
    def title(self) -> str:
        """As its makers write it."""
        ...

    @property
    def lacks(self) -> str:
        """What it does not do in this test."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Of what counts, by package."""
        ...

    @property
    def dialect(self) -> Dialect:
        """How its frames are told apart."""
        ...

    def open(self, *, core: int) -> AbstractAsyncContextManager[Target]:
        """Run a fresh server on one core.

        Raises:
            BenchError: it does not start.
        """
        ...

    def connection(self, target: Target, *, index: int, room: int) -> Connection:
        """The script of the connection with that number."""
        ...


class ParleyContestant:
    """Parley in one encoding.

    Args:
        name: of the contestant.
        encoding: "msgpack" or "json".
        dsn: a Postgres of its own.
    """

    lacks = "nothing: messages are stored before they are answered, ordered, numbered, replayed on resume"

    def __init__(self, name: str, encoding: str, dsn: str) -> None:
        self.name = name
        self.title = f"Parley ({encoding})"
        self.versions = {package: version(package) for package in ("parley", "trio", "trio-websocket")}
        self.dialect = PARLEY[encoding]
        self._encoding = encoding
        self._dsn = dsn
        self._openings = count(1)
        self._prefix = ""

    def open(self, *, core: int) -> AbstractAsyncContextManager[Target]:
        """See `Contestant`. Rooms are new every time: the database is the same."""
        self._prefix = f"peers-{os.getpid()}-{self.name}-{next(self._openings)}"
        return open_server(self._dsn, core=core)

    def connection(self, target: Target, *, index: int, room: int) -> Connection:
        """See `Contestant`."""
        greeting = parley_handshake(target.host, target.port, self._encoding)
        return parley_connection(
            self._encoding, greeting=greeting, index=index, room=room, prefix=self._prefix
        )


class LimitContestant:
    """The C epoll loop.

    Args:
        name: of the contestant.
        program: compiled.
        directory: for its files.
    """

    title = "C epoll fan-out"
    lacks = (
        "everything but sending: no names, no order, no storage, no acknowledgement, no limits, no handshake "
        "check; a full socket loses messages"
    )
    versions: Mapping[str, str] = {}
    dialect = PLAIN

    def __init__(self, name: str, program: Path, directory: Path) -> None:
        self.name = name
        self._program = program
        self._directory = directory

    def open(self, *, core: int) -> AbstractAsyncContextManager[Target]:
        """See `Contestant`."""
        return open_limit(self._program, core=core, directory=self._directory)

    def connection(self, target: Target, *, index: int, room: int) -> Connection:
        """See `Contestant`; nobody has a number here."""
        del index
        greeting = handshake(target.host, target.port, None, path=f"/{room}")
        return plain_connection(greeting=greeting, payload_bytes=EVENT_BYTES, room=room)


class PeerContestant:
    """A peer that is installed."""

    def __init__(self, peer: Peer, installed: Installed) -> None:
        self.name = peer.name
        self.title = peer.title
        self.lacks = peer.lacks
        self.versions = {package: installed.versions[package] for package in peer.packages}
        self.dialect = peer.dialect
        self._peer = peer
        self._root = installed.root

    def open(self, *, core: int) -> AbstractAsyncContextManager[Target]:
        """See `Contestant`."""
        return open_peer(self._peer, self._root, core=core)

    def connection(self, target: Target, *, index: int, room: int) -> Connection:
        """See `Contestant`."""
        return self._peer.connect(target.host, target.port, index=index, room=room)
