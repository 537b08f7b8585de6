"""The composition root: builds every part, starts them in order, and ends them in order.

Everything hangs off the objects made here, so that two servers may run in one process. Order of the start:
database, presence, rooms, writers, transport, then the listeners. Order of the end: no new connections, no
more reading; what rooms hold is ordered, what writers hold is stored, and every `ok` leaves; then `bye` to
everybody, in batches, and the connections are closed.
"""

import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed_version
from random import Random
from typing import Final, TypeVar

import structlog
import trio

from actors import ActorSystem, ChildSpec, RestartPolicy, Supervisor, open_system
from chat.auth import Authenticator, open_authenticator
from chat.batch_loader import BatchLoader
from chat.config import Config
from chat.errors import CloseCode
from chat.garbage import GcKeeper, gc_tune, gc_watch
from chat.gateway import Gateway, GatewayLimits
from chat.health import LoopLag, Readiness
from chat.heartbeat import Heartbeat, HeartbeatTimes
from chat.metrics import Metrics
from chat.ops import open_ops_listeners, serve_ops
from chat.presence import Presence
from chat.presence_limits import PresenceLimits
from chat.presence_messages import SessionOpened
from chat.presence_port import MAILBOX as PRESENCE_MAILBOX
from chat.presence_port import PresencePort
from chat.presence_port import answer_discarded as answer_presence_discarded
from chat.presence_services import PresenceServices
from chat.pressure import PressureGovernor
from chat.pressure_state import Measures
from chat.rate_limit import KeyedBuckets
from chat.receipts import Receipts
from chat.room import RoomServices
from chat.rooms import Rooms
from chat.session import Session
from chat.session_desk import WELCOME_ROOMS, DeskServices, SessionDesk
from chat.session_services import SessionServices
from chat.session_state import Rate, SessionLimits
from chat.topic import Topics
from chat.transport import Transport
from chat.typing_state import TypingLimits
from chat.user_ledger import UserLedger
from storage import (
    PostgresStore,
    Store,
    WriterLimits,
    WriterPool,
    migrate,
    open_database,
    open_embedded,
)
from storage.model import MembershipPage

log = structlog.stdlib.get_logger("chat.server")
T = TypeVar("T")

