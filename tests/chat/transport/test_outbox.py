"""The bounded outbox, without a flusher."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chat.transport.outbox import Outbox
from chat.transport.wire import Wire


class FakeWire(Wire):
    """A wire that is never used: these tests move the bytes themselves."""

    def __init__(self, chunk_bytes: int = 10) -> None:
        super().__init__(len, chunk_bytes=chunk_bytes, kernel_socket=None)

    async def send_some(self, data: bytes | memoryview) -> int:
        """Not used."""
        raise NotImplementedError

    async def receive(self) -> bytes:
        """Not used."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Not used."""
        raise NotImplementedError

    def abort(self) -> None:
        """Not used."""
        raise NotImplementedError


class Owner:
    """A flusher that only takes notes."""

    def __init__(self) -> None:
        self.shed = 0
        self.marked: list[Outbox] = []
        self.overflowed: list[Outbox] = []

    def mark(self, outbox: Outbox) -> None:
        """Note the outbox, as the flusher does."""
        outbox.clean = False
        self.marked.append(outbox)

    def mark_overflow(self, outbox: Outbox) -> None:
        """Note the overflow."""
        self.overflowed.append(outbox)


def make(limit_bytes: int = 100, chunk_bytes: int = 10) -> tuple[Outbox, Owner]:
    """Return an outbox and its owner."""
    owner = Owner()
    return Outbox(FakeWire(chunk_bytes), owner, limit_bytes=limit_bytes), owner


def drain(outbox: Outbox, steps: list[int] | None = None) -> bytes:
    """Take all, in steps of at most so many bytes; return it."""
    out = bytearray()
    steps = steps or [1_000_000]
    while chunk := outbox.take_chunk():
        sent = min(len(chunk), steps[len(out) % len(steps)])
        out += bytes(chunk[:sent])
        outbox.advance(sent)
    return bytes(out)


def test_an_outbox_marks_itself_dirty_once() -> None:
    """Many frames, one entry in the flusher's list."""
    outbox, owner = make()
    for _ in range(3):
        assert outbox.push(b"frame")

    assert owner.marked == [outbox]


def test_the_queue_shares_the_frame() -> None:
    """No copy: the object pushed is the object queued."""
    outbox, _ = make()
    frame = bytes(bytearray(b"frame"))
    outbox.push(frame)

    assert outbox.frames[0] is frame


def test_the_bound_is_exact() -> None:
    """A frame that just fits is queued; one more byte overflows, once."""
    outbox, owner = make(limit_bytes=100)
    assert outbox.push(b"a" * 60)
    assert outbox.push(b"b" * 40)
    assert not outbox.push(b"c")
    assert not outbox.push(b"d")

    assert outbox.overflowed
    assert owner.overflowed == [outbox]


def test_an_overflowed_outbox_keeps_only_what_began_to_leave() -> None:
    """The rest of a frame must follow, so that a close frame can; everything else is dropped."""
    outbox, _ = make(limit_bytes=100, chunk_bytes=1)
    for _ in range(10):
        outbox.push(b"abcdefghij")
    outbox.take_chunk()
    outbox.advance(4)
    outbox.push(b"x" * 50)

    assert (outbox.queued_bytes, outbox.closed) == (6, True)
    outbox.push_control(b"close")
    assert drain(outbox) == b"efghijclose"


def test_ephemeral_frames_are_shed_from_half_full_on() -> None:
    """Below half they go with the others, from half on they are counted and dropped."""
    outbox, owner = make(limit_bytes=100)
    assert outbox.push(b"a" * 49)
    assert outbox.push(b"typing", ephemeral=True)
    assert not outbox.push(b"typing", ephemeral=True)
    assert outbox.push(b"a message")

    assert (outbox.shed, owner.shed, outbox.queued_bytes) == (1, 1, 64)


