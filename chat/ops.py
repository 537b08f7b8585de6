"""The operators' port: `/metrics`, `/healthz`, `/readyz` over HTTP/1.1, one request a connection.

It is a port of its own, on loopback by default, so that what it tells stays with operators and answers when
the clients' port is full. h11 does the protocol; limits are those of protocol.md 9.
"""

import errno
import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import h11
import structlog
import trio

from chat.health import Readiness
from chat.metrics import CONTENT_TYPE, Metrics

HEAD_MAX_BYTES: Final = 16 * 1024
REQUEST_TIMEOUT_S: Final = 10.0
"""For a request and its answer together: who is slower is cut off."""
CONNECTIONS_MAX: Final = 32
"""Operators are few; who comes above that is closed at once."""

_READ_BYTES: Final = 4096
_log = structlog.get_logger()


class Answer(NamedTuple):
    """An HTTP answer that is known as a whole; `headers` are those besides the content's own."""

    status: int
    content_type: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


def text_answer(status: int, text: str) -> Answer:
    """A line of text."""
    return Answer(status, "text/plain; charset=utf-8", text.encode() + b"\n")


def json_answer(status: int, body: Mapping[str, object]) -> Answer:
    """A JSON object."""
    return Answer(status, "application/json", json.dumps(body).encode() + b"\n")


async def open_ops_listeners(
    host: str, port: int, *, any_if_taken: bool = False
) -> Sequence[trio.SocketListener]:
    """Bind the operators' port.

    Args:
        host: the address.
        port: 0 for any that is free.
        any_if_taken: whether another free port will do when this one is taken.

    Raises:
        OSError: it cannot be bound, with words that name the address.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if not any_if_taken or error.errno != errno.EADDRINUSE:
            words = f"cannot listen on {host}:{port} for operators: {error.strerror}"
            raise OSError(error.errno, words) from error
    _log.warning("ops.port_taken", host=host, port=port)
    return await open_ops_listeners(host, 0)


async def serve_ops(
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    *,
    metrics: Metrics,
    readiness: Readiness,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer operators until cancelled; closes the listeners then.

    A connection's trouble stays its own: broken, slow and nonsensical ones are closed.
    """
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def handle(stream: trio.abc.Stream) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            with trio.move_on_after(REQUEST_TIMEOUT_S):
                await _serve_one(stream, metrics, readiness)
            await trio.aclose_forcefully(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            await trio.aclose_forcefully(stream)
        finally:
            places.release()

    task_status.started()  # the listeners are bound: who connects from here on is answered
    await trio.serve_listeners(handle, list(listeners))


async def _serve_one(stream: trio.abc.Stream, metrics: Metrics, readiness: Readiness) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
    received_bytes = 0
    while (event := connection.next_event()) is h11.NEED_DATA:
        chunk = bytes(await stream.receive_some(_READ_BYTES))
        received_bytes += len(chunk)
        connection.receive_data(chunk)
    # h11 bounds a head that is incomplete; the last chunk of it can still go above.
    if not isinstance(event, h11.Request) or received_bytes > HEAD_MAX_BYTES:
        return
    metrics.counts.http_requests += 1
    answer = _answer(event, metrics, readiness)
    head = h11.Response(
        status_code=answer.status,
        headers=[
            ("content-type", answer.content_type),
            ("content-length", str(len(answer.body))),
            ("connection", "close"),
        ],
    )
    out = connection.send(head) or b""
    if event.method != b"HEAD":
        out += connection.send(h11.Data(data=answer.body)) or b""
    await stream.send_all(out)


def _answer(request: h11.Request, metrics: Metrics, readiness: Readiness) -> Answer:
    path = request.target.partition(b"?")[0]
    match path if request.method in {b"GET", b"HEAD"} else b"":
        case b"/metrics":
            return Answer(200, CONTENT_TYPE, metrics.render())
        case b"/healthz":
            return text_answer(200, "ok")
        case b"/readyz":
            return json_answer(*readiness.answer())
        case _:
            return text_answer(404, "not found")
