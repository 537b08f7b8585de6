"""PURE: a room's shared state: keys with values and versions, changed in the room's order.

A version is never given twice for a key: a key that is set again after it was removed begins above every
version that a removed key of the room had. So a compare-and-set that was right once is not right by chance
later.
"""

from collections.abc import Callable, Iterable
from typing import Final

from chat.errors import ErrorCode, Refused
from chat.json_value import decode_value
from storage.model import StateRow

KEYS_MAX: Final = 256
UNDO_MAX: Final = 1024
"""Changes that are remembered beyond those that are not stored yet."""


class SharedState:
    """The state after everything that was ordered.

    Args:
        rows: what is stored.
    """

    __slots__ = ("_before", "_removed_version", "_rows")

    def __init__(self, rows: Iterable[StateRow]) -> None:
        self._rows = {row.key: row for row in rows}
        removed = self._rows.pop("", None)
        self._removed_version = 0 if removed is None else removed.version
        # By the seq of a change, what was there before: a change that turns out void is undone.
        self._before: dict[int, tuple[str, StateRow | None]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> StateRow | None:
        """A key's present, None when it has no value."""
        return self._rows.get(key)

    def next_version(self, key: str, value: str | None, if_version: int | None) -> int:
        """The version that a change would have.

        Args:
            key: which.
            value: JSON text; None removes the key.
            if_version: the version that the key must have, 0 for a key without a value; None: any.

        Raises:
            Refused: `conflict` with the present value and version; `not_found` for the removal of what is not
                there; `bad_request` for one key too many.
        """
        row = self._rows.get(key)
        version = 0 if row is None else row.version
        if if_version is not None and if_version != version:
            present = None if row is None or row.value is None else decode_value(row.value)
            raise Refused(
                ErrorCode.CONFLICT,
                f"the key has version {version}",
                current={"value": present, "version": version},
            )
        if row is not None:
            return version + 1
        if value is None:
            raise Refused(ErrorCode.NOT_FOUND, "the key has no value", field="key")
        if len(self._rows) >= KEYS_MAX:
            raise Refused(ErrorCode.BAD_REQUEST, f"a room has {KEYS_MAX} keys at most", field="key")
        return self._removed_version + 1

    def change(self, row: StateRow, *, is_settled: Callable[[int], bool]) -> None:
        """Take in a change that was ordered.

        Args:
            row: the key after it; without a value it was removed.
            is_settled: whether nothing but what is known will become of the change at a seq.
        """
        before = self._before
        while before and (len(before) >= UNDO_MAX or is_settled(next(iter(before)))):
            del before[next(iter(before))]
        before[row.seq] = (row.key, self._rows.get(row.key))
        if row.value is None:
            self._rows.pop(row.key, None)
            self._removed_version = max(self._removed_version, row.version)
        else:
            self._rows[row.key] = row

    def void(self, seq: int) -> None:
        """Undo the change at a seq, as if it had not been; no effect where there is none."""
        undone = self._before.pop(seq, None)
        if undone is None:
            return
        key, earlier = undone
        for later, (other, _) in self._before.items():
            if other == key and later > seq:
                # Something came after it: what it found is now what this one found.
                self._before[later] = (key, earlier)
                return
        if earlier is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = earlier