def test_an_ephemeral_frame_never_overflows() -> None:
    """It is shed instead, and the connection lives."""
    outbox, owner = make(limit_bytes=100)

    assert not outbox.push(b"t" * 101, ephemeral=True)
    assert (outbox.shed, outbox.overflowed, owner.overflowed) == (1, False, [])


def test_a_sealed_outbox_sends_what_it_has_and_takes_nothing() -> None:
    """After a close frame no frame may follow."""
    outbox, owner = make()
    outbox.push(b"one")
    outbox.seal()

    assert not outbox.push(b"two")
    assert not outbox.push(b"typing", ephemeral=True)
    assert (drain(outbox), outbox.shed, owner.overflowed) == (b"one", 0, [])


@given(
    limit_bytes=st.integers(1, 200),
    steps=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    actions=st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.just(None)), max_size=40),
)
def test_bytes_are_counted_exactly_and_leave_in_order(
    limit_bytes: int, steps: list[int], actions: list[bytes | None]
) -> None:
    """Against a naive queue: same bytes, same order, same count after every step."""
    outbox, _ = make(limit_bytes=limit_bytes, chunk_bytes=7)
    model = b""
    for turn, action in enumerate(actions):
        if action is None:
            chunk = outbox.take_chunk()
            sent = min(len(chunk), steps[turn % len(steps)])
            assert bytes(chunk) == model[: len(chunk)]
            outbox.advance(sent)
            model = model[sent:]
        elif outbox.closed:
            assert not outbox.push(action)
        else:
            fits = len(model) + len(action) <= limit_bytes
            assert outbox.push(action) == fits
            model = model + action if fits else model[: outbox.queued_bytes]
        assert outbox.queued_bytes == len(model)
    assert drain(outbox) == model


async def test_a_waiter_wakes_when_its_bytes_have_left() -> None:
    """Bytes queued after it do not matter."""
    outbox, _ = make(limit_bytes=1000)
    outbox.push(b"a" * 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_sent)
        await trio.testing.wait_all_tasks_blocked()
        outbox.push(b"b" * 100)
        outbox.take_chunk()
        outbox.advance(10)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        outbox.take_chunk()
        outbox.advance(10)

    assert outbox.queued_bytes == 100


async def test_a_waiter_counts_what_left_without_a_chunk() -> None:
    """A flush tells what it took; bytes queued after the waiter came do not matter."""
    outbox, _ = make(limit_bytes=1000)
    outbox.push(b"a" * 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_sent)
        await trio.testing.wait_all_tasks_blocked()
        outbox.push(b"b" * 100)
        outbox.tell_waiters(19)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        outbox.tell_waiters(1)

    assert outbox.waiters == []


def overflow(outbox: Outbox) -> None:
    """Push what does not fit."""
    assert not outbox.push(b"x" * 1000)


@pytest.mark.parametrize("end", [Outbox.shut, overflow])
async def test_a_waiter_wakes_when_its_bytes_never_will(end: Callable[[Outbox], None]) -> None:
    """Shut or overflowed: nobody waits for ever."""
    outbox, _ = make()
    outbox.push(b"a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_sent)
        await trio.testing.wait_all_tasks_blocked()
        end(outbox)

    assert outbox.closed


async def test_a_cancelled_waiter_leaves_the_bytes_queued() -> None:
    """They leave in their place."""
    outbox, _ = make()
    outbox.push(b"abc")
    with trio.move_on_after(0):
        await outbox.wait_sent()

    assert drain(outbox) == b"abc"


async def test_an_empty_outbox_needs_no_waiting() -> None:
    """It is only a checkpoint."""
    outbox, _ = make()
    with trio.testing.assert_checkpoints():
        await outbox.wait_sent()


def test_a_shut_outbox_ignores_news_of_its_bytes() -> None:
    """A drain that finishes late does no harm."""
    outbox, _ = make()
    outbox.push(b"abc")
    outbox.take_chunk()
    outbox.shut()
    outbox.advance(3)

    assert (outbox.queued_bytes, outbox.take_chunk()) == (0, b"")
