"""Versions, out of what package managers write."""

import json

from scripts.bench.peers.catalogue import PEERS, Family
from scripts.bench.peers.install import PACKAGES
from scripts.bench.peers.pins import locked_versions, required_versions, simulated_versions, wanted_packages

SIMULATION = """\
Reading package lists...
Inst erlang-base (1:25.2 Debian:12.15/oldstable [amd64])
Inst libodbc2 [2.3.10] (2.3.11-2+deb12u1 Debian:12.15/oldstable [amd64])
Conf erlang-base (1:25.2 Debian:12.15/oldstable [amd64])
"""
WHOLE = """\
Inst libc6 (2.36 Debian:12.15/oldstable [amd64])
Inst erlang-ssl (1:25.2 Debian:12.15/oldstable [amd64])
"""


def test_apt_tells_what_it_would_install() -> None:
    """Whether it is new or there in an older version."""
    assert simulated_versions(SIMULATION) == {"erlang-base": "1:25.2", "libodbc2": "2.3.11-2+deb12u1"}


def test_what_the_system_has_is_fetched_only_where_it_belongs_to_the_peers() -> None:
    """The system's C library stays the one that is used; half an Erlang would not run."""
    assert wanted_packages([SIMULATION, WHOLE], ["erlang-"]) == {
        "erlang-base": "1:25.2",
        "libodbc2": "2.3.11-2+deb12u1",
        "erlang-ssl": "1:25.2",
    }


def test_a_copy_that_a_package_has_to_itself_is_told_apart() -> None:
    """Socket.IO runs on its own ws."""
    lock = {
        "packages": {
            "": {"name": "bench"},
            "node_modules/ws": {"version": "8.1"},
            "node_modules/engine.io/node_modules/ws": {"version": "8.0"},
        }
    }
    assert locked_versions(lock) == {"ws": "8.1", "engine.io/ws": "8.0"}


def test_requirements_are_read_without_comments() -> None:
    """And without empty lines."""
    assert required_versions("# why\n\nuvloop==0.1  # fast\nh11==2\n") == {"uvloop": "0.1", "h11": "2"}


def test_every_package_whose_version_is_told_is_pinned() -> None:
    """Debian's come from the distribution, and Node.js is the machine's."""
    locked = locked_versions(json.loads((PACKAGES / "package-lock.json").read_text()))
    pins = {
        Family.NPM: {**locked, "node": "any"},
        Family.PYPI: required_versions((PACKAGES / "requirements.txt").read_text()),
    }
    for peer in PEERS:
        if peer.family in pins:
            assert set(peer.packages) <= set(pins[peer.family])


def test_the_lock_file_is_that_of_the_manifest_and_names_no_registry() -> None:
    """`npm ci` refuses another one; where packages come from is the machine's business."""
    text = (PACKAGES / "package-lock.json").read_text()
    manifest = json.loads((PACKAGES / "package.json").read_text())
    assert json.loads(text)["packages"][""]["dependencies"] == manifest["dependencies"]
    assert '"resolved"' not in text
    assert "http" not in text.replace("httptools", "")
