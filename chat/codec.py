"""Bytes to typed requests and back, in both encodings; the one place that knows msgpack.

What is well-formed goes through msgspec, which reads msgpack straight into the typed request in a third of
the time; what msgspec refuses is judged by msgpack, within its limits (ADR 8).

A frame that is no map at all raises `Undecodable`. A map that is no valid request raises `Refused` with the
request's id where it could be read. Nothing else leaves `decode`, whatever the bytes are.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgpack
import msgspec

from chat.errors import ErrorCode, Refused, Undecodable
from chat.protocol import REQUEST_TYPES, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, AnyRequest, Envelope


class Codec(Protocol):
    """One encoding of the protocol.

    Attributes:
        index: 0 or 1: where this encoding stands in a pair of cached frames.
        is_text: whether its frames are text frames.
        subprotocol: its name in the handshake.
    """

    index: int
    is_text: bool
    subprotocol: str

    def decode(self, payload: bytes, *, is_text: bool) -> AnyRequest:
        """A client's request.

        Raises:
            Undecodable: not an envelope of this encoding.
            Refused: an envelope, but not a valid request.
        """
        ...

    def decode_envelope(self, payload: bytes) -> dict[str, object]:
        """What a server sent, for clients.

        Raises:
            Undecodable: not an envelope of this encoding.
        """
        ...

    def encode(self, envelope: Envelope) -> bytes:
        """An envelope's bytes."""
        ...

    def encode_listing(self, envelope: Envelope, field: str, items: Sequence[bytes]) -> bytes:
        """An envelope whose last field `field` lists items that are encoded already."""
        ...


class _MsgpackCodec:
    index = 0
    is_text = False
    subprotocol = SUBPROTOCOL_MSGPACK

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._request = msgspec.msgpack.Decoder(AnyRequest).decode
        self._any = msgspec.msgpack.Decoder(dict[str, object]).decode

    def decode(self, payload: bytes, *, is_text: bool) -> AnyRequest:
        if is_text:
            raise Undecodable("a text frame on a binary subprotocol")
        try:
            request: AnyRequest = self._request(payload)
        except (ValueError, RecursionError):
            # Also for a request with fields that nobody knows: what they hold must be msgpack all the same.
            return _to_request(self._unpack(payload))
        return request

    def decode_envelope(self, payload: bytes) -> dict[str, object]:
        try:
            return self._any(payload)
        except (ValueError, RecursionError):
            return self._unpack(payload)

    @staticmethod
    def _unpack(payload: bytes) -> dict[str, object]:
        size = len(payload)
        try:
            # Limits first: a claimed length is checked against them before memory is reserved.
            value: object = msgpack.unpackb(
                payload,
                raw=False,
                strict_map_key=True,
                max_str_len=size,
                max_bin_len=size,
                max_array_len=size,
                max_map_len=size,
                max_ext_len=0,
            )
        # ValueError covers malformed, extra data, too-long claims and UnicodeDecodeError.
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
            raise Undecodable(f"not msgpack: {type(exc).__name__}") from None
        if not isinstance(value, dict):
            raise Undecodable("not a map")
        return value

    def encode(self, envelope: Envelope) -> bytes:
        return self._encode(envelope)

    def encode_listing(self, envelope: Envelope, field: str, items: Sequence[bytes]) -> bytes:
        head = self.encode({**envelope, field: ()})
        count = len(items)
        if count < 16:  # noqa: PLR2004  fixarray, array 16, array 32 (msgpack specification)
            array = bytes((0x90 | count,))
        elif count < 1 << 16:
            array = b"\xdc" + count.to_bytes(2)
        else:
            array = b"\xdd" + count.to_bytes(4)
        # `field` is the last key, so the empty array is the last byte.
        return b"".join((head[:-1], array, *items))


class _JsonCodec:
    index = 1
    is_text = True
    subprotocol = SUBPROTOCOL_JSON

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._request = msgspec.json.Decoder(AnyRequest).decode
        self._any = msgspec.json.Decoder(dict[str, object]).decode

    def decode(self, payload: bytes, *, is_text: bool) -> AnyRequest:
        if not is_text:
            raise Undecodable("a binary frame on a text subprotocol")
        try:
            request: AnyRequest = self._request(payload)
        except msgspec.ValidationError:
            return _to_request(self.decode_envelope(payload))
        except (ValueError, RecursionError) as exc:
            raise Undecodable(f"not JSON: {type(exc).__name__}") from None
        return request

    def decode_envelope(self, payload: bytes) -> dict[str, object]:
        try:
            return self._any(payload)
        except (ValueError, RecursionError) as exc:
            raise Undecodable(f"not a JSON object: {type(exc).__name__}") from None

    def encode(self, envelope: Envelope) -> bytes:
        return self._encode(envelope)

    def encode_listing(self, envelope: Envelope, field: str, items: Sequence[bytes]) -> bytes:
        head = self.encode({**envelope, field: ()})
        return b"".join((head[:-2], b",".join(items), b"]}"))


def _to_request(envelope: dict[str, object]) -> AnyRequest:
    """A request from a map, fields that nobody knows left out.

    Raises:
        Refused: it is none; with the field that is wrong.
    """
    kind = envelope.get("t")
    request_type = REQUEST_TYPES.get(kind) if isinstance(kind, str) else None
    if request_type is None:
        raise _unknown_type(envelope)
    known = {name: envelope[name] for name in request_type.__struct_fields__ if name in envelope}
    try:
        return msgspec.convert(known, request_type)
    except msgspec.ValidationError as exc:
        raise _invalid_field(envelope, exc) from None


def _request_id(envelope: dict[str, object]) -> int | None:
    raw = envelope.get("id")
    return raw if type(raw) is int and 0 <= raw < 1 << 32 else None


def _unknown_type(envelope: dict[str, object]) -> Refused:
    """The error for a map whose `t` names no request."""
    request_id = _request_id(envelope)
    if not isinstance(envelope.get("t"), str):
        return Refused(ErrorCode.BAD_REQUEST, "`t` must be a string", field="t", request_id=request_id)
    if request_id is None:
        return Refused(ErrorCode.BAD_REQUEST, "`id` must be an integer from 0 to 2^32-1", field="id")
    return Refused(ErrorCode.UNKNOWN_TYPE, "this server does not know that `t`", request_id=request_id)


def _invalid_field(envelope: dict[str, object], exc: msgspec.ValidationError) -> Refused:
    """The error for a known request with a field missing or wrong: which one, in words."""
    message = str(exc)
    _, found, path = message.rpartition(" - at `$.")
    if found:
        field = path.rstrip("`").partition("[")[0].partition(".")[0]
    else:
        _, found, name = message.partition("missing required field `")
        field = name.rstrip("`") if found else "t"
    return Refused(ErrorCode.BAD_REQUEST, message, field=field, request_id=_request_id(envelope))


MSGPACK: Final[Codec] = _MsgpackCodec()
JSON: Final[Codec] = _JsonCodec()
CODECS: Final = {codec.subprotocol: codec for codec in (MSGPACK, JSON)}
