"""Plain HTTP requests to a server in memory."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from tests.sim.harness import Sim, read_answer, request_head


class HttpAnswer(NamedTuple):
    """An answer: status, headers by name in small letters, and the body as JSON (None: there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, object] | None


async def post(
    sim: Sim,
    path: str,
    body: object = None,
    *,
    method: str = "POST",
    peer: str = "127.0.0.1",
    **headers: str | None,
) -> HttpAnswer:
    """Ask for something, by default with JSON.

    Args:
        sim: the server.
        path: what for.
        body: bytes as they are, None for none, anything else as JSON.
        method: of the request.
        peer: the address that the server sees.
        headers: more of them, or others, `_` standing for `-`; None leaves one out.
    """
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"host": "localhost:8000"}
    if body is not None:
        fields |= {"content-type": "application/json", "content-length": str(len(content))}
    stream = sim.dial(peer=peer)
    await stream.send_all(request_head(method, path, fields, headers) + content)
    return parse(await read_answer(stream))


def parse(answer: bytes) -> HttpAnswer:
    """An answer's parts."""
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in fields}
    assert headers.get("content-length", "0") == str(len(content))
    return HttpAnswer(int(status.split(" ")[1]), headers, json.loads(content) if content else None)
