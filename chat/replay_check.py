"""PURE: whether a room's history is its file: same order, same bytes, same author, nothing twice."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from chat.client_state import Envelope

EVIDENCE_MAX: Final = 10
"""Differences shown for a room: one mistake shifts everything after it."""


class Said(NamedTuple):
    """One message of a file.

    Attributes:
        line: of the file.
        by: the user id that its author came in with.
        name: the author's display name.
        cid: under which it was sent.
    """

    line: int
    by: str
    name: str
    cid: str
    body: str


def compare(source: str, said: Sequence[Said], after: int, history: Iterable[Envelope]) -> list[str]:
    """Every difference in words, at most `EVIDENCE_MAX` and a count; empty when all is as it was written.

    Args:
        source: the file's name.
        said: what the file has to say, in order.
        after: the room's head before the first of it.
        history: the room's events after that, all of them, as the server tells them.
    """
    found: list[str] = []
    expected = iter(said)
    cids: set[object] = set()
    seq = after
    count = 0
    n: int | None = None
    for event in history:
        seq += 1
        if event.get("seq") != seq:
            found.append(f"{source}: after #{seq - 1} comes #{event.get('seq')}")
            seq = _number(event.get("seq"), seq)
        if event.get("kind") == "void":
            continue
        if event.get("kind") != "message":
            found.append(f"{source}: #{seq} is a {event.get('kind')!r}")
            continue
        count += 1
        found += _compare_one(source, seq, next(expected, None), event, cids)
        if n is not None and event.get("n") != n + 1:
            found.append(f"{source}: #{seq} has the ordinal {event.get('n')!r} after {n}")
        n = _number(event.get("n"), 0)
    for missing in expected:
        found.append(f"{source}:{missing.line}: {missing.name!r} {missing.body!r} is not in the history")
    if count != len(said):
        found.insert(0, f"{source}: {len(said)} messages are in the file, the history has {count}")
    hidden = len(found) - EVIDENCE_MAX
    return [*found[:EVIDENCE_MAX], f"{source}: and {hidden} more"] if hidden > 0 else found


def _compare_one(
    source: str, seq: int, said: Said | None, event: Envelope, cids: set[object]
) -> Iterable[str]:
    cid = event.get("cid")
    if cid in cids:
        yield f"{source}: #{seq} has the cid {cid!r} for a second time"
    cids.add(cid)
    if said is None:
        yield f"{source}: #{seq} {event.get('name')!r} {event.get('body')!r} was not played"
        return
    where = f"{source}:{said.line}: #{seq}"
    for field, played in (("body", said.body), ("by", said.by), ("name", said.name), ("cid", said.cid)):
        if event.get(field) != played:
            yield f"{where} {field}: played {played!r}, the history has {event.get(field)!r}"


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default
