"""One room of the in-memory store: its log, and how an entry is judged against it. No task, no clock."""

from dataclasses import dataclass, field

from storage.errors import BadData, LogGap
from storage.memory_projections import Projections
from storage.model import (
    AuditRow,
    CidConflict,
    Duplicate,
    Entry,
    EpochStart,
    Fenced,
    LogEntry,
    MemberRow,
    Poisoned,
    Receipt,
    RoomRow,
    SanctionRow,
    Stored,
)

_MAX_INTEGER = 2**63 - 1
_STORED = Stored()


@dataclass(slots=True)
class StoredMember:
    """A member and the ordinal at the read pointer."""

    row: MemberRow
    read_n: int


@dataclass(slots=True)
class Indexed:
    """What of a room is indexed: the position, and for each message the seq of the event with its text."""

    seq: int = 0
    texts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class StoredRoom:
    """A room with all that is stored of it."""

    row: RoomRow
    epoch: int = 0
    log: list[LogEntry] = field(default_factory=list)  # the event of seq s stands at s - 1
    cids: dict[tuple[str, str], LogEntry] = field(default_factory=dict)
    epochs: list[EpochStart] = field(default_factory=list)
    members: dict[str, StoredMember] = field(default_factory=dict)
    sanctions: dict[tuple[str, str], SanctionRow] = field(default_factory=dict)  # by user and kind
    audit: list[AuditRow] = field(default_factory=list)
    lost: dict[int, LogEntry] = field(default_factory=dict)  # what was ordered under a seq that is void
    parked: dict[int, Poisoned] = field(default_factory=dict)
    present: Projections = field(default_factory=Projections)
    indexed: Indexed = field(default_factory=Indexed)
    retained_seq: int = 0
    settled_epoch: int | None = None  # under which nothing more can be written


def known_receipt(room: StoredRoom, entry: LogEntry, *, owned: bool) -> Receipt:
    """The receipt of an entry whose seq is taken: the one it got then, if it was this entry."""
    there = room.log[entry.seq - 1]
    if there.epoch == entry.epoch:
        if (there.kind, there.by, there.cid) == (entry.kind, entry.by, entry.cid):
            return _STORED
        if entry.seq in room.parked:
            return room.parked[entry.seq]
        lost = room.lost.get(entry.seq)
        if lost is not None and entry.cid is not None and (lost.by, lost.cid) == (entry.by, entry.cid):
            return judge_key(entry, room.cids[entry.by, entry.cid])
    if owned:
        raise LogGap(f"room {entry.room_id}: seq {entry.seq} holds another event")
    return Fenced()


def judge_key(entry: LogEntry, first: LogEntry) -> Receipt:
    """The receipt of an entry whose key was first used by another one; a body that was erased equals any."""
    if entry.kind == first.kind and (entry.body == first.body or None in {entry.body, first.body}):
        return Duplicate(first.seq, first.epoch, first.at_ms)
    return CidConflict(first.seq)


def erase(room: StoredRoom, seq: int) -> None:
    """Empty a text, where there is one; the entry keeps its place and its key."""
    if seq > len(room.log):
        return
    entry = room.log[seq - 1]
    erased = room.log[seq - 1] = entry._replace(body=None)
    if entry.cid is not None and room.cids.get((entry.by, entry.cid)) is entry:
        room.cids[entry.by, entry.cid] = erased


def void_of(entry: LogEntry) -> LogEntry:
    """What stands in the log instead of an entry that was not stored."""
    return entry._replace(
        kind="void", by="", name="", cid=None, body=None, reply_to=None, thread=None, data=None
    )


def check_entry(entry: Entry) -> None:
    """Refuse what Postgres cannot hold: NUL and lone surrogates in text, numbers beyond 64 bits."""
    check_row(entry)


def check_row(row: tuple[object, ...]) -> None:
    """The same of any row."""
    check_numbers(row)
    for value in row:
        if isinstance(value, str):
            if "\x00" in value:
                raise BadData("invalid byte sequence: 0x00")
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise BadData(str(error)) from error


def check_numbers(entry: tuple[object, ...]) -> None:
    """Refuse numbers beyond 64 bits."""
    for value in entry:
        if isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise BadData(f"out of range: {value}")
