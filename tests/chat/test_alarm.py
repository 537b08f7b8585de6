"""One timer rings when it is set to, and only then."""

import trio
from trio.testing import MockClock

from chat.alarm import Alarm


async def rings(alarm: Alarm, seconds: float) -> list[float]:
    """When it rings within that time."""
    heard: list[float] = []
    with trio.move_on_after(seconds):
        await alarm.run(lambda: heard.append(trio.current_time()))
    return heard


async def test_it_rings_once_when_the_time_comes(autojump_clock: MockClock) -> None:
    """An alarm set to a time rings then, and not again."""
    del autojump_clock
    alarm = Alarm()
    at = trio.current_time() + 3.0
    alarm.set(at)

    assert await rings(alarm, 100.0) == [at]


async def test_it_rings_at_the_last_time_set(autojump_clock: MockClock) -> None:
    """Moved to earlier, to later, or off, while it sleeps, it rings only at the time set last."""
    del autojump_clock
    alarm = Alarm()
    heard: list[float] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(alarm.run, lambda: heard.append(trio.current_time() - start))
        alarm.set(start + 5.0)
        await trio.sleep(1.0)
        alarm.set(start + 2.0)
        await trio.sleep(0.5)
        alarm.set(start + 9.0)
        await trio.sleep(9.0)
        alarm.set(start + 12.0)
        alarm.set(None)
        await trio.sleep(10.0)
        alarm.set(start + 1.0)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()

    assert heard == [9.0, 20.5]


async def test_it_may_be_set_again_by_the_ring(autojump_clock: MockClock) -> None:
    """A ring that sets the next time makes it tick."""
    del autojump_clock
    alarm = Alarm()
    heard: list[float] = []
    start = trio.current_time()

    def ring() -> None:
        heard.append(trio.current_time() - start)
        alarm.set(trio.current_time() + 1.0)

    alarm.set(start + 1.0)
    with trio.move_on_after(3.5):
        await alarm.run(ring)

    assert heard == [1.0, 2.0, 3.0]
