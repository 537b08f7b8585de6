"""PURE: what was promised, compared with what history says when all is over."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, cast

from scripts.load.message import VOID, digest_of
from scripts.load.record import Violation, ViolationKind
from scripts.load.witness import Sight

EVIDENCE_MAX: Final = 5
"""Lines for each kind of violation in a room."""


class Fate(IntEnum):
    """What became of a send that was not stored; a stored one's fate is its seq, from 1."""

    UNKNOWN = 0
    """No answer came, or one that leaves it open: it may be there once."""
    REFUSED = -1
    """It may not be there."""


class Stored(NamedTuple):
    """One event of a room's history."""

    seq: int
    sight: Sight
    cid: str | None
    by: str


def stored_of(event: Mapping[str, object]) -> Stored:
    """A history item, as compared here."""
    cid = event.get("cid")
    return Stored(
        cast("int", event["seq"]),
        Sight(cast("int", event["epoch"]), digest_of(event)),
        cid if isinstance(cid, str) and event["kind"] == "message" else None,
        str(event["by"]),
    )


class RoomChecks:
    """The comparison of one room.

    Args:
        room: its name.
        history: all of it, in the order in which it was read.
        sights: what clients saw, by seq.
        fates: what became of every send, by cid: a `Fate`, or the seq that `ok` told.
    """

    def __init__(
        self, room: str, history: Sequence[Stored], sights: Mapping[int, Sight], fates: Mapping[str, int]
    ) -> None:
        self._room = room
        self._history = history
        self._sights = sights
        self._fates = fates

    def violations(self) -> list[Violation]:
        """Everything that is wrong; empty: nothing."""
        return [*self._order(), *self._seen(), *self._sent()]

    def _order(self) -> list[Violation]:
        bad = [
            f"after #{before} comes #{after.seq} in history"
            for before, after in zip(
                [0, *(event.seq for event in self._history)], self._history, strict=False
            )
            if after.seq != before + 1
        ]
        return self._report("gap", "history has gaps, or is out of order", bad)

    def _seen(self) -> list[Violation]:
        stored = {event.seq: event for event in self._history}
        bad: list[str] = []
        for seq, sight in sorted(self._sights.items()):
            event = stored.get(seq)
            if event is None:
                if sight.digest != VOID and not self._was_replaced(sight):
                    bad.append(f"#{seq} epoch {sight.epoch} was seen and is not in history")
            elif (
                event.sight != sight
                and VOID not in (sight.digest, event.sight.digest)
                and event.sight.epoch <= sight.epoch
            ):
                bad.append(
                    f"#{seq} was seen in epoch {sight.epoch} with digest {sight.digest:016x}; history has"
                    f" {event.cid} by {event.by}, epoch {event.sight.epoch}, {event.sight.digest:016x}"
                )
        return self._report("differs", "clients saw other events than history has", bad)

    def _was_replaced(self, sight: Sight) -> bool:
        """Whether a later owner of the room has spoken: what an earlier one had not stored may be gone."""
        return bool(self._history) and self._history[-1].sight.epoch > sight.epoch

    def _sent(self) -> list[Violation]:
        places: dict[str, list[int]] = {}
        for event in self._history:
            if event.cid is not None:
                places.setdefault(event.cid, []).append(event.seq)
        lost, moved, doubled, leaked = list[str](), list[str](), list[str](), list[str]()
        for cid, fate in self._fates.items():
            seqs = places.pop(cid, [])
            if len(seqs) > 1:
                doubled.append(f"cid {cid} is at {seqs}")
            elif fate == Fate.REFUSED and seqs:
                leaked.append(f"cid {cid} was refused and is at #{seqs[0]}")
            elif fate > 0 and not seqs:
                lost.append(f"cid {cid} was answered ok at #{fate} and is not in history")
            elif fate > 0 and seqs != [fate]:
                moved.append(f"cid {cid} was answered ok at #{fate} and is at #{seqs[0]}")
        strange = [f"cid {cid} at {seqs} was sent by nobody" for cid, seqs in places.items()]
        return [
            *self._report("lost", "messages answered ok are not in history", lost),
            *self._report("doubled", "messages are in history more than once", doubled),
            *self._report("leaked", "refused messages are in history", leaked),
            *self._report("differs", "messages are not where ok told, or nobody's", [*moved, *strange]),
        ]

    def _report(self, kind: ViolationKind, what: str, bad: Sequence[str]) -> list[Violation]:
        if not bad:
            return []
        evidence = list(bad[:EVIDENCE_MAX])
        if len(bad) > EVIDENCE_MAX:
            evidence.append(f"and {len(bad) - EVIDENCE_MAX:,} more")
        return [Violation(kind=kind, room=self._room, what=f"{what} ({len(bad):,})", evidence=evidence)]
