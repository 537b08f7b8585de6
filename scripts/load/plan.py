"""PURE: who sits where and does what when: the same for a seed, in however many processes it is played."""

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from scripts.load.behaviours import Seat, Span
from scripts.load.operations import Operation
from scripts.load.scenario import Scenario

if TYPE_CHECKING:
    from random import Random


class Layout:
    """Every user's seat.

    Args:
        scenario: what is played.
        rng: seeded with the scenario's seed alone; used up here.
    """

    def __init__(self, scenario: Scenario, rng: "Random") -> None:
        self._scenario = scenario
        users = scenario.users
        self._groups = _shared_out(users, [group.share for group in scenario.groups])
        rng.shuffle(self._groups)
        step_s = scenario.ramp_s / users
        self._join_s = [(user + rng.random()) * step_s for user in range(users)]
        watchers = round(users * scenario.watchers)
        self._watchers = frozenset(rng.sample(range(users), watchers))
        self._places: list[int] = []
        counts: dict[tuple[int, int], int] = {}
        for user in range(users):
            key = (self._groups[user], user % scenario.rooms)
            place = counts.get(key, 0)
            counts[key] = place + 1
            self._places.append(place)
        self._counts = counts

    def seat(self, user: int) -> Seat:
        """One user's."""
        scenario = self._scenario
        rooms = scenario.rooms
        # Far apart, so that two who share one room do not share all of them.
        stride = max(1, rooms // scenario.rooms_per_user)
        group = self._groups[user]
        return Seat(
            user=user,
            group=group,
            join_s=self._join_s[user],
            rooms=tuple((user + number * stride) % rooms for number in range(scenario.rooms_per_user)),
            place=self._places[user],
            places=self._counts[group, user % rooms],
            watches=user in self._watchers,
            json=scenario.encoding == "json" or (scenario.encoding == "both" and user % 2 == 1),
        )


def _shared_out(users: int, shares: Sequence[float]) -> list[int]:
    """A group for each user: each has its share of users, rounded, and none is empty while users last."""
    ends = list(accumulate(shares))
    total = ends[-1]
    groups = [bisect(ends, (user + 0.5) * total / users) for user in range(users)]
    counts = [groups.count(group) for group in range(len(shares))]
    for group, count in enumerate(counts):
        largest = counts.index(max(counts))
        if not count and counts[largest] > 1:
            groups[groups.index(largest)] = group
            counts[largest] -= 1
            counts[group] += 1
    return groups


def operations(scenario: Scenario, seat: Seat, span: Span, rng: "Random") -> Iterator[Operation]:
    """What one user does; `rng` is seeded with `seed_of` and is this user's alone."""
    return scenario.groups[seat.group].plan(seat, span, rng)


def seed_of(scenario: Scenario, user: int) -> str:
    """The seed of one user's choices."""
    return f"{scenario.seed}/{user}"
