"""One message on its way: what becomes of it is counted, timed, and kept for the checks."""

from time import monotonic_ns

from chat.client_session import ClientSession
from chat.outbound import Delivery, Outgoing
from scripts.load.checks import Fate
from scripts.load.visits import Visits
from scripts.load.world import World


class Sending:
    """An `on_change` of one message.

    Args:
        room: its number.
        due_ns: when it was due; 0: it is not timed.
        expected: the code with which it must be refused; "": it must not.
    """

    __slots__ = ("_due_ns", "_expected", "_room", "_session", "_visits", "_world")

    def __init__(
        self,
        world: World,
        visits: Visits,
        session: ClientSession,
        *,
        room: int,
        due_ns: int,
        expected: str,
    ) -> None:
        self._world = world
        self._visits = visits
        self._session = session
        self._room = room
        self._due_ns = due_ns
        self._expected = expected

    def __call__(self, outgoing: Outgoing) -> None:
        """Take a change of its state."""
        world = self._world
        match outgoing.state:
            case Delivery.STORED:
                world.pending -= 1
                world.meter.oks += 1
                if self._due_ns > self._visits.excused_ns:
                    world.meter.took("ok", self._due_ns, monotonic_ns())
                world.fates[self._room][outgoing.cid] = outgoing.seq
            case Delivery.REFUSED:
                world.pending -= 1
                code = "" if outgoing.refused is None else outgoing.refused.code
                if code != self._expected:
                    world.meter.errors[code] += 1
                if not outgoing.retry:
                    world.fates[self._room][outgoing.cid] = Fate.REFUSED
            case Delivery.QUEUED:
                # Also after a lost connection, which is counted by itself.
                if outgoing.refused is not None and self._session.attached:
                    world.meter.errors[outgoing.refused.code] += 1
            case _:
                pass
