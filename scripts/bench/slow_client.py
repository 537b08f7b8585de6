"""The measuring client for machines without a C compiler: the same script, options and output as client.c.

One epoll loop in Python, which takes as much of a core as the server does: figures of throughput, and of
latency under load, are its own. Memory, connecting and low rates are the server's.
"""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Final

import msgspec

from scripts.bench.measured import Measured, Snapshot
from scripts.bench.script import (
    CID_DIGITS,
    FIRST_ID,
    ID_DIGITS,
    TIME_DIGITS,
    TIME_MARK,
    Connection,
    Dialect,
    IdKind,
    SeqKind,
    read_script,
)
from scripts.bench.slow_frames import patch, read_seq, summarise, take_frame

_NAP_S: Final = 0.0005
_READ_BYTES: Final = 1 << 18
_TAIL_MAX: Final = 1 << 20
_BURST: Final = 64
_MS: Final = 1_000_000
_OP_CLOSE: Final = 8
_OP_PING: Final = 9
_RESET: Final = struct.pack("ii", 1, 0)


class _Peer:
    """One connection's state."""

    __slots__ = (
        "events",
        "first_seq",
        "frame",
        "last_seq",
        "opened",
        "plan",
        "rest",
        "sock",
        "started_ns",
        "step",
        "tail",
        "unsent",
    )

    def __init__(self, plan: Connection) -> None:
        self.plan = plan
        self.frame = bytearray(plan.send.frame)
        self.sock: socket.socket | None = None
        self.step = 0
        self.opened = False
        self.rest = b""
        self.tail = b""
        self.unsent = b""
        self.started_ns = 0
        self.events = self.first_seq = self.last_seq = 0

    @property
    def live(self) -> bool:
        return self.sock is not None and self.step >= len(self.plan.steps)


