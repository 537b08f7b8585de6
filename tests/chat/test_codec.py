"""Both encodings: what is an envelope, what is a valid request, and what everything else is answered with."""

import contextlib

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.codec import CODECS, JSON, MSGPACK, Codec
from chat.errors import ErrorCode, Refused, Undecodable
from chat.protocol import REQUEST_TYPES, Hello, Join, Send, event

BOTH = pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(allow_nan=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@BOTH
def test_a_request_comes_back_as_it_was_meant(codec: Codec) -> None:
    """Every field arrives; what was left out has its default."""
    payload = codec.encode({"t": "send", "id": 7, "room": "lobby", "cid": "c-1", "body": "grüße 👋"})

    assert codec.decode(payload, is_text=codec.is_text) == Send(
        id=7, room="lobby", cid="c-1", body="grüße 👋"
    )


@BOTH
def test_a_position_is_a_pair(codec: Codec) -> None:
    """`since` is `[epoch, seq]` on the wire."""
    payload = codec.encode({"t": "join", "id": 1, "room": "lobby", "since": [3, 812]})

    assert codec.decode(payload, is_text=codec.is_text) == Join(id=1, room="lobby", since=(3, 812))


@BOTH
def test_unknown_fields_are_ignored(codec: Codec) -> None:
    """A newer client may say more than this server knows."""
    payload = codec.encode({"t": "hello", "id": 1, "guest": "Ann", "colour": {"deep": [1]}})

    assert codec.decode(payload, is_text=codec.is_text) == Hello(id=1, guest="Ann")


REFUSALS = [
    ({"t": "sing", "id": 4}, ErrorCode.UNKNOWN_TYPE, None, 4),
    ({"t": "report", "id": 4, "seq": 1}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": 5, "id": 4}, ErrorCode.BAD_REQUEST, "t", 4),
    ({"t": ["send"], "id": 4}, ErrorCode.BAD_REQUEST, "t", 4),
    ({"id": 4}, ErrorCode.BAD_REQUEST, "t", 4),
    ({}, ErrorCode.BAD_REQUEST, "t", None),
    ({"t": "ping"}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "ping", "id": -1}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "ping", "id": 2**32}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "ping", "id": True}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "ping", "id": "1"}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "ping", "id": 1.5}, ErrorCode.BAD_REQUEST, "id", None),
    ({"t": "join", "id": 4, "room": "the lobby"}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": "join", "id": 4, "room": "Lobby"}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": "join", "id": 4, "room": ""}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": "join", "id": 4, "room": "lobby\n"}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": "join", "id": 4, "room": "a" * 65}, ErrorCode.BAD_REQUEST, "room", 4),
    ({"t": "join", "id": 4, "room": "a", "since": [1]}, ErrorCode.BAD_REQUEST, "since", 4),
    ({"t": "join", "id": 4, "room": "a", "since": [1, -5]}, ErrorCode.BAD_REQUEST, "since", 4),
    ({"t": "subscribe", "id": 4, "room": "a", "limit": 0}, ErrorCode.BAD_REQUEST, "limit", 4),
    ({"t": "history", "id": 4, "room": "a", "before": -1}, ErrorCode.BAD_REQUEST, "before", 4),
    ({"t": "history", "id": 4, "room": "a", "after": 2**53}, ErrorCode.BAD_REQUEST, "after", 4),
    ({"t": "send", "id": 4, "room": "a", "cid": "c"}, ErrorCode.BAD_REQUEST, "body", 4),
    ({"t": "send", "id": 4, "room": "a", "cid": "c", "body": ""}, ErrorCode.BAD_REQUEST, "body", 4),
    ({"t": "send", "id": 4, "room": "a", "cid": "c", "body": 5}, ErrorCode.BAD_REQUEST, "body", 4),
    ({"t": "send", "id": 4, "room": "a", "cid": "", "body": "x"}, ErrorCode.BAD_REQUEST, "cid", 4),
    ({"t": "send", "id": 4, "room": "a", "cid": "c" * 65, "body": "x"}, ErrorCode.BAD_REQUEST, "cid", 4),
    ({"t": "edit", "id": 4, "room": "a", "seq": 1, "body": ""}, ErrorCode.BAD_REQUEST, "body", 4),
    ({"t": "edit", "id": 4, "room": "a", "body": "x"}, ErrorCode.BAD_REQUEST, "seq", 4),
    (
        {"t": "edit", "id": 4, "room": "a", "seq": 1, "body": "x", "if_version": -1},
        ErrorCode.BAD_REQUEST,
        "if_version",
        4,
    ),
    ({"t": "delete", "id": 4, "room": "a", "seq": -1}, ErrorCode.BAD_REQUEST, "seq", 4),
    ({"t": "delete", "id": 4, "room": "a", "seq": 1, "reason": ""}, ErrorCode.BAD_REQUEST, "reason", 4),
    ({"t": "delete", "id": 4, "room": "a", "seq": 1, "cid": ""}, ErrorCode.BAD_REQUEST, "cid", 4),
    ({"t": "react", "id": 4, "room": "a", "seq": 1}, ErrorCode.BAD_REQUEST, "emoji", 4),
    ({"t": "react", "id": 4, "room": "a", "seq": 1, "emoji": "x" * 17}, ErrorCode.BAD_REQUEST, "emoji", 4),
    ({"t": "pin", "id": 4, "room": "a", "seq": 1, "remove": 1}, ErrorCode.BAD_REQUEST, "remove", 4),
    ({"t": "set", "id": 4, "room": "a", "key": "k"}, ErrorCode.BAD_REQUEST, "value", 4),
    ({"t": "set", "id": 4, "room": "a", "key": "K", "value": 1}, ErrorCode.BAD_REQUEST, "key", 4),
    ({"t": "set", "id": 4, "room": "a", "key": "k" * 65, "value": 1}, ErrorCode.BAD_REQUEST, "key", 4),
    ({"t": "read", "id": 4, "room": "a"}, ErrorCode.BAD_REQUEST, "seq", 4),
    ({"t": "read", "id": 4, "room": "a", "seq": -1}, ErrorCode.BAD_REQUEST, "seq", 4),
    ({"t": "read", "id": 4, "room": "a", "seq": 2**53}, ErrorCode.BAD_REQUEST, "seq", 4),
    ({"t": "get", "id": 4, "room": "a", "key": ""}, ErrorCode.BAD_REQUEST, "key", 4),
    ({"t": "reactions", "id": 4, "room": "a"}, ErrorCode.BAD_REQUEST, "seq", 4),
    ({"t": "pins", "id": 4, "room": "a", "limit": 0}, ErrorCode.BAD_REQUEST, "limit", 4),
    ({"t": "history", "id": 4, "room": "a", "thread": "1"}, ErrorCode.BAD_REQUEST, "thread", 4),
    ({"t": "presence", "id": 4, "status": "asleep"}, ErrorCode.BAD_REQUEST, "status", 4),
    ({"t": "watch", "id": 4, "users": ["u_aa"] * 101}, ErrorCode.BAD_REQUEST, "users", 4),
    ({"t": "watch", "id": 4, "users": ["u_aa", "ann"]}, ErrorCode.BAD_REQUEST, "users", 4),
    ({"t": "create", "id": 4, "room": "a", "kind": "secret"}, ErrorCode.BAD_REQUEST, "kind", 4),
    ({"t": "create", "id": 4, "room": "a", "slow": -1}, ErrorCode.BAD_REQUEST, "slow", 4),
]


