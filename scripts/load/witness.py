"""PURE: what a process's clients saw of one room, as one log; the first difference between two is kept.

A broadcast is one sequence of bytes, so its event is looked at once for all clients of a process. Each
client's own log (`chat.client_state.RoomLog`) sees to it that the client takes every seq once and in order,
the witness that at each seq all of them took the same event: so the equality of 10,000 logs costs nothing a
delivery.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from scripts.load.message import VOID, digest_of
from scripts.load.record import Violation


class Sight(NamedTuple):
    """An event that was seen at a seq.

    Attributes:
        digest: `VOID` when it carries nothing.
    """

    epoch: int
    digest: int


class Witness:
    """One room's events, whoever saw them.

    Attributes:
        room: its name.
        sights: the newest that is known of each seq.
        violations: what cannot be.
    """

    __slots__ = ("room", "sights", "violations")

    def __init__(self, room: str) -> None:
        self.room = room
        self.sights: dict[int, Sight] = {}
        self.violations: list[Violation] = []

    def see(self, event: Mapping[str, object], who: str = "") -> None:
        """Take an event that some client got.

        Args:
            event: the server's envelope; it may come any number of times.
            who: the client, for the evidence.
        """
        seq = cast("int", event["seq"])
        sight = Sight(cast("int", event["epoch"]), digest_of(event))
        known = self.sights.get(seq)
        if known is not None and known != sight:
            words = f"{who or 'a client'} saw {event['kind']} {event.get('cid', '')} by {event['by']}"
            sight = self._settle(seq, known, sight, words)
        self.sights[seq] = sight
        of = event.get("of")
        if sight.digest == VOID and isinstance(of, int) and of in self.sights:
            self.sights[of] = Sight(self.sights[of].epoch, VOID)

    def merge(self, sights: Iterable[tuple[int, Sight]], who: str) -> None:
        """Take what another process saw."""
        for seq, sight in sights:
            known = self.sights.get(seq)
            if known is None:
                self.sights[seq] = sight
            elif known != sight:
                self.sights[seq] = self._settle(seq, known, sight, who)

    def _settle(self, seq: int, known: Sight, sight: Sight, who: str) -> Sight:
        if sight.epoch != known.epoch:
            # What an owner that died had not stored may have been replaced.
            return max(known, sight)
        if VOID in (sight.digest, known.digest):
            # Taken back; who is behind still hears what was there.
            return Sight(known.epoch, VOID)
        self.violations.append(
            Violation(
                kind="differs",
                room=self.room,
                what=f"two clients saw different events at #{seq}",
                evidence=(
                    f"#{seq} epoch {known.epoch} digest {known.digest:016x}",
                    f"#{seq} epoch {sight.epoch} digest {sight.digest:016x}: {who}",
                ),
            )
        )
        return known
