"""What the lives of the presence actor share with its port: made once by the server, outlives crashes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from chat.alarm import Alarm
from chat.peers import Broadcast
from chat.presence_limits import PresenceLimits
from chat.presence_messages import SessionOpened
from chat.presence_waiting import WaitingWatches
from chat.typing_state import TypingLimits


class EphemeralTopic(Protocol):
    """The subscribers of one room on this node."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def publish_ephemeral(self, message: Broadcast) -> None:
        """Deliver something that may be shed; never blocks."""
        ...


class EphemeralTopics(Protocol):
    """The topics of this node."""

    def get(self, room: str, /) -> EphemeralTopic | None:
        """A room's topic, if the room is active here."""
        ...


@dataclass(slots=True, kw_only=True)
class PresenceStatistics:
    """Counters since the start, over all lives of the actor.

    Attributes:
        diffs: diffs that were made; each is encoded once an encoding.
        deliveries: those handed to a watcher.
        shed: those that a watcher's full outbox did not take.
        typing: `typing` broadcasts.
        lives: times that the actor was started.
    """

    diffs: int = 0
    deliveries: int = 0
    shed: int = 0
    typing: int = 0
    lives: int = 0


@dataclass(slots=True, kw_only=True)
class PresenceServices:
    """What the actor's lives share with each other and with the port; made once by the server.

    Attributes:
        topics: where typing is told.
        now_ms: the wall clock, milliseconds since 1970.
        sessions: every welcomed session with its present status, to start again from after a crash.
        alarm: the server runs `alarm.run(port.tick)` beside the actor.
        presence_limits: see `PresenceState`.
        typing_limits: see `TypingState`.
        statistics: counted by every life.
        typing_rooms: rooms in which somebody may be typing: a message anywhere else is not worth telling.
        waiting: watches that wait for large rosters: a crash must not leave them unanswered.
        hidden: users who are here, but invisible: a crash must not reveal them.
        overflowed: set by the port when something was lost; the next turn crashes over it.
    """

    topics: EphemeralTopics
    now_ms: Callable[[], int]
    sessions: Callable[[], Iterable[SessionOpened]]
    presence_limits: PresenceLimits = field(default_factory=PresenceLimits)
    typing_limits: TypingLimits = field(default_factory=TypingLimits)
    alarm: Alarm = field(default_factory=Alarm)
    statistics: PresenceStatistics = field(default_factory=PresenceStatistics)
    typing_rooms: set[str] = field(default_factory=set)
    waiting: WaitingWatches = field(default_factory=WaitingWatches)
    hidden: set[str] = field(default_factory=set[str])
    overflowed: bool = False
