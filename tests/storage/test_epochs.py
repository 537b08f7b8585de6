"""Which epochs are kept."""

from hypothesis import given
from hypothesis import strategies as st

from storage.epochs import MAX_EPOCHS, add_epoch
from storage.model import EpochStart


def _keep(epochs: list[EpochStart], epoch: int) -> int:
    """What survives of a client's epoch: the head of the first one after it."""
    return next(start.head_seq for start in epochs if start.epoch > epoch)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=400))
def test_no_answer_changes_by_what_is_left_out(writes: list[int]) -> None:
    """For every older epoch that is not forgotten, the short list answers as the full one does."""
    everything: list[EpochStart] = []
    kept: list[EpochStart] = []
    head = 0
    for epoch, rows in enumerate(writes, start=1):
        everything.append(EpochStart(epoch, head))
        kept = add_epoch(kept, everything[-1])
        head += rows

    assert len(kept) <= MAX_EPOCHS
    oldest = 0 if kept[0].head_seq == 0 else kept[0].epoch
    for epoch in range(oldest, len(writes)):
        assert _keep(kept, epoch) == _keep(everything, epoch)
