"""What the client in Python does with bytes and durations."""

from hypothesis import given
from hypothesis import strategies as st

from chat.transport import build_frame
from scripts.bench.slow_frames import summarise, take_frame


@given(payload=st.binary(max_size=70_000), before=st.binary(max_size=5), text=st.booleans())
def test_a_frame_of_the_server_is_taken_whole(payload: bytes, before: bytes, text: bool) -> None:
    """Wherever it begins and however its length is written."""
    frame = build_frame(payload, text=text)
    data = before + frame
    assert take_frame(data, len(before)) == (1 if text else 2, payload, len(data))


@given(payload=st.binary(max_size=300), data=st.data())
def test_half_a_frame_waits_for_the_rest(payload: bytes, data: st.DataObject) -> None:
    """No part of a frame is taken for one."""
    frame = build_frame(payload, text=True)
    size = data.draw(st.integers(0, len(frame) - 1))
    assert take_frame(frame[:size], 0) is None


def test_quantiles_are_values_that_were_seen() -> None:
    """Of a hundred values the 99th is the p99."""
    found = summarise(range(100, 0, -1))
    assert (found.count, found.p50_ns, found.p99_ns, found.p999_ns, found.max_ns) == (100, 50, 99, 100, 100)


def test_nothing_has_no_quantiles() -> None:
    """A run without sends is told as zeros."""
    assert summarise([]).max_ns == 0
