"""A mailbox against a naive list, over all policies and any order of calls."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import ActorError, Mailbox, MailboxFull, Overflow


class Closed(ActorError):
    """What the model closes a mailbox with."""


class MailboxModel(RuleBasedStateMachine):
    """Keeps a plain list of (message, control) beside the mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.waiting: list[tuple[int, bool]] = []
        self.dropped: list[int] = []
        self.model_dropped: list[int] = []
        self.taken: list[int] = []
        self.model_taken: list[int] = []
        self.last: list[int] = []
        self.refused = 0
        self.high_water = 0
        self.closed = False

    @initialize(
        capacity=st.integers(1, 12),
        overflow=st.sampled_from(Overflow),
        fraction=st.sampled_from([0.0, 0.25, 0.5, 0.99]),
    )
    def start(self, capacity: int, overflow: Overflow, fraction: float) -> None:
        """Make a mailbox of any size and policy."""
        self.capacity = capacity
        self.overflow = overflow
        self.ordinary = capacity - int(capacity * fraction)
        self.mailbox = Mailbox[int](
            capacity, overflow=overflow, reserve_fraction=fraction, on_drop=self.dropped.append
        )

    def expect_put(self, *, control: bool) -> type[ActorError] | None:
        """Do to the list what a put does; return the error that it should raise."""
        if self.closed:
            return Closed
        if len(self.waiting) >= (self.capacity if control else self.ordinary):
            ordinary = [at for at, (_, is_control) in enumerate(self.waiting) if not is_control]
            if self.overflow is not Overflow.DROP_OLDEST or not ordinary:
                self.refused += 1
                return MailboxFull
            self.model_dropped.append(self.waiting.pop(ordinary[0])[0])
        self.waiting.append((self.number, control))
        self.high_water = max(self.high_water, len(self.waiting))
        return None

    @rule(control=st.booleans())
    def put(self, *, control: bool) -> None:
        """Put a loud message."""
        self.number += 1
        error = self.expect_put(control=control)
        if error is None:
            self.mailbox.put_nowait(self.number, control=control)
        else:
            with pytest.raises(error):
                self.mailbox.put_nowait(self.number, control=control)

    @rule()
    def put_quiet(self) -> None:
        """Put a quiet message."""
        self.number += 1
        error = self.expect_put(control=True)
        if error is None:
            self.mailbox.put_quiet(self.number)
        else:
            with pytest.raises(error):
                self.mailbox.put_quiet(self.number)

    @rule()
    def drain(self) -> None:
        """Take everything."""
        self.last = self.mailbox.drain()
        self.taken += self.last
        self.model_taken += [message for message, _ in self.waiting]
        self.waiting = []

    @precondition(lambda self: self.last and not self.closed)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Put the end of the last batch back."""
        count = data.draw(st.integers(0, len(self.last)))
        rest = self.last[len(self.last) - count :]
        self.mailbox.restore(rest)
        self.waiting[:0] = [(message, True) for message in rest]
        self.high_water = max(self.high_water, len(self.waiting))
        del self.taken[len(self.taken) - count :]
        del self.model_taken[len(self.model_taken) - count :]
        self.last = []

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        """Close it and take what it returns as drained."""
        self.taken += self.mailbox.close(Closed)
        self.model_taken += [message for message, _ in self.waiting]
        self.waiting = []
        self.last = []
        self.closed = True

    @invariant()
    def agrees_with_the_list(self) -> None:
        """Same content, same order, same losses, same figures; nothing lost or made up."""
        if not hasattr(self, "mailbox"):
            return
        seen = self.mailbox.statistics()
        assert list(self.mailbox.waiting()) == [message for message, _ in self.waiting]
        assert self.taken == self.model_taken
        assert self.dropped == self.model_dropped
        assert seen.depth == len(self.mailbox) == len(self.waiting)
        assert seen.high_water == self.high_water
        assert (seen.refused, seen.dropped) == (self.refused, len(self.model_dropped))
        assert seen.enqueued == len(self.waiting) + len(self.taken) + len(self.dropped)
        assert seen.capacity == self.capacity


TestMailboxAgainstAList = MailboxModel.TestCase
