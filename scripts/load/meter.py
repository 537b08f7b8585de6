"""PURE: what a worker counts, second by second."""

from collections import Counter
from typing import Final

from scripts.load.histogram import STEP_NS
from scripts.load.record import METRICS, Metric

NS: Final = 1_000_000_000


class Meter:
    """The counts of the second that runs. The attributes are those of `reports.Second`.

    Attributes:
        steady_ns: when the steady phase begins and
        end_ns: ends, by the clock that due times use; set at the start.
        other: latencies of what was not due in the steady phase.
    """

    __slots__ = (
        "connects",
        "deliveries",
        "end_ns",
        "errors",
        "oks",
        "other",
        "other_late",
        "resumes",
        "sends",
        "steady",
        "steady_late",
        "steady_ns",
    )

    def __init__(self) -> None:
        self.steady_ns = 0
        self.end_ns = 0
        self.reset()

    def reset(self) -> None:
        """Begin another second."""
        self.sends = 0
        self.deliveries = 0
        self.oks = 0
        self.connects = 0
        self.resumes = 0
        self.errors = Counter[str]()
        self.other: dict[Metric, dict[int, int]] = {metric: {} for metric in METRICS}
        self.steady: dict[Metric, dict[int, int]] = {metric: {} for metric in METRICS}
        self.other_late: dict[int, int] = {}
        self.steady_late: dict[int, int] = {}

    def took(self, metric: Metric, due_ns: int, now_ns: int) -> None:
        """An operation that was due then has ended now."""
        counts = (self.steady if self.steady_ns <= due_ns < self.end_ns else self.other)[metric]
        steps = (now_ns - due_ns) // STEP_NS
        counts[steps] = counts.get(steps, 0) + 1

    def began(self, due_ns: int, now_ns: int) -> None:
        """The tester came to an operation that was due then."""
        counts = self.steady_late if self.steady_ns <= due_ns < self.end_ns else self.other_late
        steps = max(now_ns - due_ns, 0) // STEP_NS
        counts[steps] = counts.get(steps, 0) + 1
