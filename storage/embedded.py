"""A real Postgres of our own: started with us, kept running, stopped with us, whatever ends us.

The server is a direct child. When we are killed, the kernel sends it SIGQUIT, Postgres' "immediate
shutdown": the server ends all its processes at once and the next start replays the log, so nothing that was
committed is lost. SIGKILL would leave busy backends behind, which hold the shared memory; SIGINT
writes a checkpoint first, for as long as that takes, while our successor waits.
"""

import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlencode

import structlog
import trio

from storage.binaries import choose_identity, find_binaries
from storage.child import BoundedLog, Child, Identity
from storage.cluster import PORT, SUPERUSER, Cluster, claim, socket_directory
from storage.errors import EmbeddedError
from storage.leftovers import is_ready, settle

News = Literal["died", "ready"]

_DEATH_SIGNAL: Final = signal.SIGQUIT
_POLL_S: Final = 0.005
_ORPHANS_S: Final = 15.0  # an immediate shutdown gives its processes 5 s, then kills them
_LAST_WORDS_S: Final = 1.0
_STEADY_S: Final = 60.0

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A server under supervision. Made by `open_embedded`.

    Attributes:
        dsn: where to connect, for as long as this lives, restarts included.
        restarts: how often the server was started again after it had died.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        identity: Identity,
        command: list[str],
        socket_dir: Path,
        log: BoundedLog,
        start_timeout_s: float,
        stop_timeout_s: float,
        backoff_s: Sequence[float],
        observer: Callable[[News], None] | None,
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._command = command
        self._socket_dir = socket_dir
        self._log = log
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._backoff_s = backoff_s
        self._observer = observer
        self._child: Child | None = None
        self._ready = trio.Event()
        self._planned = False
        self.restarts = 0
        query = urlencode({"host": socket_dir, "port": PORT})
        self.dsn: Final = f"postgresql://{SUPERUSER}@/postgres?{query}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None when none was started yet, or it has ended."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def wait_exited(self) -> None:
        """Wait until the server that runs now has ended; a restart may follow."""
        if self._child is not None:
            await self._child.wait()

    async def wait_ready(self) -> None:
        """Wait until a server takes connections; at once when one does.

        It ends: when the server cannot be kept running, the context of `open_embedded` is cancelled.
        """
        await trio.lowlevel.checkpoint()
        while self.pid is None or not self._ready.is_set():
            if self._ready.is_set():
                await trio.sleep(_POLL_S)  # it has just died, and the supervisor has not seen it yet
            else:
                await self._ready.wait()

    async def restart(self) -> None:
        """Stop the server cleanly and start it again; return when it takes connections."""
        self._planned = True
        self._ready = trio.Event()
        await self.stop()
        await self.wait_ready()

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the server and wait until it takes connections. For `open_embedded` alone.

        Raises:
            EmbeddedError: with what the server said.
        """
        await settle(self._cluster.data, self._socket_dir, timeout_s=_ORPHANS_S)
        self._child = child = Child(
            self._command,
            identity=self._identity,
            directory=self._cluster.data,
            death_signal=_DEATH_SIGNAL,
        )
        nursery.start_soon(child.read_output, self._log.write)
        with trio.move_on_after(self._start_timeout_s):
            while not is_ready(self._cluster.data, child.pid):
                with trio.move_on_after(_POLL_S):
                    await child.wait()
                    await self._fail_start(child)
            self._ready.set()
            self._tell("ready")
            return
        await self.stop()
        raise EmbeddedError(f"Postgres took no connections in {self._start_timeout_s} s")

    async def supervise(self, nursery: trio.Nursery) -> None:
        """Start the server again whenever it ends, with growing pauses. For `open_embedded` alone.

        Raises:
            EmbeddedError: it died again and again, without a minute of peace.
        """
        deaths = 0
        while self._child is not None:
            began_s = trio.current_time()
            code = await self._child.wait()
            self._ready = trio.Event()
            with trio.move_on_after(_ORPHANS_S):
                await self._child.silent.wait()  # its processes are gone, and the shared memory with them
            if self._planned:
                self._planned = False
            else:
                deaths = deaths + 1 if trio.current_time() - began_s < _STEADY_S else 1
                said = self._child.last_words
                _log.error("storage.postgres_died", code=code, said=said)
                self._tell("died")
                if deaths > len(self._backoff_s):
                    raise EmbeddedError(f"Postgres died {deaths} times in a row ({code}):\n{said}")
                await trio.sleep(self._backoff_s[deaths - 1])
                self.restarts += 1
            try:
                await self.start(nursery)
            except EmbeddedError as error:
                _log.error("storage.postgres_did_not_start", error=str(error))  # counts as a death

    async def stop(self) -> None:
        """Stop the server: "fast" first, then "immediate", then by force. Bounded."""
        if self._child is not None:
            await self._child.stop(
                (signal.SIGINT, self._stop_timeout_s), (signal.SIGQUIT, 7.0), (signal.SIGKILL, 5.0)
            )

    async def _fail_start(self, child: Child) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(_LAST_WORDS_S):
            await child.silent.wait()
        raise EmbeddedError(f"Postgres did not start ({child.returncode}):\n{child.last_words}")

    def _tell(self, news: News) -> None:
        if self._observer is not None:
            self._observer(news)


@asynccontextmanager
async def open_embedded(
    data_dir: Path,
    *,
    bindir: Path | None = None,
    run_as: str | None = None,
    settings: Mapping[str, str] | None = None,
    start_timeout_s: float = 120.0,
    stop_timeout_s: float = 20.0,
    backoff_s: Sequence[float] = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0),
    observer: Callable[[News], None] | None = None,
) -> AsyncGenerator[EmbeddedPostgres]:
    """Run a Postgres of our own in a directory of our own, for as long as the body runs.

    Resource handling: one server process and its children, a socket in a private directory, the lock
    of `data_dir`. All of them end with the body; the processes end as well when this process, or
    the thread that runs trio, is killed. A server that dies is started again.

    Args:
        data_dir: made by the first start; later starts find the data again, after a crash as well.
        bindir: holds `postgres` and `initdb`; by default those of the wheel, else the system's.
        run_as: under root, the user to run it as; by default the owner of the data, "postgres" or "nobody".
        settings: Postgres settings on top of ours.
        start_timeout_s: how long a start may take; recovery after a crash is part of it.
        stop_timeout_s: how long a clean stop may take, its checkpoint included.
        backoff_s: the pause before each restart in a row; after as many deaths, each within a minute
            of its start, the next one is the last.
        observer: called with "died" and "ready".

    Raises:
        EmbeddedError: it cannot be started, or kept running; then the body is cancelled.

    Cancellation: the server is stopped cleanly, which is shielded and bounded.
    """
    failure: Exception | None = None
    with claim(data_dir) as cluster:
        identity = choose_identity(cluster.data, run_as=run_as)
        binaries = await find_binaries(bindir, major=cluster.major, identity=identity)
        await cluster.make(binaries, identity)
        with socket_directory(cluster, identity) as socket_dir:
            config = cluster.configure(socket_dir, identity, settings or {})
            log = BoundedLog(cluster.directory / "postgres.log")
            server = EmbeddedPostgres(
                cluster,
                identity=identity,
                command=[
                    str(binaries.bindir / "postgres"),
                    "-D",
                    str(cluster.seen_as(identity)),
                    "-c",
                    f"config_file={config}",
                ],
                socket_dir=socket_dir,
                log=log,
                start_timeout_s=start_timeout_s,
                stop_timeout_s=stop_timeout_s,
                backoff_s=backoff_s,
                observer=observer,
            )
            supervision = trio.CancelScope()

            async def supervise(nursery: trio.Nursery) -> None:
                nonlocal failure
                try:
                    with supervision:
                        await server.supervise(nursery)
                except EmbeddedError as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            with closing(log):
                async with trio.open_nursery() as nursery:
                    try:
                        await server.start(nursery)
                        nursery.start_soon(supervise, nursery)
                        yield server
                    except Exception as error:  # noqa: BLE001  raised below, without the nursery's group
                        failure = failure or error
                    finally:
                        supervision.cancel()
                        with trio.CancelScope(shield=True):  # bounded by its steps
                            await server.stop()
                    nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