@BOTH
@pytest.mark.parametrize(
    ("envelope", "code", "field", "request_id"), REFUSALS, ids=lambda value: str(value)[:60]
)
def test_an_envelope_that_is_no_request_says_which_field_is_wrong(
    codec: Codec, envelope: dict[str, object], code: ErrorCode, field: str | None, request_id: int | None
) -> None:
    """The refusal carries the code, the field, and the id where it could be read."""
    with pytest.raises(Refused) as caught:
        codec.decode(codec.encode(envelope), is_text=codec.is_text)

    refused = caught.value
    assert (refused.code, refused.field, refused.request_id) == (code, field, request_id)


UNDECODABLE_MSGPACK = {
    "empty": b"",
    "never used byte": b"\xc1",
    "cut off": b"\x81\xa1t",
    "not a map": b"\xa3abc",
    "an array": b"\x93\x01\x02\x03",
    "integer keys": b"\x81\x01\x02",
    "two envelopes": b"\x80\x80",
    "nested beyond reason": b"\x91" * 60_000,
    "claims 4 GiB of array": b"\xdd\xff\xff\xff\xff",
    "claims 4 GiB of map": b"\xdf\xff\xff\xff\xff",
    "claims 4 GiB of text": b"\x81\xa1t\xdb\xff\xff\xff\xff",
    "invalid UTF-8": b"\x81\xa1t\xa2\xff\xfe",
    "an extension type": b"\x81\xa1t\xd4\x05\x00",
}
UNDECODABLE_JSON = {
    "empty": b"",
    "cut off": b'{"t":',
    "not an object": b'"abc"',
    "an array": b"[1]",
    "two envelopes": b"{}{}",
    "nested beyond reason": b'{"t":' + b"[" * 60_000,
    "invalid UTF-8": b'{"t":"\xff\xfe"}',
    "a lone surrogate": b'{"t":"\\ud800"}',
    "not a number": b'{"t":NaN}',
}


