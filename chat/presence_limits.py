"""PURE: how much one session may watch, and how often watchers hear of changes."""

from dataclasses import dataclass
from typing import Final

DELIVERIES_PER_S: Final = 10_000
"""What one room's diffs may cost, in deliveries a second: below a tenth of a core at 8 us each."""
CHANGES_PER_DELIVERY: Final = 10
"""So many items in a diff weigh as much as one more delivery: their bytes, here and at the clients."""


def diff_interval_s(*, deliveries: int, items: int, level: int, min_s: float, max_s: float) -> float:
    """How long to collect changes before the next diffs, by load.

    Args:
        deliveries: how many watchers the last diffs went to.
        items: how many items they carried, counted once for each watcher.
        level: pressure on the node, 0 to 4; each one doubles the least interval.
        min_s: seconds when idle.
        max_s: seconds at most.

    Returns:
        Seconds, from `min_s` to `max_s`.
    """
    cost = deliveries + items / CHANGES_PER_DELIVERY
    return min(max_s, max(min_s * (1 << level), cost / DELIVERIES_PER_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceLimits:
    """How much one session may watch, and how patient presence is.

    Attributes:
        grace_s: seconds that a lost connection still counts.
        interval_min_s: seconds that changes are collected before watchers hear of them, when idle.
        interval_max_s: the same under the heaviest load.
        full_list_max: rooms of up to so many members are shown whole; also the largest page.
        rooms_max: rooms that a session may watch at once.
        request_users_max: users in one request.
        users_max: users that a session may watch by id at once.
        slice_members: members of a room that are read, or forgotten, in one go: a millisecond.
        keep_s: seconds that a room's members are kept after its last watcher.
        keep_rooms_max: rooms that are kept so; the oldest are forgotten first.
        keep_members_max: members of all these rooms together, about 300 bytes each; the one watched last is
            kept whatever its size.
    """

    grace_s: float = 15.0
    interval_min_s: float = 0.25
    interval_max_s: float = 5.0
    full_list_max: int = 200
    rooms_max: int = 50
    request_users_max: int = 100
    users_max: int = 100
    slice_members: int = 500
    keep_s: float = 60.0
    keep_rooms_max: int = 256
    keep_members_max: int = 200_000

    def __post_init__(self) -> None:
        """Refuse limits that make no sense.

        Raises:
            ValueError: naming the field.
        """
        if not 0 <= self.grace_s <= 3600:  # noqa: PLR2004  an hour of ghosts is a mistake, not a grace
            raise ValueError("grace_s must be from 0 to 3600")
        if not 0 < self.interval_min_s <= self.interval_max_s:
            raise ValueError("interval_min_s must be above 0 and not above interval_max_s")
        if not 0 <= self.keep_s <= 3600:  # noqa: PLR2004  as above
            raise ValueError("keep_s must be from 0 to 3600")
        for name in (
            "full_list_max",
            "rooms_max",
            "request_users_max",
            "users_max",
            "slice_members",
            "keep_rooms_max",
            "keep_members_max",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
