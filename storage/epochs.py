"""Which ownership changes of a room are worth keeping. Pure."""

from collections.abc import Sequence
from typing import Final

from storage.model import EpochStart

MAX_EPOCHS: Final = 256
"""As many ownership changes with writes in between; a client that was away longer gets a `reset`."""


def add_epoch(known: Sequence[EpochStart], new: EpochStart) -> list[EpochStart]:
    """The epochs to keep once `new` has begun, oldest first.

    An epoch that began at the same head as `new` wrote nothing. It goes: whoever asks for the first epoch
    after an older one finds the next, which has the same head; and for its own clients that is `new` too.
    """
    kept = [start for start in known if start.head_seq < new.head_seq]
    return [*kept[-(MAX_EPOCHS - 1) :], new]
