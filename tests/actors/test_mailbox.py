"""A mailbox is bounded, keeps order, and says what happens when it is full."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import ActorError, Mailbox, MailboxFull, MailboxSpec, Overflow


class Closed(ActorError):
    """What the tests close a mailbox with."""


def filled(overflow: Overflow, *, capacity: int = 4) -> Mailbox[str]:
    """Make a mailbox that is full for ordinary messages, holding "0", "1" and so on."""
    mailbox = Mailbox[str](capacity, overflow=overflow)
    for number in range(capacity - capacity // 4):
        mailbox.put_nowait(str(number))
    return mailbox


@pytest.mark.parametrize("overflow", [Overflow.REFUSE, Overflow.WAIT])
def test_an_ordinary_message_is_refused_at_the_reserve_and_control_at_the_capacity(
    overflow: Overflow,
) -> None:
    """A quarter of the room is for control only, and order stays that of coming."""
    mailbox = filled(overflow)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait("late")
    mailbox.put_nowait("ban", control=True)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait("ban again", control=True)
    assert mailbox.statistics().refused == 2
    assert mailbox.drain() == ["0", "1", "2", "ban"]


def test_a_tiny_mailbox_has_no_reserve_but_holds_a_message() -> None:
    """One of one is ordinary room."""
    mailbox = Mailbox[str](1)
    mailbox.put_nowait("only")
    assert mailbox.drain() == ["only"]


def test_the_oldest_ordinary_message_makes_room_and_control_stays() -> None:
    """DROP_OLDEST never drops control, and reports what it dropped."""
    dropped: list[str] = []
    mailbox = Mailbox[str](4, overflow=Overflow.DROP_OLDEST, on_drop=dropped.append)
    mailbox.put_nowait("ban", control=True)
    for text in "abcd":
        mailbox.put_nowait(text)
    assert dropped == ["a", "b"]
    assert mailbox.statistics().dropped == 2
    assert mailbox.drain() == ["ban", "c", "d"]


def test_nothing_is_dropped_for_a_message_when_only_control_waits() -> None:
    """Then even DROP_OLDEST refuses."""
    mailbox = Mailbox[str](4, overflow=Overflow.DROP_OLDEST)
    for _ in range(4):
        mailbox.put_nowait("ban", control=True)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait("talk")
    assert mailbox.drain() == ["ban"] * 4


@pytest.mark.parametrize(
    ("field", "capacity", "fraction"),
    [
        ("capacity", 0, 0.25),
        ("reserve_fraction", 1, 1.0),
        ("reserve_fraction", 1, -0.1),
    ],
)
def test_a_mailbox_that_could_hold_nothing_is_refused(field: str, capacity: int, fraction: float) -> None:
    """Both as an object and as data, and the error names the field."""
    with pytest.raises(ValueError, match=field):
        Mailbox[str](capacity, reserve_fraction=fraction)
    with pytest.raises(ValueError, match=field):
        MailboxSpec(capacity=capacity, reserve_fraction=fraction)


async def test_one_wake_up_takes_all_that_came_meanwhile() -> None:
    """The consumer that waits gets every message that was put before it runs."""
    mailbox = Mailbox[str](8)
    batches: list[list[str]] = []

    async def consume() -> None:
        await mailbox.wait_nonempty()
        batches.append(mailbox.drain())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        for text in "abc":
            mailbox.put_nowait(text)
    assert batches == [["a", "b", "c"]]


async def test_a_quiet_message_waits_for_the_next_loud_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It does not end the wait, neither one that goes on nor a new one, and keeps its place."""
    del autojump_clock
    mailbox = Mailbox[str](8)
    mailbox.put_quiet("first")
    with trio.move_on_after(1) as scope:
        await mailbox.wait_nonempty()
    assert scope.cancelled_caught
    mailbox.put_nowait("second")
    await mailbox.wait_nonempty()
    assert mailbox.drain() == ["first", "second"]


async def test_a_wake_ends_the_wait_once_even_when_it_comes_first() -> None:
    """It is remembered for the next wait and used up by it."""
    mailbox = Mailbox[str](8)
    mailbox.wake()
    await mailbox.wait_nonempty()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait_nonempty)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.wake()


async def test_a_second_consumer_is_a_mistake() -> None:
    """Waiting is for one task."""
    mailbox = Mailbox[str](8)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait_nonempty)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="one consumer"):
            await mailbox.wait_nonempty()
        mailbox.wake()


class Heard:
    """A consumer without a task that counts how often it was told."""

    def __init__(self) -> None:
        self.times = 0

    def mail_came(self) -> None:
        """Count."""
        self.times += 1


def test_a_consumer_without_a_task_is_told_once_and_not_of_quiet_mail() -> None:
    """It asks again after it took what there was."""
    mailbox = Mailbox[str](8)
    heard = Heard()
    assert mailbox.notify(heard)
    mailbox.put_quiet("quiet")
    assert heard.times == 0
    mailbox.put_nowait("loud")
    mailbox.put_nowait("louder")
    mailbox.wake()
    assert heard.times == 1
    assert mailbox.drain() == ["quiet", "loud", "louder"]
    assert mailbox.notify(heard)
    mailbox.wake()
    assert heard.times == 2