ADDRESSES_MAX: Final = 100_000
"""Addresses whose connection rate is remembered: about 20 MB."""
ROOMS_MAX: Final = 50_000
"""Rooms in memory at a time."""
DRAIN_POLL_S: Final = 0.01
RETURNS_PER_S: Final = 1000
"""So many clients a second are asked to come back after a stop: what one core welcomes with ease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a started server answers.

    Attributes:
        ops_port: the operators' port; None: there is none.
        database: in words, for people.
    """

    host: str
    port: int
    ops_host: str
    ops_port: int | None
    database: str

    @property
    def url(self) -> str:
        """What clients connect to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}/ws"


class Node:
    """One server's parts, built on a store; `run` it, then hand it streams.

    Args:
        config: the settings.
        store: rooms, logs, members and users.
        system: runs rooms and presence.
        now_ms: the wall clock, milliseconds since 1970.
        rng: spreads heartbeats and retries.
        random_bytes: unpredictable bytes, for ids and secrets.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        system: ActorSystem,
        *,
        metrics: Metrics,
        now_ms: Callable[[], int],
        rng: Random,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.config = config
        self.store = store
        self.system = system
        self.metrics = metrics
        self.readiness = Readiness()
        self.lag = LoopLag(readiness=self.readiness, overload_s=config.lag_overload_s)
        self.transport = Transport(
            outbox_bytes=config.outbox_max_bytes,
            send_timeout_s=config.send_timeout_s,
            observer=metrics.flushes,
        )
        self.topics = Topics(self.transport.flusher, metrics.counts)
        self.rooms = Rooms(
            system,
            self.topics,
            mailbox_capacity=config.room_mailbox,
            reserve_fraction=config.room_mailbox_reserve / config.room_mailbox,
            idle_s=config.room_idle_s,
            max_active=ROOMS_MAX,
        )
        self.receipts = Receipts(self.rooms.tell_control, metrics.counts)
        self.writers = WriterPool[object](
            config.writers,
            store,
            on_receipts=self.receipts.deliver,
            limits=WriterLimits(
                max_backlog_rows=config.writer_backlog_rows,
                max_backlog_bytes=config.writer_backlog_bytes,
                max_batch_rows=config.writer_batch_rows,
                max_batch_bytes=config.writer_batch_bytes,
            ),
            rng=rng,
            observer=metrics.writers,
        )
        self.memberships = BatchLoader[str, MembershipPage](
            lambda users: store.memberships(users, after=None, limit=WELCOME_ROOMS),
            max_batch=500,
            max_waiting=config.connections_max,
        )
        self.ledger = UserLedger(
            sessions_max=config.sessions_per_user_max,
            sends=_rate(config, "send"),
            typing=_rate(config, "typing"),
        )
        self._now_ms = now_ms
        self._rng = rng
        self._random_bytes = random_bytes
        self._serial = 0
        self._sessions: dict[str, Session] = {}
        self._run_id = random_bytes(4).hex()
        self.gateway: Gateway
        self.governor: PressureGovernor

    @property
    def sessions(self) -> Sequence[Session]:
        """Every open session."""
        return list(self._sessions.values())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start every part, in order, and keep them running until cancelled.

        Raises:
            StorageError: the store cannot give what the start needs.
        """
        config = self.config
        presence_services = self._presence_services()
        presence = PresencePort(
            self.system.spawn(
                lambda: Presence(presence_services),
                name="presence",
                mailbox=PRESENCE_MAILBOX,
                # It is rebuilt from the open sessions at any time, so it is never given up.
                policy=RestartPolicy(intensity=1000, period_s=60.0),
                on_discard=answer_presence_discarded,
            ),
            presence_services,
        )
        self.rooms.serve(
            RoomServices(
                store=self.store,
                writers=self.writers,
                topics=self.topics,
                presence=presence,
                counts=self.metrics.counts,
                now_ms=self._now_ms,
                successor=self.rooms.hand_on,
                tail_events=config.room_tail_events,
                members_max=config.room_members_max,
                activation_s=config.request_timeout_s / 2,
            )
        )
        authenticator = await open_authenticator(
            self.store,
            guests=config.guests_allowed,
            now_ms=self._now_ms,
            random_bytes=self._random_bytes,
            guest_days=config.guest_days,
            timeout_s=config.request_timeout_s,
            max_waiting=config.connections_max,
        )
        self.gateway = self._make_gateway(presence, authenticator)
        self.governor = PressureGovernor(
            measure=self._measure,
            sessions=lambda: self.sessions,
            presence=presence,
            readiness=self.readiness,
        )
        heartbeat = Heartbeat(
            lambda: self.sessions,
            HeartbeatTimes(
                silence_s=config.heartbeat_s,
                pong_s=config.pong_timeout_s,
                retry_after_s=config.bye_retry_after_s,
            ),
            now_ms=self._now_ms,
        )
        self._publish_gauges()
        supervisor = Supervisor(
            [
                *(
                    ChildSpec(id=f"writer-{index}", start=writer.run)
                    for index, writer in enumerate(self.writers.writers)
                ),
                ChildSpec(id="memberships", start=self.memberships.run),
                ChildSpec(id="tokens", start=authenticator.run),
                ChildSpec(id="presence-alarm", start=partial(presence_services.alarm.run, presence.tick)),
                ChildSpec(id="heartbeat", start=heartbeat.run),
                ChildSpec(id="loop-lag", start=self.lag.run),
                ChildSpec(id="pressure", start=self.governor.run),
                ChildSpec(id="garbage", start=GcKeeper(self._connections).run),
            ],
            rng=self._rng,
            name="node",
        )
        async with trio.open_nursery() as nursery:
            # Not a supervised child: connections' state would not survive its restart.
            await nursery.start(self.transport.run)
            await nursery.start(supervisor.run)
            task_status.started()

    # -- parts -----------------------------------------------------------------------------------------

    def _make_gateway(self, presence: PresencePort, authenticator: Authenticator) -> Gateway:
        config = self.config
        desk = SessionDesk(
            DeskServices(
                store=self.store,
                rooms=self.rooms,
                presence=presence,
                authenticator=authenticator,
                memberships=self.memberships,
                now_ms=self._now_ms,
                server={"name": "parley", "version": installed_version("parley"), "node": config.node},
                limits=config.public_limits(),
                heartbeat_s=config.heartbeat_s,
                timeout_s=config.request_timeout_s,
                page_max=config.page_max,
                frame_max_bytes=config.frame_max_bytes,
                pressure=lambda: self.governor.level,
                counts=self.metrics.counts,
            )
        )
        services = SessionServices(
            clock=trio.lowlevel.current_clock().current_time,
            rooms=self.rooms,
            topics=self.topics,
            presence=presence,
            ledger=self.ledger,
            limits=SessionLimits(
                frames=_rate(config, "frame"),
                lists=_rate(config, "list"),
                presence=_rate(config, "presence"),
                abuse_s=config.frame_abuse_s,
                bad_frames=config.bad_frames_max,
                subscriptions=config.subscriptions_max,
            ),
            counts=self.metrics.counts,
            refused=self.metrics.refused,
            pressure=lambda: self.governor.level,
            page_max=config.page_max,
            subscribe_events=config.subscribe_events,
            mailbox_capacity=config.session_mailbox,
        )
        by_address = (
            KeyedBuckets[str](config.connect_per_s, config.connect_burst, max_keys=ADDRESSES_MAX)
            if config.rate_limits
            else None
        )
        return Gateway(
            services=services,
            sessions=self._sessions,
            finish=desk.finish,
            limits=GatewayLimits(
                connections_max=config.connections_max,
                handshake_timeout_s=config.handshake_timeout_s,
                hello_timeout_s=config.hello_timeout_s,
                hello_frame_max_bytes=config.hello_frame_max_bytes,
                frame_max_bytes=config.frame_max_bytes,
                allowed_origins=config.allowed_origins,
            ),
            readiness=self.readiness,
            metrics=self.metrics,
            new_session_id=self._new_session_id,
            spread=lambda: self._rng.uniform(0.8, 1.2),
            by_address=by_address,
        )

    def _presence_services(self) -> PresenceServices:
        config = self.config
        return PresenceServices(
            topics=self.topics,
            now_ms=self._now_ms,
            sessions=lambda: (
                SessionOpened(peer=session, status=session.status, text=session.status_text)
                for session in self.sessions
                if session.principal is not None and not session.is_closed
            ),
            presence_limits=PresenceLimits(
                grace_s=config.presence_grace_s,
                interval_min_s=config.presence_interval_min_s,
                interval_max_s=config.presence_interval_max_s,
                full_list_max=config.presence_list_max,
                request_users_max=config.watch_users_max,
                users_max=config.watch_users_max,
            ),
            typing_limits=TypingLimits(
                interval_s=config.typing_interval_s, watchers_max=config.typing_watchers_max
            ),
        )

    def _new_session_id(self) -> str:
        self._serial += 1
        return f"{self._run_id}-{self._serial}"

    def _connections(self) -> tuple[int, int]:
        counts = self.metrics.counts
        return counts.connections_opened - counts.connections_closed, counts.connections_closed

    def _measure(self) -> Measures:
        writers = self.writers.statistics()
        capacity = self.config.writer_backlog_rows * self.config.writers
        return Measures(
            lag_s=self.lag.p99_s(),
            commit_wait_s=writers.oldest_wait_s,
            backlog=writers.backlog_rows / capacity,
        )

    def _publish_gauges(self) -> None:
        add = self.metrics.add_gauge
        writers = self.writers
        group = self.rooms.group
        add("rooms_active", "Rooms in memory.", lambda: len(group))
        add("room_mailbox_depth", "Messages that wait for rooms.", lambda: group.statistics().depth)
        add(
            "room_mailbox_oldest_wait_seconds",
            "The longest present wait for a room's turn.",
            lambda: group.statistics().oldest_wait_s,
        )
        add("writer_backlog_rows", "Rows not stored yet.", lambda: writers.statistics().backlog_rows)
        add("writer_backlog_bytes", "Their size.", lambda: writers.statistics().backlog_bytes)
        add(
            "writer_oldest_wait_seconds",
            "How long the oldest of them waits.",
            lambda: writers.statistics().oldest_wait_s,
        )
        add("loop_lag_p50_seconds", "How late the event loop runs, median.", self.lag.p50_s)
        add("loop_lag_p99_seconds", "How late the event loop runs, p99.", self.lag.p99_s)
        add("pressure_level", "0 (calm) to 4 (refusing).", lambda: self.governor.level)
        add("users", "Users with a session here.", lambda: len(self.ledger))
        add(
            "outbox_bytes",
            "Bytes that wait for slow connections.",
            lambda: sum(session.outbox.queued_bytes for session in self.sessions),
        )

    # -- the end ---------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """End in order: read no more, store what was taken, say `bye`, close; bounded by `drain_s`.

        Cancellation: connections are closed without what is not stored yet being answered; nothing that was
        answered `ok` is lost.
        """
        config = self.config
        self.readiness.drain()
        log.info("server.draining", connections=len(self._sessions))
        for session in self.sessions:
            session.quiesce()
        with trio.move_on_after(config.drain_s * 0.6):
            # Twice: a receipt may give a room one more thing to do (a join that was stored is answered).
            for _ in range(2):
                # Polled: an event for every mailbox that runs empty would be paid for by every message.
                while self.rooms.group.statistics().depth:  # noqa: ASYNC110
                    await trio.sleep(DRAIN_POLL_S)
                await self.writers.flush(timeout_s=config.drain_s)
        left = self.writers.statistics().backlog_rows
        if left:
            log.error("server.not_stored", rows=left)
        for index, session in enumerate(self.sessions):
            session.end(
                CloseCode.SHUTDOWN,
                "the server is stopping",
                config.bye_retry_after_s + self._rng.uniform(0, len(self._sessions) / RETURNS_PER_S),
            )
            if index % config.drain_batch == config.drain_batch - 1:
                await trio.sleep(config.drain_interval_s)


def _rate(config: Config, name: str) -> Rate | None:
    """A limit of the configuration, unless limits are off."""
    if not config.rate_limits:
        return None
    return Rate(rate_per_s=getattr(config, f"{name}_per_s"), burst=getattr(config, f"{name}_burst"))


@asynccontextmanager
async def open_store(config: Config) -> AsyncGenerator[tuple[PostgresStore, str]]:
    """The store of these settings, migrated, and where it is in words; closed with the body.

    Raises:
        StorageError: it cannot be reached, started or migrated; the message says what to do.
    """
    async with AsyncExitStack() as stack:
        dsn = config.database_dsn
        if dsn is None:
            embedded = await stack.enter_async_context(
                open_embedded(config.data_dir, bindir=config.pg_bindir, observer=_log_postgres)
            )
            dsn = embedded.dsn
            where = f"embedded Postgres in {config.data_dir}"
        else:
            where = "PostgreSQL at the configured address"
        database = await stack.enter_async_context(
            open_database(
                dsn,
                max_size=config.db_pool_size,
                max_waiting=config.connections_max,
                connect_timeout_s=config.db_connect_timeout_s,
            )
        )
        for name in await migrate(database):
            log.info("storage.migrated", migration=name)
        yield (
            PostgresStore(database, write_timeout_s=config.db_timeout_s, read_timeout_s=config.db_timeout_s),
            where,
        )


def _log_postgres(news: str) -> None:
    if news == "ready":
        log.info("storage.postgres_ready")
    else:
        log.error("storage.postgres_died")


def wall_clock_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


async def serve(
    config: Config,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set, then drain and return; started when clients can connect.

    Raises:
        StorageError: the database cannot be had.
        OSError: an address cannot be bound.

    Cancellation: connections are closed at once; what was answered `ok` is stored.
    """
    async with open_store(config) as (store, where):
        await serve_store(config, store, where, stop=stop, task_status=task_status)


