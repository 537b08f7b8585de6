"""Installs the peers for the bench alone: outside git, in exact versions, nothing system-wide."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio

from scripts.bench.peers.pins import locked_versions, required_versions, wanted_packages
from scripts.bench.process import BenchError

CACHE: Final = Path(__file__).resolve().parents[3] / ".bench"
PACKAGES: Final = Path(__file__).with_name("packages")
_INSTALL_S: Final = 300.0
_SAID_SHOWN: Final = 300
_DEBIAN: Final = ("ejabberd", "nats-server")
_DEBIAN_FAMILIES: Final = ("ejabberd", "erlang-", "nats-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A family of peers, ready to run.

    Attributes:
        root: where it is.
        versions: of all that counts, by the names of packages.
    """

    root: Path
    versions: Mapping[str, str]


async def install_npm(cache: Path) -> Installed:
    """The packages of `package-lock.json`, by `npm ci`; nothing to do the second time.

    Raises:
        BenchError: there is no Node.js or npm, or it fails.
    """
    node, npm = _program("node"), _program("npm")
    manifests = [PACKAGES / "package.json", PACKAGES / "package-lock.json"]
    root = cache / "npm"
    if not _is_current(root, manifests):
        _empty(root)
        for manifest in manifests:
            shutil.copy(manifest, root)
        # The add-on of ws comes compiled; no script of a package needs to run.
        await run_bounded([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], root)
        _mark_current(root, manifests)
    versions = locked_versions(json.loads(manifests[1].read_text()))
    node_version = (await run_bounded([node, "--version"], root)).strip().removeprefix("v")
    return Installed(root=root, versions={**versions, "node": node_version})


async def install_pypi(cache: Path) -> Installed:
    """The packages of `requirements.txt`, in a virtual environment; nothing to do the second time.

    Raises:
        BenchError: it fails.
    """
    requirements = PACKAGES / "requirements.txt"
    root = cache / "pypi"
    if not _is_current(root, [requirements]):
        _empty(root)
        await run_bounded([sys.executable, "-m", "venv", str(root)], root)
        pip = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        await run_bounded([*pip, "--no-deps", "--requirement", str(requirements)], root)
        _mark_current(root, [requirements])
    return Installed(root=root, versions=required_versions(requirements.read_text()))


async def install_debian(cache: Path) -> Installed:
    """What apt would install, fetched and unpacked beside the system: no service, no user, no script is run.

    The versions are those that this system's distribution offers; nothing to do while they stay the same.

    Raises:
        BenchError: there is no apt, it knows no such packages, or it fails.
    """
    apt, dpkg = _program("apt-get"), _program("dpkg")
    root = cache / "debian"
    root.mkdir(parents=True, exist_ok=True)
    versions = await _debian_versions(apt, cache)
    manifest = root / "versions"
    if not manifest.exists() or json.loads(manifest.read_text()) != versions:
        _empty(root)
        await run_bounded([apt, "download", "--quiet", *(f"{n}={v}" for n, v in versions.items())], root)
        for archive in sorted(root.glob("*.deb")):
            await run_bounded([dpkg, "--extract", str(archive), str(root)], root)
            archive.unlink()
        manifest.write_text(json.dumps(versions))
    return Installed(root=root, versions=versions)


async def _debian_versions(apt: str, cache: Path) -> Mapping[str, str]:
    command = ["install", "--simulate", "--no-install-recommends", *_DEBIAN]
    try:
        missing = await run_bounded([apt, *command], cache)
    except BenchError:
        if os.geteuid() != 0:
            raise
        # Lists of packages that were never fetched, or are old: root can.
        await run_bounded([apt, "update", "--quiet"], cache)
        missing = await run_bounded([apt, *command], cache)
    whole = await run_bounded([apt, "--option", f"Dir::State::status={os.devnull}", *command], cache)
    return wanted_packages([missing, whole], _DEBIAN_FAMILIES)


async def run_bounded(command: Sequence[str], directory: Path, *, limit_s: float = _INSTALL_S) -> str:
    """Run a program to its end; its standard output.

    Raises:
        BenchError: it fails, with the end of what it said, or it takes too long and is stopped.
    """
    with trio.move_on_after(limit_s):
        done = await trio.run_process(
            command, cwd=directory, capture_stdout=True, capture_stderr=True, check=False, stdin=b""
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-_SAID_SHOWN:]
            raise BenchError(f"{Path(command[0]).name} {command[1]} failed ({done.returncode}): {said}")
        return done.stdout.decode(errors="replace")
    raise BenchError(f"{Path(command[0]).name} {command[1]} did not end in {limit_s:.0f} s")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"there is no {name} on this machine")
    return found


def _empty(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)


def _is_current(root: Path, manifests: Sequence[Path]) -> bool:
    stamp = root / ".installed"
    return stamp.exists() and stamp.read_text() == _stamp(manifests)


def _mark_current(root: Path, manifests: Sequence[Path]) -> None:
    (root / ".installed").write_text(_stamp(manifests))


def _stamp(manifests: Sequence[Path]) -> str:
    digest = sha256(sys.version.encode())
    for manifest in manifests:
        digest.update(manifest.read_bytes())
    return digest.hexdigest()