def test_a_consumer_that_comes_late_is_not_told_but_answered() -> None:
    """By mail, or by a wake that nobody has heard yet; a drain uses that up."""
    mailbox = Mailbox[str](8)
    heard = Heard()
    mailbox.wake()
    assert not mailbox.notify(heard)
    mailbox.put_nowait("loud")
    assert not mailbox.notify(heard)
    mailbox.wake()
    mailbox.drain()
    assert mailbox.notify(heard)
    with pytest.raises(RuntimeError, match="one consumer"):
        mailbox.notify(heard)
    assert heard.times == 0


def test_a_consumer_that_was_dismissed_hears_nothing() -> None:
    """The mail waits for the next one."""
    mailbox = Mailbox[str](8)
    heard = Heard()
    assert mailbox.notify(heard)
    mailbox.dismiss()
    mailbox.put_nowait("loud")
    assert heard.times == 0
    assert not mailbox.notify(heard)


def test_a_drain_believes_the_time_that_it_is_given() -> None:
    """Whoever has just read the clock saves reading it again."""
    mailbox = Mailbox[str](8, clock=lambda: 100.0)
    mailbox.put_nowait("a")
    mailbox.drain(102.0)
    assert (mailbox.drained_at, mailbox.waited_s) == (102.0, 2.0)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    """What comes after its end waits for the next one."""
    mailbox = Mailbox[str](8)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.wait_nonempty()
    mailbox.put_nowait("kept")
    await mailbox.wait_nonempty()
    assert mailbox.drain() == ["kept"]


async def test_senders_wait_for_room_in_the_order_of_coming() -> None:
    """A drain admits as many as fit; a newcomer cannot overtake them."""
    mailbox = filled(Overflow.WAIT)
    async with trio.open_nursery() as nursery:
        for text in "abcd":
            nursery.start_soon(mailbox.put, text)
            await trio.testing.wait_all_tasks_blocked()
        assert mailbox.drain() == ["0", "1", "2"]
        with pytest.raises(MailboxFull):
            mailbox.put_nowait("pushy")
        await mailbox.wait_nonempty()
        assert mailbox.drain() == ["a", "b", "c"]
    assert mailbox.drain() == ["d"]


async def test_a_sender_that_is_cancelled_has_sent_nothing() -> None:
    """Its message is not in the mailbox, later neither."""
    mailbox = filled(Overflow.WAIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, "late")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert mailbox.drain() == ["0", "1", "2"]
    assert mailbox.drain() == []


@pytest.mark.parametrize("overflow", [Overflow.REFUSE, Overflow.DROP_OLDEST])
async def test_put_only_waits_where_the_policy_says_so(overflow: Overflow) -> None:
    """Elsewhere it does what put_nowait does, with a checkpoint."""
    mailbox = filled(overflow)
    with trio.testing.assert_checkpoints():
        if overflow is Overflow.REFUSE:
            with pytest.raises(MailboxFull):
                await mailbox.put("late")
            await trio.lowlevel.checkpoint()
        else:
            await mailbox.put("late")
            assert mailbox.drain() == ["1", "2", "late"]


async def test_closing_fails_waiting_senders_and_returns_what_waited() -> None:
    """Nobody waits for a mailbox that is gone, and its mail can be accounted for."""
    mailbox = filled(Overflow.WAIT)
    failed: list[str] = []

    async def send() -> None:
        try:
            await mailbox.put("late")
        except Closed:
            failed.append("late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert mailbox.close(Closed) == ["0", "1", "2"]
    assert failed == ["late"]
    for control in (False, True):
        with pytest.raises(Closed):
            mailbox.put_nowait("x", control=control)
    with pytest.raises(Closed):
        mailbox.put_quiet("x")
    with pytest.raises(Closed):
        await mailbox.put("x")
    assert mailbox.close(Closed) == []


def test_closing_to_ordinary_messages_still_lets_control_in() -> None:
    """So an actor that drains can still be told what its work needs."""
    mailbox = Mailbox[str](4)
    mailbox.put_nowait("a")
    mailbox.close_to_ordinary(Closed)
    with pytest.raises(Closed):
        mailbox.put_nowait("b")
    mailbox.put_nowait("c", control=True)
    mailbox.put_quiet("d")
    assert mailbox.drain() == ["a", "c", "d"]


def test_the_wait_is_that_of_the_first_loud_message_of_the_batch() -> None:
    """One time stamp per batch: quiet messages and later ones do not move it."""
    now = 100.0
    mailbox = Mailbox[str](8, clock=lambda: now)
    mailbox.put_quiet("quiet")
    now = 110.0
    assert mailbox.statistics().oldest_wait_s == 0
    mailbox.put_nowait("first")
    now = 111.0
    mailbox.put_nowait("second")
    now = 113.0
    assert mailbox.statistics().oldest_wait_s == 3
    messages = mailbox.drain()
    assert (mailbox.drained_at, mailbox.waited_s) == (113.0, 3.0)
    now = 120.0
    mailbox.restore(messages[1:])
    assert mailbox.statistics().oldest_wait_s == 10
