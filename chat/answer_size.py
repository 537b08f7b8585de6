"""PURE: how many of the items of a page go into one answer, so that no answer fills a connection's outbox.

A page of 100 long messages is larger than the outbox of a client that did nothing wrong but ask for it.
"""

from collections.abc import Sequence


def fitting(items: Sequence[bytes], start: int, max_bytes: int) -> range:
    """The places of the items that fit: the one at `start`, always, then its neighbours by turns.

    Args:
        items: not empty.
        start: where the reader wants to begin: 0 for the oldest, the last place for the newest.
        max_bytes: of all together, unless the one at `start` alone is above it.
    """
    left, right = start, start + 1
    room = max_bytes - len(items[start])
    before = after = True
    while before or after:
        before = before and left > 0 and len(items[left - 1]) <= room
        if before:
            left -= 1
            room -= len(items[left])
        after = after and right < len(items) and len(items[right]) <= room
        if after:
            room -= len(items[right])
            right += 1
    return range(left, right)
