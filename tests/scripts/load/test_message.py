"""Bodies that carry their time, and digests."""

from hypothesis import given
from hypothesis import strategies as st

from chat.codec import JSON, MSGPACK
from scripts.load.message import TOO_LARGE, VOID, digest_of, due_ns_of, padded_body, spoken_body
from tests.scripts.load.support import event


@given(due_ns=st.integers(0, 2**62), size=st.integers(20, 8192))
def test_a_padded_body_has_its_size_and_its_time(due_ns: int, size: int) -> None:
    """Whatever they are."""
    body = padded_body(due_ns, size)
    assert len(body.encode()) == size
    assert due_ns_of(body) == due_ns


@given(due_ns=st.integers(0, 2**62), text=st.text(max_size=3000))
def test_spoken_words_are_kept_as_far_as_they_may_be_sent(due_ns: int, text: str) -> None:
    """With the time before them."""
    body = spoken_body(due_ns, text)
    assert len(body.encode()) <= 8192
    assert "\0" not in body
    assert due_ns_of(body) == due_ns


def test_a_body_without_a_time_has_none() -> None:
    """Somebody else may be in the room."""
    assert due_ns_of("hello there") == 0
    assert due_ns_of("") == 0
    assert len(TOO_LARGE.encode()) == 8193


def test_a_digest_is_the_same_in_both_encodings_and_of_everything() -> None:
    """Another word, author, place or time is another digest."""
    one = event(1, body="grün")
    for codec in (MSGPACK, JSON):
        assert digest_of(codec.decode_envelope(codec.encode(one))) == digest_of(one)
    others = [
        {**one, name: value}
        for name, value in {"by": "u_b", "cid": "x", "at": 5, "epoch": 2, "seq": 3}.items()
    ]
    others.append(event(1, body="blau"))
    assert len({digest_of(other) for other in (one, *others)}) == len(others) + 1
    assert digest_of(event(1, kind="void")) == VOID != digest_of(one)
