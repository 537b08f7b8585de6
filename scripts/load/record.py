"""PURE: what a load run measured: the one record that the live view, the files and comparisons are made of.

Latencies count from the time at which an operation was meant to happen, not from when the tester came to it
(Gil Tene, "How NOT to Measure Latency", 2013: coordinated omission). All of them are in milliseconds.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, get_args

import msgspec

Metric: TypeAlias = Literal["delivery", "ok", "connect", "resume", "history"]
"""What has a latency. `delivery`: from a message's due time until another member has it; `ok`: until it is
stored; `connect`: dial until welcome and rooms joined; `resume`: a lost connection's redial until every
room is caught up; `history`: a page asked for until it is there."""
METRICS: Final[Sequence[Metric]] = get_args(Metric)
FORMAT: Final = 1
"""Of the JSON file; a reader refuses another."""


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """A latency's distribution; all 0 when `count` is."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class ServerTick(msgspec.Struct, frozen=True, kw_only=True):
    """What the server's `/metrics` said of the second that ended; None: it does not say, or was not asked.

    Attributes:
        cpu: share of one core, 1.0 = all of it.
        memory_bytes: resident.
        mailbox_wait_ms: p99 of this second's turns, upper bound of the histogram's bucket.
        commit_ms: the same of commits.
        commit_lag_ms: how long the oldest row waits to be stored.
        loop_lag_ms: how late the event loop comes to a timer.
        backlog_rows: not stored yet.
        connections: open.
        pressure: the level, 0 to 4.
    """

    cpu: float | None = None
    memory_bytes: int | None = None
    mailbox_wait_ms: float | None = None
    commit_ms: float | None = None
    commit_lag_ms: float | None = None
    loop_lag_ms: float | None = None
    backlog_rows: int | None = None
    connections: int | None = None
    pressure: int | None = None


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a run, all processes together.

    Attributes:
        at_s: its end, seconds since the run's start.
        phase: `ramp`, `steady` or `drain`; only `steady` counts in the totals' latencies.
        users: welcomed now.
        target_users: that should be.
        sends: messages handed to the clients in this second; the following counts likewise.
        deliveries: events received.
        oks: sends that became stored.
        connects: first welcomes.
        resumes: lost connections that were caught up.
        errors: by code: the protocol's, or `close_4002`, `connect_refused`, `timeout`.
        violations: broken promises that were seen in this second; the checks at the end find more.
        latency: those of operations that ended in this second; without entries that are empty.
        late_ms: p99 of how late the tester came to its operations.
        tester_cpu: the busiest worker's share of one core.
        tester_memory_bytes: of all workers.
        server: None without `/metrics`.
    """

    at_s: float
    phase: Literal["ramp", "steady", "drain"]
    users: int
    target_users: int
    sends: int = 0
    deliveries: int = 0
    oks: int = 0
    connects: int = 0
    resumes: int = 0
    errors: Mapping[str, int] = {}
    violations: int = 0
    latency: Mapping[Metric, Quantiles] = {}
    late_ms: float = 0.0
    tester_cpu: float = 0.0
    tester_memory_bytes: int = 0
    server: ServerTick | None = None


ViolationKind: TypeAlias = Literal[
    "gap",  # a seq is missing in what a client saw
    "order",  # a seq came twice, or out of order
    "differs",  # two clients, or a client and history, saw different events at one seq
    "lost",  # a send was answered ok and is not in history
    "doubled",  # a send is in history more than once
    "leaked",  # what was refused was seen by somebody
    "presence",  # presence did not converge
]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was broken.

    Attributes:
        room: where; "" where no room is meant.
        what: one sentence for people.
        evidence: what was seen, one line each: seq, cid, who, when; no message bodies.
    """

    kind: ViolationKind
    room: str
    what: str
    evidence: Sequence[str] = ()


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run.

    Attributes:
        latency: of operations that were due in the steady phase.
        curve: per metric, points of the distribution for plots: (percentile 0 to 100, ms), rising.
        duration_s: of the steady phase, over which rates are taken.
        checked_rooms: whose logs were compared.
        checked_oks: sends that were looked up in history.
        cpu_per_delivery_us: the tester's own CPU over the steady phase, by deliveries received.
        memory_per_connection_bytes: the tester's, at the end of the ramp.
    """

    users: int
    sends: int
    deliveries: int
    oks: int
    connects: int
    resumes: int
    errors: Mapping[str, int]
    latency: Mapping[Metric, Quantiles]
    curve: Mapping[Metric, Sequence[tuple[float, float]]]
    duration_s: float
    checked_rooms: int
    checked_oks: int
    violation_count: int
    cpu_per_delivery_us: float
    memory_per_connection_bytes: int
    late_ms: float


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run, whole: what the JSON file holds.

    Attributes:
        format: `FORMAT`.
        name: the scenario's.
        url: the server's address.
        started_at: UTC, ISO 8601.
        seed: repeats the run's choices.
        scenario: every setting of it, as loaded.
        machine: names and versions that figures depend on.
        processes: of the tester.
        ended: `finished`, `interrupted` (Ctrl-C: all up to then counts) or `failed`, and `failure` says why.
        invalid: why the figures say more of the tester than of the server; empty: they are valid.
        violations: the first of them; `totals.violation_count` counts all.
    """

    format: int
    name: str
    url: str
    started_at: str
    seed: int
    scenario: Mapping[str, object]
    machine: Mapping[str, str]
    processes: int
    ended: Literal["finished", "interrupted", "failed"]
    failure: str
    invalid: Sequence[str]
    ticks: Sequence[Tick]
    totals: Totals
    violations: Sequence[Violation]

    @property
    def exit_code(self) -> int:
        """0; 1 when a promise was broken or the run failed; 3 when it is invalid; 130 when interrupted."""
        if self.totals.violation_count or self.ended == "failed":
            return 1
        if self.ended == "interrupted":
            return 130
        return 3 if self.invalid else 0


class FormatError(ValueError):
    """A file is no record of a run, or one of another format; the message says which."""


def dump_record(record: RunRecord) -> bytes:
    """The JSON file."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def parse_record(data: bytes) -> RunRecord:
    """What `dump_record` was given.

    Raises:
        FormatError: it is none.
    """
    try:
        record = msgspec.json.decode(data, type=RunRecord)
    except msgspec.MsgspecError as error:
        raise FormatError(f"this is no record of a load run: {error}") from error
    if record.format != FORMAT:
        raise FormatError(f"the record has format {record.format}; this version reads {FORMAT}")
    return record
