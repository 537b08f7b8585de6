"""A batch knows its position without keeping one."""

from __future__ import annotations

from actors import Batch


def test_the_message_taken_last_is_blamed_and_the_untaken_are_kept() -> None:
    """Leaving the loop in the middle splits the batch there."""
    batch = Batch[str]()
    batch.load(["a", "b", "c", "d"])
    for message in batch:
        if message == "b":
            break
    assert (len(batch), batch.remaining) == (4, 2)
    assert batch.split() == (["b"], ["c", "d"])
    assert (len(batch), batch.remaining, batch.split()) == (0, 0, ([], []))


def test_a_loop_goes_on_where_the_last_one_stopped() -> None:
    """So a turn may go over it in parts."""
    batch = Batch[str]()
    batch.load(["a", "b", "c"])
    assert next(iter(batch)) == "a"
    assert [*batch] == ["b", "c"]


def test_nobody_is_blamed_before_a_message_was_taken_or_after_all_is_cleared() -> None:
    """A crash outside the messages costs none of them."""
    batch = Batch[str]()
    batch.load(["a"])
    assert batch.split() == ([], ["a"])
    batch.load(["a"])
    assert [*batch] == ["a"]
    batch.clear()
    assert batch.split() == ([], [])


def test_loading_returns_the_one_way_through_the_batch() -> None:
    """What is taken there is taken from the batch; the emptied list leaves nobody to blame."""
    batch = Batch[str]()
    messages = ["a", "b"]
    position = batch.load(messages)
    assert next(position) == "a"
    assert batch.remaining == 1
    assert [*position] == ["b"]
    messages.clear()
    assert (len(batch), batch.remaining, batch.split()) == (0, 0, ([], []))
