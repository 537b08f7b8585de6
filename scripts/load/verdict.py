"""PURE: what is to be said of a run before any figure of it."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from scripts.load.record import RunRecord
from scripts.load.words import plural

Tone: TypeAlias = Literal["good", "bad", "doubtful"]


class Verdict(msgspec.Struct, frozen=True):
    """One sentence.

    Attributes:
        tone: `bad`: something is wrong with the server or the run; `doubtful`: with the figures.
        word: in one word, for those who see no colours.
        text: the sentence.
    """

    tone: Tone
    word: str
    text: str


def verdicts(record: RunRecord) -> Sequence[Verdict]:
    """The worst first; one that is good when there is nothing else to say."""
    totals = record.totals
    told: list[Verdict] = []
    if totals.violation_count:
        told.append(Verdict("bad", "VIOLATION", f"{plural(totals.violation_count, 'promise')} broken"))
    if record.ended == "failed":
        told.append(Verdict("bad", "FAILED", record.failure or "the run failed"))
    told += [Verdict("bad", "INVALID", reason) for reason in record.invalid]
    if record.ended == "interrupted":
        told.append(Verdict("doubtful", "INTERRUPTED", "the figures are those up to then"))
    checked = f"{plural(totals.checked_rooms, 'room')} compared, {plural(totals.checked_oks, 'ok')} looked up"
    if not totals.checked_rooms and not totals.checked_oks:
        told.append(Verdict("doubtful", "UNCHECKED", "no promise was checked"))
    elif not told:
        told.append(Verdict("good", "VALID", f"every promise held: {checked}"))
    return told
