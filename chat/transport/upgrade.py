"""PURE: the server's side of the WebSocket handshake (RFC 6455 4.2), where nothing about it is unusual."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""Sixteen bytes in base64 (RFC 6455 4.1)."""
_VERSION: Final = b"13"


def accept_upgrade(headers: Mapping[bytes, bytes], *, subprotocol: str | None) -> bytes | None:
    """Answer a proper handshake.

    Args:
        headers: of an HTTP/1.1 GET, names in lower case; the lines of one name joined by commas.
        subprotocol: the one chosen of those offered; None: none was offered.

    Returns:
        The whole answer (101); None for a handshake in which something is missing, wrong or said twice.
        Extensions are not taken up, as RFC 6455 9.1 allows.
    """
    key = headers.get(b"sec-websocket-key", b"")
    if (
        headers.get(b"upgrade", b"").lower() != b"websocket"
        or b"upgrade" not in {token.strip() for token in headers.get(b"connection", b"").lower().split(b",")}
        or headers.get(b"sec-websocket-version") != _VERSION
        or _KEY.fullmatch(key) is None
        or not headers.get(b"host")
    ):
        return None
    chosen = b"" if subprotocol is None else b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept_proof(key), chosen)
    )


def accept_proof(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def plain_request(subprotocol: str | None) -> bytes:
    """The head of the plainest handshake, for trio-websocket when it comes in after the real one."""
    offer = b"" if subprotocol is None else b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii")
    return (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%b\r\n" % offer
    )
