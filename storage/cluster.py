"""The directory of an embedded Postgres: claimed, made and configured.

DIRECTORY/parley.lock    held while a Parley uses the directory; marks the directory as ours
DIRECTORY/cluster/       Postgres' own data directory, with our parley.conf in it
DIRECTORY/cluster.new/   a cluster that is being made; renamed when complete, thrown away when not
DIRECTORY/postgres.log   what Postgres says, and the older half in postgres.log.1
"""

import fcntl
import hashlib
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from storage.binaries import Binaries
from storage.child import Child, Identity, run_to_end
from storage.errors import EmbeddedError

SUPERUSER: Final = "parley"
PORT: Final = 5432
"""Only a part of the socket's name: nothing listens on the network."""

_PRIVATE: Final = 0o700
_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un.sun_path, without its final NUL
_INITDB_TIMEOUT_S: Final = 120.0
_INITDB_PROVIDER_SINCE: Final = 17

_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "128",  # a pool of 40, 64 writers and one to spare, a command line, an operator
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",  # many small queries: a worker costs more than it gives
    "jit": "off",  # compiling costs more than any of our queries
    "random_page_cost": "1.1",  # solid-state disks
    "fsync": "on",
    "synchronous_commit": "on",  # an `ok` means stored
    "full_page_writes": "on",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "min_wal_size": "128MB",
    "checkpoint_timeout": "10min",
    "autovacuum_naptime": "30s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.02",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",  # standard error is ours, and we bound the file
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "log_min_duration_statement": "1s",
    "log_parameter_max_length": "0",  # people's messages do not belong in logs
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",  # nor in the details of an error
}


class Cluster:
    """A claimed directory. Made by `claim`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "cluster"
        self._unfinished = directory / "cluster.new"

    @property
    def major(self) -> int | None:
        """Which Postgres made the cluster; None when there is none yet."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            if self.data.exists():
                raise EmbeddedError(f"{self.data} is no data directory of Postgres") from None
            return None
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"{self.data} cannot be read: {error}") from error

    def seen_as(self, identity: Identity) -> Path:
        """What Postgres shall call its data directory; its working directory is that directory.

        Under root it runs as a user who may not be able to pass the directories above, such as a home;
        its own working directory it can always reach.
        """
        return self.data if identity.uid == -1 else Path("/proc/self/cwd")

    async def make(self, binaries: Binaries, identity: Identity) -> None:
        """Run initdb, once; complete and on the disk when this returns, or not there at all.

        Raises:
            EmbeddedError: with what initdb said.
        """
        if self.data.exists():
            return
        with suppress(FileNotFoundError):
            shutil.rmtree(self._unfinished)
        self._unfinished.mkdir(mode=_PRIVATE)
        if identity.uid != -1:
            os.chown(self._unfinished, identity.uid, identity.gid)
        provider = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if binaries.major >= _INITDB_PROVIDER_SINCE
            else []
        )
        child = Child(
            [
                str(binaries.bindir / "initdb"),
                f"--pgdata={self._unfinished if identity.uid == -1 else '/proc/self/cwd'}",
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                *provider,
                "--data-checksums",
                "--auth-local=trust",  # whoever may enter the socket's directory, which is 0700
                "--auth-host=reject",
                "--no-instructions",
            ],
            identity=identity,
            directory=self._unfinished,
            death_signal=signal.SIGKILL,
        )
        code, words = await run_to_end(child, timeout_s=_INITDB_TIMEOUT_S)
        if code != 0:
            raise EmbeddedError(f"initdb ended with {code}:\n{words}")
        self._unfinished.rename(self.data)
        _sync_directory(self.directory)

    def configure(self, socket_dir: Path, identity: Identity, settings: Mapping[str, str]) -> Path:
        """Write parley.conf anew; return its path as Postgres sees it."""
        merged = {**_SETTINGS, "unix_socket_directories": str(socket_dir), **settings}
        lines = [
            "# Written by Parley at every start; for changes that stay use ALTER SYSTEM.",
            *(f"{name} = '{_quoted(value)}'" for name, value in merged.items()),
        ]
        path = self.data / "parley.conf"
        new = path.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        if identity.uid != -1:
            os.chown(new, identity.uid, identity.gid)
        new.rename(path)
        return self.seen_as(identity) / path.name


@contextmanager
def claim(directory: Path) -> Generator[Cluster]:
    """Make the directory if it is missing, and hold it for this process alone.

    Raises:
        EmbeddedError: another Parley uses it, or it holds something that is not ours.
    """
    lock = directory / "parley.lock"
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if not lock.exists() and any(directory.iterdir()):
            raise EmbeddedError(
                f"{directory} is not empty and was not made by Parley; name an empty or a new directory"
            )
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(f"{directory} cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(f"another Parley uses {directory}; stop it first") from None
        yield Cluster(directory.resolve())
    finally:
        os.close(descriptor)


@contextmanager
def socket_directory(cluster: Cluster, identity: Identity) -> Generator[Path]:
    """A directory, 0700 and Postgres' own, whose path is short enough for a socket's name.

    Always the same one for a cluster, so that what a crash leaves in it is found again.

    Raises:
        EmbeddedError: there is no place for one.
    """
    digest = hashlib.sha256(os.fsencode(cluster.directory)).hexdigest()[:12]
    owner = os.geteuid() if identity.uid == -1 else identity.uid
    runtime = os.environ.get("XDG_RUNTIME_DIR") if os.geteuid() != 0 else "/run"
    tried: list[str] = []
    for base in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108  ours by owner and mode, checked
        if not base:
            continue
        path = Path(base, f"parley-{digest}")
        tried.append(str(path))
        if len(os.fsencode(path / f".s.PGSQL.{PORT}.lock")) > _SOCKET_PATH_BYTES:
            continue
        with suppress(OSError):
            with suppress(FileExistsError):
                path.mkdir(mode=_PRIVATE)
                os.chown(path, owner, -1)
            state = path.lstat()
            if state.st_uid == owner and state.st_mode == stat.S_IFDIR | _PRIVATE:
                break
    else:
        raise EmbeddedError(f"no place for a socket; tried {', '.join(tried)}")
    try:
        yield path
    finally:
        with suppress(OSError):  # not empty after a crash: the next start cleans it
            path.rmdir()


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
