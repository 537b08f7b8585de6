"""PURE: every watcher's picture, of all workers, against who is there."""

from collections.abc import Sequence

from scripts.load.presence_check import best_status, differences, presence_violation
from scripts.load.record import Violation
from scripts.load.reports import PresenceReport


def compare_presence(reports: Sequence[PresenceReport], rooms: Sequence[str]) -> list[Violation]:
    """Which watchers do not see who is there.

    Args:
        reports: of all workers.
        rooms: their names, in the order of their numbers.
    """
    statuses: dict[str, str] = {}
    for report in reports:
        for user, status in report.statuses.items():
            # A token may be several users': the most available of a user's sessions counts.
            statuses[user] = best_status(status, statuses.get(user))
    found: list[Violation] = []
    members: dict[int, dict[str, str]] = {}
    for report in reports:
        for room, users in report.members.items():
            members.setdefault(room, {}).update((user, statuses[user]) for user in users)
    for report in reports:
        for room, watcher, picture in report.pictures:
            wrong = differences(picture, members[room])
            if wrong:
                found.append(presence_violation(rooms[room], watcher, wrong))
    return found
