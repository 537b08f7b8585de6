"""PURE: what one watcher shows of a room's members, and how it should look in the end."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from scripts.load.record import Violation

OFFLINE: Final = "offline"
_COUNTED: Final = ("online", "away", "dnd")


class Picture(msgspec.Struct):
    """A watched page: who is on it, and the room's counts; `take` answers whether to watch again.

    Attributes:
        version: of the last diff; 0 when something was missed.
        shown: statuses by user id.
        counts: the room's members by status, and `total`.
    """

    version: int = 0
    shown: dict[str, str] = {}
    counts: dict[str, int] = {}

    def begin(self, answer: Mapping[str, object]) -> None:
        """Take the answer to `watch`."""
        self.version = cast("int", answer["version"])
        items = cast("Sequence[Mapping[str, str]]", answer["presence"])
        self.shown = {item["user"]: item["status"] for item in items}
        self.counts = dict(cast("Mapping[str, int]", answer["counts"]))

    def take(self, diff: Mapping[str, object]) -> bool:
        """Apply a `presence` notice of this room; False when something was missed: watch again."""
        version = cast("int", diff["version"])
        if not self.version or version != self.version + 1:
            self.version = 0
            return False
        self.version = version
        for change in cast("Sequence[Mapping[str, object]]", diff["changes"]):
            user = str(change["user"])
            if change.get("left"):
                self.shown.pop(user, None)
            else:
                self.shown[user] = str(change["status"])
        counts = diff.get("counts")
        if counts is not None:
            self.counts = dict(cast("Mapping[str, int]", counts))
        return True


def expected_counts(statuses: Sequence[str]) -> dict[str, int]:
    """The counts of a room whose members are so available."""
    return {**{status: statuses.count(status) for status in _COUNTED}, "total": len(statuses)}


def differences(picture: Picture, members: Mapping[str, str]) -> list[str]:
    """What a picture shows otherwise than it is.

    Args:
        picture: what is shown.
        members: the true status of every member, by user id.
    """
    wrong = [
        f"{user} is {members.get(user, 'no member')} and shown as {status}"
        for user, status in sorted(picture.shown.items())
        if members.get(user) != status
    ]
    expected = expected_counts(list(members.values()))
    if picture.counts != expected:
        wrong.append(f"counts {picture.counts}, expected {expected}")
    return wrong


def presence_violation(room: str, watcher: str, wrong: Sequence[str]) -> Violation:
    """The report of a picture that did not converge."""
    return Violation(
        kind="presence",
        room=room,
        what=f"{watcher} does not see who is there ({len(wrong):,} differences)",
        evidence=tuple(wrong[:5]),
    )


def best_status(one: str, other: str | None) -> str:
    """The more available of two sessions' statuses."""
    if other is None:
        return one
    return min(one, other, key=(*_COUNTED, OFFLINE).index)