async def serve_store(
    config: Config,
    store: Store,
    where: str,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve`, on a store that is open already.

    Args:
        config: the settings.
        store: stays the caller's.
        where: the store in words, for people.
        stop: set to drain and return.
        task_status: started when clients can connect.
    """
    metrics = Metrics()
    rng = Random()  # noqa: S311  spreads load, guards nothing
    async with open_system(observer=metrics.turns, rng=rng) as system, trio.open_nursery() as nursery:
        node = Node(
            config,
            store,
            system,
            metrics=metrics,
            now_ms=wall_clock_ms,
            rng=rng,
            random_bytes=os.urandom,
        )
        await nursery.start(node.run)
        listeners = await node.transport.listen(config.host, config.port)
        with gc_tune() if config.gc_tune else nullcontext(), gc_watch(metrics.gc_pause_s.observe):
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    await accepting.start(
                        partial(
                            trio.serve_listeners,
                            node.gateway.handle,
                            listeners,
                            handler_nursery=connections,
                        )
                    )
                    # Not one of `accepting`: operators are answered until the end, `draining` above all.
                    ops_port = await _start_ops(config, node, nursery, listeners[0].address[1])
                    node.readiness.started()
                    host, port = listeners[0].address
                    task_status.started(
                        Addresses(
                            host=host, port=port, ops_host=config.ops_host, ops_port=ops_port, database=where
                        )
                    )
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                connections.cancel_scope.deadline = trio.current_time() + config.drain_s
                await node.drain()
        await system.shutdown(deadline_s=config.drain_s)
        nursery.cancel_scope.cancel()
    log.info("server.stopped")


async def _start_ops(config: Config, node: Node, nursery: trio.Nursery, client_port: int) -> int | None:
    """Open the operators' port, where there is one; which it is."""
    if config.ops_port == "off":
        return None
    auto = config.ops_port == "auto"
    wanted = client_port + 1 if config.ops_port == "auto" else config.ops_port
    listeners = await open_ops_listeners(config.ops_host, wanted, any_if_taken=auto)
    await nursery.start(partial(serve_ops, listeners, metrics=node.metrics, readiness=node.readiness))
    port: int = listeners[0].socket.getsockname()[1]
    return port
