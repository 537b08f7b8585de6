"""What the runtime reports while it works; a server feeds its metrics from it."""

from __future__ import annotations

from typing import Protocol


class TurnObserver(Protocol):
    """Told about every batch and every crash, by kind and never by name.

    Called at the end of the actor's turn: it must be quick, must not block, and an error that it
    raises in `batch` counts as a crash of the actor that it watches.
    """

    def batch(self, kind: str, messages: int, wait_s: float, turn_s: float, /) -> None:
        """One batch is done.

        Args:
            kind: the actor's kind, such as ``"room"``.
            messages: how many it held.
            wait_s: seconds that its first message waited.
            turn_s: seconds that working on it took; for an AsyncActor waiting is included.
        """

    def crashed(self, kind: str, exc: Exception, /) -> None:
        """An actor of this kind crashed with `exc`."""
