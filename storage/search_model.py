"""PURE: what crosses the storage boundary for search: a question, a page of hits, a step of the index."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from storage.model import RoomId

LANGUAGES: Final = frozenset(
    {
        "arabic",
        "danish",
        "dutch",
        "english",
        "finnish",
        "french",
        "german",
        "greek",
        "hungarian",
        "indonesian",
        "irish",
        "italian",
        "lithuanian",
        "nepali",
        "norwegian",
        "portuguese",
        "romanian",
        "russian",
        "simple",
        "spanish",
        "swedish",
        "tamil",
        "turkish",
    }
)
"""Text search configurations that every supported Postgres has; `simple` knows no stems and no stop words."""


class SearchKey(NamedTuple):
    """The place of a hit in the order of hits: newest first."""

    at_ms: int
    room: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAsk:
    """What somebody looks for.

    Attributes:
        user_id: who; only what this user may read is found.
        query: as people type it: words, "a phrase", or, -not.
        room: in this room alone; None: in all public rooms and those of the user.
        before: only hits after this one in the order, that is older ones.
        limit: hits at most, from 1.
        now_ms: the present: who is banned from a room until later finds nothing there.
        oversees: whether this user may read every room; counts where a room is named.
    """

    user_id: str
    query: str
    now_ms: int
    room: str | None = None
    before: SearchKey | None = None
    limit: int
    oversees: bool = False


class SearchHit(NamedTuple):
    """A message that was found.

    Attributes:
        fragment: its text around what was found, in pieces: the second, fourth, ... are what was found.
    """

    room: str
    seq: int
    at_ms: int
    by: str
    name: str
    fragment: Sequence[str]

    @property
    def key(self) -> SearchKey:
        """Its place in the order."""
        return SearchKey(self.at_ms, self.room, self.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """Hits, newest first, and how complete they can be.

    Attributes:
        items: a message that was erased since it was indexed is left out: there may be fewer than asked for.
        next: pass as `before` for older hits; None: there are none.
        searchable: whether the query has a word that must be there; without one there are no hits.
        indexed_seq: of the one room that was searched: all up to here was searched. None for several.
        durable_seq: the last stored seq of that room, as of the same moment.
    """

    items: Sequence[SearchHit]
    next: SearchKey | None
    searchable: bool
    indexed_seq: int | None
    durable_seq: int | None


class RoomDue(NamedTuple):
    """A room that was activated since all of its log was last known to be indexed.

    Attributes:
        epoch: as of this look.
        behind: stored events that are not indexed.
    """

    room_id: RoomId
    name: str
    epoch: int
    behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStep:
    """What one step of the index came to.

    Attributes:
        rows: events that were read, by room.
        done: rooms with no stored event left when the step began.
        unreadable: events whose data say nothing that can be applied; they were passed over.
    """

    rows: dict[RoomId, int]
    done: Collection[RoomId]
    unreadable: Sequence[tuple[RoomId, int]]
