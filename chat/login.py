"""Logging in from a program: a token for a name and a password, in one HTTP request (docs/protocol.md 9)."""

import json
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import h11
import trio

from chat.client_errors import ConnectFailed, RequestRefused, ServerMisbehaved
from chat.client_options import Dial, authority, dial_tcp, split_url
from chat.errors import ErrorCode

ANSWER_MAX_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 4096
_GOOD: Final = 200


class LoginToken(NamedTuple):
    """What to come with.

    Attributes:
        token: for `open_client`.
        expires_at_ms: when it ends, in milliseconds since 1970 UTC.
    """

    token: str
    expires_at_ms: int


async def log_in(
    url: str,
    name: str,
    password: str,
    *,
    timeout_s: float = 10.0,
    tls: ssl.SSLContext | None = None,
    dial: Dial | None = None,
) -> LoginToken:
    """Get a token for a name and a password.

    Args:
        url: the server's, see `open_client`.
        name: the user's.
        password: the user's; it goes over the wire as it is: use wss.
        timeout_s: for all of it.
        tls: for wss and https; the system's when None.
        dial: opens the connection in place of TCP.

    Raises:
        ConnectFailed: nobody answers there, or not in time.
        RequestRefused: `unauthenticated` for a wrong name or password, `rate_limited`, ...
        ServerMisbehaved: what answers there does not speak this protocol.
    """
    secure, host, port, resource = split_url(url)
    where = authority(host, port)
    context = (tls or ssl.create_default_context()) if secure else None
    body = json.dumps({"name": name, "password": password}).encode()
    head = h11.Request(
        method="POST",
        target=f"{resource.rpartition('/')[0]}/api/login",
        headers=[
            ("host", where),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ],
    )
    try:
        with trio.fail_after(timeout_s):
            stream = await (dial or dial_tcp(host, port, context))()
            async with stream:
                status, content = await _exchange(stream, head, body)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise ConnectFailed(f"no answer to a login from {where}") from error
    except h11.RemoteProtocolError as error:
        raise ServerMisbehaved(f"what answers at {where} is no HTTP") from error
    return _token(status, content)


async def _exchange(stream: trio.abc.Stream, head: h11.Request, body: bytes) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    await stream.send_all((connection.send(head) or b"") + (connection.send(h11.Data(data=body)) or b""))
    connection.send(h11.EndOfMessage())
    status, content = 0, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > ANSWER_MAX_BYTES:
                raise ServerMisbehaved("the answer to a login is too long")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return status, content


def _token(status: int, content: bytes) -> LoginToken:
    try:
        told: object = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    match told:
        case {"token": str(token), "expires_at": int(expires_at)} if status == _GOOD:
            return LoginToken(token, expires_at)
        case {"error": str(code)}:
            envelope = cast("Mapping[str, object]", told)
            temporary = code in {error.value for error in ErrorCode if error.temporary}
            raise RequestRefused.from_envelope({**envelope, "code": code, "temporary": temporary})
        case _:
            raise ServerMisbehaved(f"a login was answered with {status} and no token")
