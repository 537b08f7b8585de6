"""A server's ports, taken before anything is started behind them.

Who asks for a port that somebody has is told so in a moment, not after a database was started; and operators
are answered from the first moment (`starting`) to the last (`draining`).
"""

import errno
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from chat.config import Config
from chat.descriptors import PatientListener
from chat.errors import ChatError
from chat.health import Readiness
from chat.logs import RepeatedEvents
from chat.metrics import Figure, Metrics
from chat.ops import open_ops_listeners, serve_ops
from chat.transport import ConnectionStream, Transport, bind_sockets

log: FilteringBoundLogger = structlog.get_logger("chat.server")

WARNINGS_PER_S: Final = 0.2
"""Of each kind that comes again and again."""
PORT_MAX: Final = 65_535


class CannotListen(ChatError):
    """A port cannot be had; the message says which, why, and which setting chooses another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a started server answers.

    Attributes:
        ops_port: the operators' port; None: there is none.
        database: in words, for people.
    """

    host: str
    port: int
    ops_host: str
    ops_port: int | None
    database: str

    @property
    def url(self) -> str:
        """What clients connect to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}/ws"


class Front:
    """What the outside sees of a server. Made by `open_front`.

    Args:
        config: the settings.
        sockets: bound for clients.

    Attributes:
        metrics: what operators read.
        readiness: what they are told of the server's state.
        ops_port: where; None: there is no such port.
    """

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self.metrics = Metrics()
        self.readiness = Readiness()
        self.ops_port: int | None = None
        self._ops_host = config.ops_host
        self._sockets = sockets
        self._warnings = RepeatedEvents(log, per_s=WARNINGS_PER_S, burst=1)
        self.metrics.add_source(
            lambda: self._warnings,
            [
                Figure(
                    "counter",
                    "logs_dropped",
                    "Repeated warnings that were counted instead of logged.",
                    lambda warnings: warnings.dropped,
                )
            ],
        )

    @property
    def port(self) -> int:
        """The clients' port."""
        return int(self._sockets[0].getsockname()[1])

    def addresses(self, database: str) -> Addresses:
        """Where everything is, the database in words."""
        return Addresses(
            host=str(self._sockets[0].getsockname()[0]),
            port=self.port,
            ops_host=self._ops_host,
            ops_port=self.ops_port,
            database=database,
        )

    def listen(self, transport: Transport) -> Sequence[PatientListener[ConnectionStream]]:
        """Let clients connect; the sockets are the listeners' from here on.

        Raises:
            CannotListen: another process was faster.
        """
        with _in_words("--port", "--host"):
            listeners = transport.listen_on(self._sockets)
        return [PatientListener(listener, self.on_shortage) for listener in listeners]

    def on_shortage(self, error: OSError) -> None:
        """Note that a connection waits because the system has no descriptor or no memory for it."""
        self.metrics.counts.accepts_failed += 1
        self._warnings.warning(
            "server.accept_failed",
            now_s=trio.current_time(),
            error=error.strerror,
            hint="raise the limit on open files (ulimit -n, LimitNOFILE=), or lower connections_max",
        )


@asynccontextmanager
async def open_front(config: Config) -> AsyncGenerator[Front]:
    """Take the ports of these settings and answer operators while the body runs; then let them go.

    Raises:
        CannotListen: one of them cannot be had; nothing stays open.
    """
    with _in_words("--port", "--host"):
        sockets = await bind_sockets(config.host, config.port)
    try:
        front = Front(config, sockets)
        listeners = await _open_ops(config, front.port)
        if listeners:
            front.ops_port = int(listeners[0].socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            if listeners:
                await nursery.start(
                    partial(
                        serve_ops,
                        [PatientListener(listener, front.on_shortage) for listener in listeners],
                        metrics=front.metrics,
                        readiness=front.readiness,
                    )
                )
            yield front
            nursery.cancel_scope.cancel()
    finally:
        for sock in sockets:
            sock.close()


async def _open_ops(config: Config, client_port: int) -> Sequence[trio.SocketListener]:
    """Bind the operators' port, where there is to be one."""
    if config.ops_port == "off":
        return []
    auto = config.ops_port == "auto"
    wanted = (client_port + 1) % (PORT_MAX + 1) if config.ops_port == "auto" else config.ops_port
    with _in_words("PARLEY_OPS_PORT", "PARLEY_OPS_HOST"):
        return await open_ops_listeners(config.ops_host, wanted, any_if_taken=auto)


@contextmanager
def _in_words(port_option: str, host_option: str) -> Generator[None]:
    """Turn what the system says of an address into one line with the setting that helps.

    Raises:
        CannotListen: in place of the body's OSError.
    """
    try:
        yield
    except OSError as error:
        option = port_option if error.errno in {errno.EADDRINUSE, errno.EACCES} else host_option
        raise CannotListen(f"{error.strerror}; choose another with {option}") from error
