"""How long the client waits before it comes back."""

from hypothesis import given
from hypothesis import strategies as st

from chat.backoff import Backoff


def test_ceilings_double_from_five_to_thirty_seconds() -> None:
    """The longest waits are 5, 10, 20, 30, 30 s; after a steady connection 5 s again."""
    backoff = Backoff()
    assert [backoff.next_s(1.0) for _ in range(5)] == [5.0, 10.0, 20.0, 30.0, 30.0]
    backoff.reset()
    assert backoff.next_s(0.5) == 2.5


@given(rolls=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=10))
def test_every_wait_is_within_its_ceiling(rolls: list[float]) -> None:
    """Full jitter: anything from nothing to the ceiling."""
    backoff = Backoff()
    assert all(0 <= backoff.next_s(roll) < 30 for roll in rolls)


def test_the_servers_time_is_kept() -> None:
    """`retry_after` stands as it is: the server spreads its clients itself."""
    backoff = Backoff()
    assert backoff.next_s(0.9, 12.5) == 12.5
    assert backoff.next_s(1.0, -1.0) == 0.0