class SlowClient:
    """Runs one script. Made for one run.

    Args:
        script: from `render_script`.
        options: those of client.c, in their units, except `pids`.
        pids: the server's processes.
    """

    def __init__(self, script: bytes, options: dict[str, int], pids: Sequence[int]) -> None:
        dialect, connections = read_script(script)
        self._dialect: Dialect = dialect
        self._options = options
        self._pids = pids
        self._peers = [_Peer(connection) for connection in connections]
        self._rooms: list[list[_Peer]] = [[] for _ in range(1 + max(c.room for c in connections))]
        for peer in self._peers:
            self._rooms[peer.plan.room].append(peer)
        self._sends = [0] * len(self._rooms)
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Peer] = {}
        self._rate = options["rate_milli"] / 1000
        self._t0_ns = self._from_ns = self._to_ns = 0
        self._answered: list[int] = []
        self._expected = self._events = self._oks = 0
        self._setup: list[int] = []
        self._delivery: list[int] = []
        self._ok: list[int] = []
        self._lateness: list[int] = []
        self._counts = dict.fromkeys(
            ("closes", "lost", "setup_failed", "duplicate_oks", "errors", "others", "gaps", "unknown_ids"), 0
        )
        self._pings = self._blocked = self._in_setup = 0
        self._first_error = ""

    def run(self) -> Measured:
        """Connect, settle, send, drain; bounded by the options' times."""
        options = self._options
        before = self._snapshot()
        begun_ns = time.monotonic_ns()
        self._connect_all(begun_ns + options["setup_ms"] * _MS)
        connected_ns = time.monotonic_ns() - begun_ns
        connected = self._snapshot()
        settled_at_ns = time.monotonic_ns() + options["settle_ms"] * _MS
        while time.monotonic_ns() < settled_at_ns:
            self._turn(0.01)
        settled = self._snapshot()
        self._counts["others"] = 0
        live = sum(peer.live for peer in self._peers)
        self._counts["setup_failed"] = len(self._peers) - live - self._counts["lost"]
        shots = self._send_all() if options["measure_ms"] and live else []
        self._drain()
        return self._result(live, connected_ns, before, connected, settled, shots)

    # -- connecting ------------------------------------------------------------------------------------

    def _connect_all(self, until_ns: int) -> None:
        waiting = iter(self._peers)
        more = True
        while (more or self._in_setup) and time.monotonic_ns() < until_ns:
            while more and self._in_setup < self._options["window"]:
                peer = next(waiting, None)
                if peer is None:
                    more = False
                else:
                    self._connect(peer)
            self._turn(0.1)

    def _connect(self, peer: _Peer) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        peer.sock = sock
        peer.started_ns = time.monotonic_ns()
        self._in_setup += 1
        self._by_fd[sock.fileno()] = peer
        host = socket.inet_ntoa(self._options["host"].to_bytes(4))
        sock.connect_ex((host, self._options["port"]))
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _step_done(self, peer: _Peer) -> None:
        peer.step += 1
        if peer.step < len(peer.plan.steps):
            self._put(peer, peer.plan.steps[peer.step].sent)
            return
        self._in_setup -= 1
        self._setup.append(time.monotonic_ns() - peer.started_ns)

    # -- sockets ---------------------------------------------------------------------------------------

    def _lose(self, peer: _Peer, why: str) -> None:
        if peer.sock is None:
            return
        if peer.live:
            self._counts["lost"] += 1
        else:
            self._in_setup -= 1
        self._first_error = self._first_error or why
        del self._by_fd[peer.sock.fileno()]
        peer.sock.close()
        peer.sock = None

    def _put(self, peer: _Peer, data: bytes) -> None:
        if peer.sock is None:
            return
        if peer.unsent:
            peer.unsent += data
            self._blocked += 1
            return
        try:
            sent = peer.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(peer, str(error))
            return
        if sent < len(data):
            peer.unsent = data[sent:]
            self._blocked += 1
            self._epoll.modify(peer.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _turn(self, timeout_s: float) -> None:
        for fd, happened in self._epoll.poll(timeout_s):
            peer = self._by_fd.get(fd)
            if peer is None or peer.sock is None:
                continue
            if happened & select.EPOLLOUT:
                self._writable(peer, peer.sock)
            if happened & ~select.EPOLLOUT:
                self._readable(peer)

    def _writable(self, peer: _Peer, sock: socket.socket) -> None:
        self._epoll.modify(sock.fileno(), select.EPOLLIN)
        if peer.opened:
            data, peer.unsent = peer.unsent, b""
            self._put(peer, data)
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._lose(peer, os.strerror(error))
            return
        peer.opened = True
        self._put(peer, peer.plan.steps[0].sent)

    def _readable(self, peer: _Peer) -> None:
        if peer.sock is None:  # lost while it was written to
            return
        try:
            data = peer.rest + peer.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(peer, str(error))
            return
        if len(data) == len(peer.rest):
            self._lose(peer, "the server closed the connection")
            return
        now_ns = time.monotonic_ns()
        at = 0
        if peer.step == 0:
            head, found, _ = data.partition(b"\r\n\r\n")
            if found:
                if peer.plan.steps[0].mark not in head:
                    self._lose(peer, f"handshake: {head[:200].decode(errors='replace')}")
                    return
                at = len(head) + 4
                self._step_done(peer)
        while peer.step and (frame := take_frame(data, at)) is not None:
            opcode, payload, at = frame
            self._frame(peer, opcode, payload, now_ns)
        peer.rest = data[at:]

    # -- frames ----------------------------------------------------------------------------------------

    def _frame(self, peer: _Peer, opcode: int, payload: bytes, now_ns: int) -> None:
        if opcode == _OP_PING:
            self._pings += 1
            self._put(peer, bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        elif opcode == _OP_CLOSE:
            self._counts["closes"] += 1
        elif self._dialect.delimiter:
            *messages, peer.tail = (peer.tail + payload).split(self._dialect.delimiter)
            for message in messages:
                self._message(peer, message, now_ns)
            if len(peer.tail) > _TAIL_MAX:
                self._lose(peer, "a message is too large")
        else:
            self._message(peer, payload, now_ns)

    def _message(self, peer: _Peer, payload: bytes, now_ns: int) -> None:
        if self._dialect.ping and payload == self._dialect.ping:
            self._pings += 1
            self._put(peer, self._dialect.pong)
        elif not peer.live:
            if peer.plan.steps[peer.step].mark in payload:
                self._step_done(peer)
            elif self._is_error(payload):
                self._lose(peer, _shown(payload))
        elif (at := payload.find(TIME_MARK)) >= 0:
            self._event(peer, payload, at + len(TIME_MARK), now_ns)
        elif self._dialect.ok_mark and (at := payload.find(self._dialect.ok_mark)) >= 0:
            self._answer(payload, at + len(self._dialect.ok_mark), now_ns)
        elif self._is_error(payload):
            self._counts["errors"] += 1
            self._first_error = self._first_error or _shown(payload)
        else:
            self._counts["others"] += 1

    def _is_error(self, payload: bytes) -> bool:
        return bool(self._dialect.error_mark) and self._dialect.error_mark in payload

    def _event(self, peer: _Peer, payload: bytes, at: int, now_ns: int) -> None:
        self._events += 1
        peer.events += 1
        due_ns = int(payload[at : at + TIME_DIGITS])
        if self._from_ns <= due_ns < self._to_ns:
            self._delivery.append(now_ns - due_ns)
        if self._dialect.seq_kind is SeqKind.NONE:
            return
        seq = read_seq(self._dialect, payload)
        if not peer.first_seq:
            peer.first_seq = seq
        elif seq != peer.last_seq + 1:
            self._counts["gaps"] += 1
        peer.last_seq = seq

    def _answer(self, payload: bytes, at: int, now_ns: int) -> None:
        if self._dialect.id_kind is IdKind.BINARY:
            index = int.from_bytes(payload[at : at + 4]) - FIRST_ID
        else:
            index = int(payload[at : at + ID_DIGITS]) - FIRST_ID
        if not 0 <= index < len(self._answered):
            self._counts["unknown_ids"] += 1
            return
        self._answered[index] += 1
        if self._answered[index] > 1:
            self._counts["duplicate_oks"] += 1
            return
        self._oks += 1
        due_ns = self._due_ns(index)
        if self._from_ns <= due_ns < self._to_ns:
            self._ok.append(now_ns - due_ns)

    # -- sending ---------------------------------------------------------------------------------------

    def _due_ns(self, index: int) -> int:
        return self._t0_ns + int(index * 1e9 / self._rate)

    def _send_all(self) -> list[Snapshot]:
        options = self._options
        warmup_ns, measure_ns = options["warmup_ms"] * _MS, options["measure_ms"] * _MS
        total = int(self._rate * (warmup_ns + measure_ns) / 1e9)
        slices = options["slices"]
        self._t0_ns = time.monotonic_ns() + 20 * _MS
        self._from_ns = self._t0_ns + warmup_ns
        self._to_ns = self._from_ns + measure_ns
        shots: list[Snapshot] = []
        while len(shots) <= slices:
            now_ns = time.monotonic_ns()
            shot_ns = self._from_ns + measure_ns // slices * len(shots)
            if now_ns >= shot_ns:
                shots.append(self._snapshot())
                continue
            burst = 0
            while len(self._answered) < total and self._due_ns(len(self._answered)) <= now_ns:
                self._send_next(now_ns)
                now_ns = time.monotonic_ns()
                burst += 1
                if burst == _BURST:
                    break
            self._turn(0)
            due_ns = self._due_ns(len(self._answered)) if len(self._answered) < total else shot_ns
            nap_s = min((min(due_ns, shot_ns) - time.monotonic_ns()) / 1e9, _NAP_S)
            if nap_s > 0:
                time.sleep(nap_s)
        return shots

    def _send_next(self, now_ns: int) -> None:
        index = len(self._answered)
        room = self._rooms[index % len(self._rooms)]
        peer = room[index // len(self._rooms) % len(room)]
        due_ns = self._due_ns(index)
        send = peer.plan.send
        number = FIRST_ID + index
        is_binary = self._dialect.id_kind is IdKind.BINARY
        patch(peer.frame, send.time_at, send.mask_at, b"%0*d" % (TIME_DIGITS, due_ns))
        patch(peer.frame, send.cid_at, send.mask_at, b"%0*d" % (CID_DIGITS, index))
        written = number.to_bytes(4) if is_binary else b"%0*d" % (ID_DIGITS, number)
        patch(peer.frame, send.id_at, send.mask_at, written)
        self._answered.append(0)
        self._sends[peer.plan.room] += 1
        self._expected += len(room)
        self._put(peer, bytes(peer.frame))
        if due_ns >= self._from_ns:
            self._lateness.append(now_ns - due_ns)

    def _drain(self) -> None:
        until_ns = time.monotonic_ns() + self._options["drain_ms"] * _MS
        answers = self._dialect.id_kind is not IdKind.NONE
        while time.monotonic_ns() < until_ns:
            if self._events >= self._expected and (not answers or self._oks >= len(self._answered)):
                break
            self._turn(_NAP_S)

    # -- the result ------------------------------------------------------------------------------------

    def _snapshot(self) -> Snapshot:
        figures = [_process_figures(pid) for pid in self._pids]
        own = getrusage(RUSAGE_SELF)
        cores = [self._options["server_core"], self._options["client_core"]]
        times = [_core_times(core) for core in cores]
        return Snapshot(
            at_ns=time.monotonic_ns(),
            events=self._events,
            oks=self._oks,
            sent=len(self._answered),
            server_ticks=sum(ticks for ticks, _ in figures),
            rss_bytes=sum(rss_bytes for _, rss_bytes in figures),
            own_us=int((own.ru_utime + own.ru_stime) * 1e6),
            core_total=(times[0][0], times[1][0]),
            core_busy=(times[0][1], times[1][1]),
        )

    def _result(
        self,
        live: int,
        connected_ns: int,
        before: Snapshot,
        connected: Snapshot,
        settled: Snapshot,
        shots: Sequence[Snapshot],
    ) -> Measured:
        still = [peer for peer in self._peers if peer.live]
        return Measured(
            connections=len(self._peers),
            live=live,
            connected_ns=connected_ns,
            sent=len(self._answered),
            events=self._events,
            expected_events=self._expected,
            oks=self._oks,
            answers=self._dialect.id_kind is not IdKind.NONE,
            uneven=sum(
                (peer.first_seq, peer.last_seq)
                != (self._rooms[peer.plan.room][0].first_seq, self._rooms[peer.plan.room][0].last_seq)
                for peer in still
            ),
            incomplete=sum(peer.events != self._sends[peer.plan.room] for peer in still),
            pings=self._pings,
            blocked=self._blocked,
            source_addresses=1,
            prompt=False,
            ticks_per_s=os.sysconf("SC_CLK_TCK"),
            first_error=self._first_error,
            setup=summarise(self._setup),
            delivery=summarise(self._delivery),
            ok=summarise(self._ok),
            lateness=summarise(self._lateness),
            before=before,
            connected=connected,
            settled=settled,
            shots=tuple(shots),
            setup_failed=self._counts["setup_failed"],
            lost=self._counts["lost"],
            closes=self._counts["closes"],
            duplicate_oks=self._counts["duplicate_oks"],
            errors=self._counts["errors"],
            others=self._counts["others"],
            gaps=self._counts["gaps"],
            unknown_ids=self._counts["unknown_ids"],
        )


def _process_figures(pid: int) -> tuple[int, int]:
    """Ticks of CPU, and bytes of memory, of a process; zeros when it is gone (proc(5), /proc/PID)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(stat[11]) + int(stat[12]), pages * os.sysconf("SC_PAGESIZE")


def _core_times(core: int) -> tuple[int, int]:
    """Ticks of a core since the start, and of those the busy ones (proc(5), /proc/stat)."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(part) for part in line.split()[1:9]]
            return sum(ticks), sum(ticks) - ticks[3] - ticks[4]
    return 0, 0


def _shown(payload: bytes) -> str:
    return payload[:200].decode("ascii", errors="replace")


def main(argv: Sequence[str]) -> int:
    """`SCRIPT key=value...`; prints one JSON object."""
    told = dict(part.split("=", 1) for part in argv[1:])
    pids = [int(pid) for pid in told.pop("pids").split(",")]
    options = {name: int(value) for name, value in told.items()}
    measured = SlowClient(Path(argv[0]).read_bytes(), options, pids).run()
    sys.stdout.buffer.write(msgspec.json.encode(measured) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
