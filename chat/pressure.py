"""Measures the server's pressure twice a second, acts on it, and tells every client when it changes."""

from collections.abc import Callable, Collection
from typing import Final, NoReturn

import structlog
import trio

from chat.health import Readiness
from chat.peers import Broadcast
from chat.presence_port import PresencePort
from chat.pressure_state import LEVEL_MAX, Change, Measures, PressureState
from chat.session import Session

log = structlog.stdlib.get_logger("chat.pressure")

TICK_S: Final = 0.5
RETRY_AFTER_S: Final = (0.0, 0.0, 1.0, 2.0, 5.0)
"""What clients are told, by level: when to try again what is not urgent."""


class PressureGovernor:
    """Keeps the level.

    Args:
        measure: what the level is made from, now.
        sessions: who is told.
        presence: told to slow down.
        readiness: told of the highest level: no new connections. Nothing else calls the server overloaded.
    """

    def __init__(
        self,
        *,
        measure: Callable[[], Measures],
        sessions: Callable[[], Collection[Session]],
        presence: PresencePort,
        readiness: Readiness,
    ) -> None:
        self._measure = measure
        self._sessions = sessions
        self._presence = presence
        self._readiness = readiness
        self._state = PressureState()
        self._present: Broadcast | None = None

    @property
    def level(self) -> int:
        """The present level, 0 to 4."""
        return self._state.level

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Measure and act until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(TICK_S)
            change = self._state.update(self._measure(), now_s=trio.current_time())
            if change is not None:
                self.apply(change)

    def apply(self, change: Change) -> None:
        """Act on a new level and tell everybody."""
        # Not `level`: that is the log's own key, for how serious the event is.
        log.warning("pressure.changed", pressure=change.level, reason=change.reason)
        self._presence.set_pressure(change.level)
        if change.level >= LEVEL_MAX:
            self._readiness.overload("pressure", change.reason)
        else:
            self._readiness.relieve("pressure")
        message = _as_message(change)
        self._present = message if change.level else None
        for session in self._sessions():
            if session.principal is not None:
                session.push_ephemeral(message.frame(session.encoding_index))

    def tell(self, session: Session) -> None:
        """Tell somebody who was not here when the level changed; nothing while all is calm."""
        if self._present is not None:
            session.push_ephemeral(self._present.frame(session.encoding_index))


def _as_message(change: Change) -> Broadcast:
    envelope: dict[str, object] = {"t": "pressure", "level": change.level, "reason": change.reason}
    if RETRY_AFTER_S[change.level]:
        envelope["retry_after"] = RETRY_AFTER_S[change.level]
    return Broadcast(envelope)
