"""A chat server on websockets: rooms in a dictionary, its `broadcast`, on uvloop.

    python websockets_server.py        prints "port N" and serves on 127.0.0.1 until it is killed

Without compression, which its documentation advises where memory counts.
"""

# pyright: reportMissingImports=false, reportUnknownParameterType=false
import asyncio
import json

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

_rooms: dict[str, set[ServerConnection]] = {}


async def _chat(connection: ServerConnection) -> None:
    """One connection: a join, then its messages."""
    joined = json.loads(await connection.recv())
    room, name = joined["room"], joined["name"]
    members = _rooms.setdefault(room, set())
    members.add(connection)
    try:
        await connection.send(json.dumps({"type": "joined", "room": room}))
        async for data in connection:
            body = json.loads(data)["body"]
            broadcast(members, json.dumps({"type": "message", "room": room, "by": name, "body": body}))
    finally:
        members.discard(connection)
        if not members:
            _rooms.pop(room, None)


async def _main() -> None:
    async with serve(_chat, "127.0.0.1", 0, compression=None, backlog=4096) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"port {port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())
