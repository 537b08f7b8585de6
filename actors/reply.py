"""The place where one answer to one ask arrives."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Generic, TypeVar

import trio

R = TypeVar("R")


class _State(Enum):
    OPEN = auto()
    VALUE = auto()
    ERROR = auto()
    ABANDONED = auto()


class ReplyTo(Generic[R]):
    """Carried by a question; the actor that gets it answers once, now or in a later turn.

    The first answer counts. Later ones, and answers to an asker that has given up, do nothing, so
    that the answering actor never has to care.
    """

    __slots__ = ("_error", "_state", "_task", "_value")

    def __init__(self) -> None:
        self._state = _State.OPEN
        self._task: trio.lowlevel.Task | None = None
        self._value: R
        self._error: Exception

    def __repr__(self) -> str:
        """Show the state, never the answer: that may be what a user wrote."""
        return f"<ReplyTo {self._state.name.lower()}>"

    @property
    def done(self) -> bool:
        """Whether an answer was given or the asker has given up."""
        return self._state is not _State.OPEN

    def set(self, value: R) -> None:
        """Answer with `value`; wakes the asker."""
        if self._state is _State.OPEN:
            self._value = value
            self._settle(_State.VALUE)

    def fail(self, error: Exception) -> None:
        """Make the ask raise `error` where it waits."""
        if self._state is _State.OPEN:
            self._error = error
            self._settle(_State.ERROR)

    async def wait(self) -> R:
        """Wait for the answer; for the one asker only, and once.

        Raises:
            Exception: whatever `fail` was given.

        Cancellation: the ask is given up; a later answer does nothing.
        """
        if self._state is _State.OPEN:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        else:
            await trio.lowlevel.checkpoint()
        if self._state is _State.ERROR:
            raise self._error
        return self._value

    def _settle(self, state: _State) -> None:
        self._state = state
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self._state = _State.ABANDONED
        return _SUCCEEDED


_SUCCEEDED: Final = trio.lowlevel.Abort.SUCCEEDED
