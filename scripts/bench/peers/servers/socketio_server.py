"""A chat server on python-socketio: its rooms and acknowledgements, WebSocket transport only.

    python socketio_server.py        prints "port N" and serves on 127.0.0.1 until it is killed

On uvicorn with uvloop and httptools, the quickest of the servers that its documentation names.
"""

# pyright: reportMissingImports=false
import socket
from collections.abc import Mapping

import socketio
import uvicorn

_server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
_people: dict[str, tuple[str, str]] = {}


async def _join(sid: str, wish: Mapping[str, str]) -> Mapping[str, str]:
    room = wish["room"]
    _people[sid] = room, wish["name"]
    await _server.enter_room(sid, room)
    return {"room": room}


async def _message(sid: str, message: Mapping[str, str]) -> None:
    room, name = _people[sid]
    await _server.emit("message", {"room": room, "by": name, "body": message["body"]}, to=room)


async def _disconnect(sid: str, _reason: str) -> None:
    _people.pop(sid, None)


def main() -> None:
    """Serve until killed."""
    _server.on("join", _join)
    _server.on("message", _message)
    _server.on("disconnect", _disconnect)
    config = uvicorn.Config(
        socketio.ASGIApp(_server),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has heartbeats of its own
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=4096,
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print(f"port {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
