"""PURE: a room's members and their names in the order of their ids, made one by one without a long step.

A dict of 100,000 members and a sorted list of their ids take tens of milliseconds to make, and some of that
(sorting, growing the dict) in one piece, while everybody waits. Here members lie in short blocks, so that one
more costs one or two microseconds, however many there are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

BLOCK_MAX: Final = 512
"""A longer block is cut in two: adding moves half a block, finding one looks through their first ids."""


class MemberOrder:
    """Distinct ids, sorted, each with a name. Everything but `ids` costs O(log n) and the move of a block."""

    __slots__ = ("_blocks", "_firsts", "_names", "_size")

    def __init__(self) -> None:
        # Never empty: the first block takes whatever is below the second's first id.
        self._blocks: list[list[str]] = [[]]
        self._names: list[list[str]] = [[]]
        self._firsts: list[str] = [""]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, user_id: str) -> bool:
        block = self._blocks[bisect_right(self._firsts, user_id) - 1]
        at = bisect_left(block, user_id)
        return at < len(block) and block[at] == user_id

    def add(self, user_id: str, name: str) -> bool:
        """Put a member (not "") in its place; False when it is there already, and has a new name now."""
        place = bisect_right(self._firsts, user_id) - 1
        block, names = self._blocks[place], self._names[place]
        at = bisect_left(block, user_id)
        if at < len(block) and block[at] == user_id:
            names[at] = name
            return False
        block.insert(at, user_id)
        names.insert(at, name)
        self._size += 1
        if len(block) > BLOCK_MAX:
            half = BLOCK_MAX // 2
            self._firsts.insert(place + 1, block[half])
            self._blocks.insert(place + 1, block[half:])
            self._names.insert(place + 1, names[half:])
            del block[half:], names[half:]
        return True

    def remove(self, user_id: str) -> bool:
        """Take a member out; False when it is not there."""
        place = bisect_right(self._firsts, user_id) - 1
        block = self._blocks[place]
        at = bisect_left(block, user_id)
        if at == len(block) or block[at] != user_id:
            return False
        del block[at], self._names[place][at]
        self._size -= 1
        if not block and place:
            del self._blocks[place], self._names[place], self._firsts[place]
        return True

    def name(self, user_id: str) -> str:
        """A member's name.

        Raises:
            KeyError: there is no such member.
        """
        place = bisect_right(self._firsts, user_id) - 1
        block = self._blocks[place]
        at = bisect_left(block, user_id)
        if at == len(block) or block[at] != user_id:
            raise KeyError(user_id)
        return self._names[place][at]

    def ids(self) -> Sequence[str]:
        """All ids; half a millisecond for 100,000."""
        found: list[str] = []
        for block in self._blocks:
            found += block
        return found

    def window(self, after: str, limit: int) -> tuple[Sequence[str], bool]:
        """The first `limit` ids (1 or more) above `after` ("": from the first), and whether more follow."""
        place = bisect_right(self._firsts, after) - 1
        start = bisect_right(self._blocks[place], after)
        found: list[str] = []
        while place < len(self._blocks) and len(found) <= limit:
            found += self._blocks[place][start : start + limit + 1 - len(found)]
            place += 1
            start = 0
        return found[:limit], len(found) > limit
