"""Looks after every connection's times with one task: late hellos, silent peers, ended tokens.

One sweep a second over all sessions instead of a timer for each: 10,000 timers cost more than 10,000 looks.
Each look notes when the next can find anything, so that the sweep passes over nearly all of them with one
comparison: 10,000 idle connections took 4 % of a core before.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from chat.errors import CloseCode
from chat.session import Session
from chat.session_state import Phase
from chat.transport import PING_FRAME

SWEEP_S: Final = 1.0
SESSIONS_PER_TURN: Final = 1000
"""After so many looks the others get their turn: below a millisecond."""
LOOK_S: Final = 5.0
"""The longest between two looks: the wall clock, by which tokens end, may be set forward meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatTimes:
    """When a silent connection is asked, and when it is ended.

    Attributes:
        silence_s: without inbound bytes until the server pings; each session spreads it by +-20 %.
        pong_s: for the answer.
        retry_after_s: when clients whose token has ended are told to come back.
    """

    silence_s: float
    pong_s: float
    retry_after_s: float


class Heartbeat:
    """Sweeps over the sessions.

    Args:
        sessions: those that are open now.
        times: see `HeartbeatTimes`.
        now_ms: the wall clock, for tokens.
    """

    def __init__(
        self,
        sessions: Callable[[], Collection[Session]],
        times: HeartbeatTimes,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._sessions = sessions
        self._times = times
        self._now_ms = now_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Sweep once a second until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(SWEEP_S)
            now_s = trio.current_time()
            now_ms = self._now_ms()
            for index, session in enumerate(list(self._sessions())):
                if session.look_at_s <= now_s:
                    self.look(session, now_s=now_s, now_ms=now_ms)
                if index % SESSIONS_PER_TURN == SESSIONS_PER_TURN - 1:
                    await trio.lowlevel.checkpoint()

    def look(self, session: Session, *, now_s: float, now_ms: int) -> None:
        """Do what is due for one session, and note when to look again."""
        if session.is_closed:
            return
        # While a hello is being checked the database is late, not the client; that ends in an answer.
        if session.state.phase is Phase.NEW and now_s >= session.hello_due_s:
            session.end(CloseCode.NO_HELLO, "no hello in time")
            return
        again_s = now_s + LOOK_S
        if session.expires_at_ms is not None:
            left_s = (session.expires_at_ms - now_ms) / 1000
            if left_s <= 0:
                session.end(CloseCode.TOKEN_EXPIRED, "the token has expired", self._times.retry_after_s)
                return
            again_s = min(again_s, now_s + left_s)
        last_s = session.stream.last_receive_s
        if session.is_paused:
            # We do not read it, so we cannot know whether it answers.
            session.ping_due_s = None
            again_s = now_s
        elif session.ping_due_s is None:
            if now_s - last_s >= self._times.silence_s * session.spread:
                session.ping_due_s = now_s + self._times.pong_s
                session.outbox.push(PING_FRAME)
        elif last_s + self._times.pong_s >= session.ping_due_s:
            # Since the ping, the instant of the ping included: what made it due lies further back.
            session.ping_due_s = None
        elif now_s >= session.ping_due_s:
            session.end(CloseCode.NO_PONG, "no pong in time")
            return
        if session.ping_due_s is not None:
            again_s = min(again_s, session.ping_due_s)
        else:
            again_s = min(again_s, last_s + self._times.silence_s * session.spread)
        # Until the welcome a hello may fail at any moment, and then be late.
        session.look_at_s = again_s if session.state.phase is Phase.READY else now_s
