"""The workloads, fitted to a machine."""

from scripts.bench.budgets import CROWD, WORKLOADS, with_at_most


def test_a_workload_that_fits_stays_as_it_is() -> None:
    """The table's own numbers."""
    assert with_at_most(CROWD, 10_000) is CROWD


def test_too_few_connections_make_fewer_rooms_that_are_as_busy() -> None:
    """A fifth of the rooms with a fifth of the sends."""
    fitted = with_at_most(CROWD, 2_000)
    assert (fitted.rooms, fitted.per_room, fitted.rate) == (20, 100, 40)


def test_one_room_is_left_whatever_the_limit() -> None:
    """A workload of one room cannot be made smaller."""
    assert all(with_at_most(workload, 1).rooms == 1 for workload in WORKLOADS)
