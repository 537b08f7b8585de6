"""The in-memory double fulfils the contract of stores."""

import pytest

from storage import MemoryStore, Store
from tests.storage.contract import StoreContract
from tests.storage.rows import message, owned_room


@pytest.fixture
async def store() -> Store:
    """An empty double."""
    return MemoryStore()


class TestMemoryStore(StoreContract):
    """The shared suite."""


async def test_parked_rows_can_be_looked_at() -> None:
    """A test sees what was put aside, and why."""
    store = MemoryStore()
    room = await owned_room(store)

    await store.park(message(room, 1, body="\x00"), "bad")

    ((entry, error),) = store.parked
    assert '"body": "\\u0000"' in entry
    assert error == "bad"
