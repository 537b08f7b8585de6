"""How each peer's server is started, from its installation."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SERVERS: Final = Path(__file__).with_name("servers")
_PORT: Final = re.compile(r"^port (\d+)$", re.MULTILINE)
_NATS_PORT: Final = re.compile(r"websocket clients on ws://[^:]+:(\d+)")
_ERLANG_NAMES: Final = '{lookup, ["file"]}.\n{host, {127, 0, 0, 1}, ["localhost"]}.\n'
"""No name is looked up elsewhere, so that no process for it is started."""
_NATS_CONFIG: Final = """\
host: "127.0.0.1"
port: -1
websocket {
  host: "127.0.0.1"
  port: -1
  no_tls: true
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a server is started.

    Attributes:
        command: the program by its path, and its arguments.
        environment: added to this process's.
        files: written into the server's directory before, by name.
        ready: found in what the server says once it serves; its first group is the port. None: it serves
            when its port takes connections.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    ready: re.Pattern[str] | None = _PORT


def node(script: str) -> Callable[[Path, Path, int], Launch]:
    """One of `servers/`, by Node.js with the npm peers."""

    def launch(root: Path, _directory: Path, _port: int) -> Launch:
        return Launch(
            command=["/usr/bin/env", "node", str(_SERVERS / script)],
            environment={"NODE_PATH": str(root / "node_modules"), "NODE_ENV": "production"},
        )

    return launch


def python(script: str) -> Callable[[Path, Path, int], Launch]:
    """One of `servers/`, by Python with the PyPI peers."""

    def launch(root: Path, _directory: Path, _port: int) -> Launch:
        return Launch(command=[str(root / "bin" / "python"), "-I", str(_SERVERS / script)])

    return launch


def nats(root: Path, directory: Path, _port: int) -> Launch:
    """nats-server with WebSocket, without TLS."""
    return Launch(
        command=[str(root / "usr/sbin/nats-server"), "--config", str(directory / "nats.conf")],
        files={"nats.conf": _NATS_CONFIG},
        ready=_NATS_PORT,
    )


def ejabberd(root: Path, directory: Path, port: int) -> Launch:
    """One Erlang node by itself: one scheduler, no distribution and so no epmd."""
    erlang = root / "usr/lib/erlang"
    programs = next(erlang.glob("erts-*/bin"), erlang)
    libraries = str(next((root / "usr/lib").glob("*/ejabberd-*"), root).parent)
    config = (_SERVERS / "ejabberd.yml").read_text().replace("PORT", str(port))
    return Launch(
        command=[
            *(str(programs / "erlexec"), "+K", "true", "+P", "250000", "+S", "1:1", "-noinput"),
            *("-mnesia", "dir", f'"{directory / "spool"}"', "-s", "ejabberd"),
        ],
        environment={
            "ROOTDIR": str(erlang),
            "BINDIR": str(programs),
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_LIBS": libraries,
            "LD_LIBRARY_PATH": libraries,
            "ERL_MAX_PORTS": "32000",
            "ERL_CRASH_DUMP": str(directory / "crash.dump"),
            "ERL_INETRC": str(directory / "inetrc"),
            "EJABBERD_CONFIG_PATH": str(directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(directory / "ejabberd.log"),
            "HOME": str(directory),
        },
        files={"ejabberd.yml": config, "inetrc": _ERLANG_NAMES},
        ready=None,
    )
