"""Any bytes at all, through codec and session: nobody else is hurt, and every id is answered once."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.codec import JSON, MSGPACK, Codec
from chat.config import Config
from chat.errors import Refused, Undecodable
from chat.protocol import REQUEST_TYPES, Envelope
from tests.chat.transport.support import client_frame
from tests.e2e.scene import ATTIC, DEN, TEA, open_scene
from tests.sim.harness import virtual_time

CONFIG: Final = Config(rate_limits=False, bad_frames_max=100, subscriptions_max=3, session_mailbox=8)

IDS = st.integers(100, 400)
"""Above those that a scripted client uses itself."""
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS: Final[dict[str, st.SearchStrategy[object]]] = {
    "room": st.sampled_from([TEA, DEN, ATTIC, "new", "nowhere", "tea room", ""]),
    "create": st.booleans(),
    "since": st.tuples(st.integers(0, 3), st.integers(0, 5)).map(list),
    "limit": st.integers(0, 120),
    "cid": st.sampled_from(["1", "2", "3", "\0", ""]),
    "body": st.sampled_from(["a", "b", "\0"]) | st.text(max_size=10),
    "reply_to": st.integers(-1, 5),
    "retry": st.booleans(),
    "before": st.integers(-1, 9),
    "after": st.integers(-1, 9),
    "query": st.sampled_from(["a", "-a", "a or b", "\0", ""]),
    "language": st.sampled_from(["simple", "english", "klingon"]),
    "cursor": st.sampled_from(["dGVh", "%", "dGVhL2dfYWE"]),
    "status": st.sampled_from(["online", "away", "invisible", "gone"]),
    "users": st.lists(st.sampled_from(["u_aa", "g_bb", "ann"]), max_size=3),
    "stop": st.booleans(),
    "kind": st.sampled_from(["public", "private", "direct"]),
    "guest": st.just("again"),
    "seq": st.integers(-1, 9),
    "emoji": st.sampled_from(["👍", "❤", "x", "🇩", "\0"]),
    "remove": st.booleans(),
    "reason": st.sampled_from(["why", "\0"]),
    "thread": st.integers(-1, 5),
    "fold": st.booleans(),
    "if_version": st.integers(-1, 3),
    "key": st.sampled_from(["a", "b", "The key", ""]),
    "value": ANYTHING,
}
KINDS = st.sampled_from([*REQUEST_TYPES, "dance"])


def _envelope(t: object, request_id: object, fields: Mapping[str, object]) -> Envelope:
    return {"t": t, "id": request_id, **fields}


likely = st.builds(
    _envelope,
    KINDS,
    IDS,
    st.fixed_dictionaries(
        {"room": FIELDS["room"]}, optional={name: values for name, values in FIELDS.items() if name != "room"}
    ),
)
wild = st.builds(
    _envelope,
    KINDS | ANYTHING,
    IDS | ANYTHING,
    st.dictionaries(st.sampled_from(sorted(FIELDS)), ANYTHING, max_size=4),
)


@st.composite
def mutated(draw: st.DrawFn, codec: Codec) -> bytes:
    """A request's bytes with a few of them changed, dropped or doubled."""
    payload = bytearray(codec.encode(draw(likely)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(payload) - 1))
        match draw(st.sampled_from(["change", "drop", "double"])):
            case "change":
                payload[at] = draw(st.integers(0, 255))
            case "drop" if len(payload) > 1:
                del payload[at]
            case _:
                payload[at:at] = payload[at : at + 4]
    return bytes(payload)


def payloads(codec: Codec) -> st.SearchStrategy[bytes]:
    """What a message may hold: requests of all kinds, broken ones, and noise."""
    return st.one_of(
        likely.map(codec.encode),
        likely.map(codec.encode),
        wild.map(codec.encode),
        mutated(codec),
        st.binary(max_size=40),
    )


def _readable_id(codec: Codec, payload: bytes) -> int | None:
    try:
        return codec.decode(payload, is_text=codec.is_text).id
    except Refused as refused:
        return refused.request_id
    except Undecodable:
        return None


@virtual_time
async def _talk(codec: Codec, messages: list[bytes], *, at_once: bool) -> None:
    async with open_scene(codec, CONFIG) as scene:
        mal = scene.culprit
        await mal.request("ping")
        sent = [_readable_id(codec, payload) for payload in messages]
        frames = [mal.frame_of(payload) for payload in messages]
        for data in [b"".join(frames)] if at_once else frames:
            await mal.write(data)
        await mal.request("ping")
        await scene.check_served()
        answers = mal.answers()
        assert mal.closed_with is None
        for request_id in {request_id for request_id in sent if request_id is not None and request_id >= 100}:
            assert answers[request_id] == sent.count(request_id), request_id
        mal.vanish()
        await scene.check_served()
        topics = [scene.sim.node.topics.get(name) for name in (TEA, DEN, ATTIC, "new")]
        assert mal.user_id not in {peer.user_id for topic in topics if topic is not None for peer in topic}


@settings(max_examples=100, deadline=None)
@given(messages=st.lists(payloads(MSGPACK), max_size=30), at_once=st.booleans())
def test_any_messages_in_msgpack_are_answered_once_each(messages: list[bytes], at_once: bool) -> None:
    """As many answers as requests for every id that could be read; nobody else notices."""
    _talk(MSGPACK, messages, at_once=at_once)


@settings(max_examples=100, deadline=None)
@given(messages=st.lists(payloads(JSON), max_size=30), at_once=st.booleans())
def test_any_messages_in_json_are_answered_once_each(messages: list[bytes], at_once: bool) -> None:
    """The same, in the other encoding."""
    _talk(JSON, messages, at_once=at_once)


frames_of_any_kind = st.builds(
    client_frame,
    st.binary(max_size=130),
    opcode=st.integers(0, 15),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 1, 4]),
    key=st.sampled_from([b"\x01\x02\x03\x04", b"\x01\x02\x03\x04", b"\0\0\0\0", None]),
)


@virtual_time
async def _babble(codec: Codec, pieces: list[bytes], *, welcomed: bool) -> None:
    async with open_scene(codec) as scene:
        mal = scene.culprit if welcomed else await scene.sim.open(codec)
        with suppress(trio.BrokenResourceError):
            # The server may be gone before the client has read why: what is left is written to nobody.
            for piece in pieces:
                if mal.closed_with is not None:
                    break
                await mal.write(piece)
        mal.vanish()
        await scene.check_served()
        assert len(scene.sim.node.sessions) <= 3


@settings(max_examples=100, deadline=None)
@given(
    codec=st.sampled_from([MSGPACK, JSON]),
    pieces=st.lists(frames_of_any_kind | st.binary(max_size=60), max_size=12),
    welcomed=st.booleans(),
)
# The server answers the close, and is gone before the client has read the answer.
@example(
    codec=MSGPACK,
    pieces=[client_frame(b"", opcode=8), *[client_frame(b"", opcode=0, fin=False)] * 2, b"\0"],
    welcomed=False,
)
def test_any_frames_and_any_bytes_hurt_their_sender_alone(
    codec: Codec, pieces: list[bytes], welcomed: bool
) -> None:
    """Noise on the connection, before the welcome or after, may end that connection and nothing else."""
    _babble(codec, pieces, welcomed=welcomed)
