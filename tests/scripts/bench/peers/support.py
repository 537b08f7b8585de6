"""Results made by hand."""

from msgspec.structs import replace

from scripts.bench.measured import Measured
from scripts.bench.peers.ladder import Trial
from scripts.bench.peers.results import Climb, Result
from tests.scripts.bench.support import measured, shot


def run(*, cpu_us: float = 10.0, sends: int = 1000, per_room: int = 2, **changes: object) -> Measured:
    """A run of one second in which so many sends were delivered, at so much CPU a delivery."""
    deliveries = sends * per_room
    last = shot(1, events=deliveries, ticks=round(cpu_us * deliveries / 10_000), own_s=deliveries * 5e-7)
    plain = {
        "shots": (shot(0), last),
        "sent": sends,
        "expected_events": deliveries,
        "answers": False,
    }
    return replace(measured(), **{**plain, **changes})


def climb(rate: float, *, per_room: int = 2, at_least: bool = False) -> Climb:
    """A search that ended there."""
    trial = Trial(rate=rate, borne=True, doubtful=False, p99_ms=5.0, deliveries_per_s=rate * per_room)
    return Climb(best=trial, at_least=at_least, trials=(trial,))


def contestant(
    name: str,
    *,
    delivery_us: float = 10.0,
    deliveries_per_s: float = 100_000,
    send_us: float = 100.0,
    kb: float = 20.0,
) -> Result:
    """Somebody who was measured at everything."""
    return Result(
        name=name,
        title=name.upper(),
        lacks=f"what {name} lacks",
        versions={name: "1.2.3"},
        runs={
            "fanout": run(cpu_us=delivery_us, sends=1000, per_room=500),
            "pairs": run(cpu_us=send_us / 2, sends=10_000, per_room=2),
            "crowd": run(settled=shot(rss=int(10 * kb * 1024))),
        },
        rates={"fanout": 40, "pairs": 2000, "crowd": 0},
        climbs={"fanout": climb(deliveries_per_s / 500, per_room=500), "pairs": climb(4000)},
    )