@pytest.mark.parametrize("payload", UNDECODABLE_MSGPACK.values(), ids=UNDECODABLE_MSGPACK)
def test_what_is_no_msgpack_map_is_undecodable(payload: bytes) -> None:
    """Malformed, hostile and foreign bytes end in one error."""
    with pytest.raises(Undecodable):
        MSGPACK.decode(payload, is_text=False)


@pytest.mark.parametrize("payload", UNDECODABLE_JSON.values(), ids=UNDECODABLE_JSON)
def test_what_is_no_json_object_is_undecodable(payload: bytes) -> None:
    """Malformed, hostile and foreign bytes end in one error."""
    with pytest.raises(Undecodable):
        JSON.decode(payload, is_text=True)


@BOTH
def test_the_wrong_kind_of_frame_is_undecodable(codec: Codec) -> None:
    """A subprotocol has one kind of frame for the connection's life."""
    with pytest.raises(Undecodable):
        codec.decode(codec.encode({"t": "ping", "id": 1}), is_text=not codec.is_text)


@BOTH
@given(payload=st.binary(max_size=200))
def test_whatever_the_bytes_are_decode_says_one_of_three_things(codec: Codec, payload: bytes) -> None:
    """A request, a refusal or undecodable: nothing else leaves the codec."""
    with contextlib.suppress(Refused, Undecodable):
        codec.decode(payload, is_text=codec.is_text)


@BOTH
@given(
    envelope=st.dictionaries(st.sampled_from(["t", "id", "room", "cid", "body", "since", "users"]), values)
)
def test_whatever_a_map_holds_decode_says_one_of_two_things(
    codec: Codec, envelope: dict[str, object]
) -> None:
    """A map is a request or a refusal; never undecodable, never a crash."""
    try:
        payload = codec.encode(envelope)
    except (ValueError, OverflowError, UnicodeEncodeError, msgspec.MsgspecError, RecursionError):
        return
    with contextlib.suppress(Refused):
        codec.decode(payload, is_text=codec.is_text)


@BOTH
@pytest.mark.parametrize("count", [0, 1, 15, 16, 300, 70_000])
def test_a_listing_of_encoded_items_reads_as_if_it_were_encoded_whole(codec: Codec, count: int) -> None:
    """Items that are shared between listings need not be encoded again."""
    items = [{"seq": number} for number in range(count)]

    payload = codec.encode_listing({"t": "ok", "id": 1}, "items", [codec.encode(item) for item in items])

    assert codec.decode_envelope(payload) == {"t": "ok", "id": 1, "items": items}


def test_both_encodings_say_the_same() -> None:
    """Same fields, same names."""
    envelope = event(
        room="lobby",
        epoch=2,
        seq=9,
        at_ms=1_700_000_000_000,
        by="u_abc",
        kind="message",
        name="Ann",
        n=8,
        cid="c",
        body="héllo",
        reply_to=3,
        thread=None,
        data=None,
    )

    assert MSGPACK.decode_envelope(MSGPACK.encode(envelope)) == JSON.decode_envelope(JSON.encode(envelope))
    assert msgpack.unpackb(MSGPACK.encode(envelope)) == envelope


def test_the_subprotocols_are_the_protocols() -> None:
    """The names of docs/protocol.md 1."""
    assert set(CODECS) == {"parley.v1.msgpack", "parley.v1.json"}


fields = st.fixed_dictionaries(
    {},
    optional={
        "room": st.sampled_from(["lobby", "Lobby", "a b"]) | values,
        "cid": st.text(max_size=66) | values,
        "body": st.text(max_size=9) | values,
        "since": st.lists(st.integers(-1, 9), max_size=3) | values,
        "limit": st.integers(-1, 1001) | st.floats(0, 9),
        "users": st.lists(st.sampled_from(["u_aa", "g_22", "ann"]), max_size=3),
        "status": st.sampled_from(["away", "gone"]),
        "slow": st.integers(-1, 9) | st.floats(allow_nan=False),
        "retry": st.booleans() | st.integers(0, 1),
        "colour": values,
    },
)


@BOTH
@given(
    kind=st.sampled_from([*REQUEST_TYPES, "sing"]) | scalars, request_id=st.integers(-1, 2**32), fields=fields
)
def test_the_short_way_of_a_codec_says_what_the_long_way_says(
    codec: Codec, kind: object, request_id: int, fields: dict[str, object]
) -> None:
    """A field that nobody knows sends a request the long way; the answer is the same in either."""
    envelope = {"t": kind, "id": request_id, **fields}

    assert _said(codec, envelope) == _said(codec, {**envelope, "nobody-knows": 1})


def _said(codec: Codec, envelope: dict[str, object]) -> object:
    try:
        return codec.decode(codec.encode(envelope), is_text=codec.is_text)
    except Refused as refused:
        return refused.code, refused.field, refused.request_id
    except Undecodable:
        return Undecodable
