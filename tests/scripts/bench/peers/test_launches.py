"""How the peers' servers are started."""

from pathlib import Path

from scripts.bench.peers.launches import ejabberd, nats, node, python


def test_our_own_servers_run_on_the_packages_of_the_installation(tmp_path: Path) -> None:
    """By the programs and modules that are there."""
    found = node("ws_server.js")(tmp_path, tmp_path / "run", 4000)
    assert found.environment["NODE_PATH"] == str(tmp_path / "node_modules")
    assert Path(found.command[-1]).exists()
    found = python("websockets_server.py")(tmp_path, tmp_path / "run", 4000)
    assert found.command[0] == str(tmp_path / "bin" / "python")
    assert Path(found.command[-1]).exists()


def test_nats_says_the_port_that_it_chose() -> None:
    """That of WebSocket, not of its own protocol."""
    found = nats(Path("/root"), Path("/run"), 4000)
    log = (
        "[INF] Listening for websocket clients on ws://127.0.0.1:40077\n"
        "[INF] Listening for client connections on 127.0.0.1:33049\n"
    )
    assert found.ready is not None
    port = found.ready.search(log)
    assert port is not None
    assert port[1] == "40077"


def test_ejabberd_keeps_to_its_directory_and_its_port(tmp_path: Path) -> None:
    """One scheduler, and nothing of it in the system's places."""
    root, directory = tmp_path / "root", tmp_path / "run"
    programs = root / "usr/lib/erlang/erts-13.1/bin"
    (root / "usr/lib/some-linux/ejabberd-23").mkdir(parents=True)
    programs.mkdir(parents=True)
    found = ejabberd(root, directory, 4321)
    assert found.command[0] == str(programs / "erlexec")
    assert "1:1" in found.command
    assert not {"-name", "-sname"} & set(found.command)
    assert found.environment["ERL_LIBS"] == str(root / "usr/lib/some-linux")
    assert "port: 4321\n" in found.files["ejabberd.yml"]
    for name in ("EJABBERD_CONFIG_PATH", "EJABBERD_LOG_PATH", "ERL_CRASH_DUMP", "ERL_INETRC", "HOME"):
        assert found.environment[name].startswith(str(directory))
