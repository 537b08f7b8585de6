"""One server's parts: built on a store, wired to each other, started in order.

Everything hangs off the `Node`, so that two servers may run in one process. Who accepts connections, and how
it all ends, is `chat.lifecycle`'s business.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version as installed_version
from random import Random
from typing import Final

import structlog
import trio

from actors import ActorSystem, ChildSpec, Ref, RestartPolicy, Supervisor
from chat.accounts import Accounts, AccountServices
from chat.accounts_api import AccountsApi, AccountsApiLimits
from chat.admin_desk import AdminServices
from chat.auth import Authenticator, open_authenticator
from chat.batch_loader import BatchLoader
from chat.config import Config
from chat.garbage import GcKeeper
from chat.gateway import Gateway, GatewayLimits
from chat.greeting import WELCOME_ROOMS, Greeter, GreetingServices
from chat.health import LoopLag, Readiness
from chat.heartbeat import Heartbeat, HeartbeatTimes
from chat.house import House
from chat.issuers import Issuers
from chat.metrics import Metrics
from chat.node_figures import publish_caches, publish_figures
from chat.passwords import InThread, Passwords, in_worker_thread
from chat.people import People
from chat.presence import Presence
from chat.presence_limits import PresenceLimits
from chat.presence_messages import PresenceMessage, SessionOpened
from chat.presence_port import MAILBOX as PRESENCE_MAILBOX
from chat.presence_port import PresencePort
from chat.presence_port import answer_discarded as answer_presence_discarded
from chat.presence_services import PresenceServices
from chat.pressure import PressureGovernor
from chat.pressure_state import Measures
from chat.rate_limit import KeyedBuckets
from chat.read_pointers import ReadPointers
from chat.receipts import Receipts
from chat.report_copies import ReportCopies
from chat.retention import Retention
from chat.review_access import ReviewServices
from chat.review_queue import ReviewQueue, staff_teller
from chat.revocations import Revocations
from chat.room_loads import busiest
from chat.room_maker import RoomMaker
from chat.room_services import RoomServices
from chat.rooms import Rooms
from chat.rule_book import RuleBook
from chat.search_index import SearchIndexer
from chat.session import Session
from chat.session_desk import DeskServices, SessionDesk
from chat.session_search import SearchDesk
from chat.session_services import SessionServices
from chat.session_state import Rate, SessionLimits
from chat.topic import Topics
from chat.transport import Transport
from chat.try_limits import TryLimits
from chat.typing_state import TypingLimits
from chat.user_ledger import UserLedger
from storage import Store, WriterLimits, WriterPool
from storage.model import Entry, MembershipPage, Receipt
from storage.review_model import EVERYWHERE
from storage.search_model import RoomDue

log = structlog.stdlib.get_logger("chat.node")

ADDRESSES_MAX: Final = 100_000
"""Addresses whose connection rate is remembered: about 20 MB."""
REPORTERS_MAX: Final = 10_000
"""Users, and addresses of guests, whose rate of reports is remembered: about 2 MB."""
ROOMS_MAX: Final = 50_000
"""Rooms in memory at a time."""


class Node:
    """One server's parts, built on a store; `run` it, then hand it streams.

    Args:
        config: the settings.
        store: rooms, logs, members and users.
        system: runs rooms and presence.
        metrics: what it counts.
        readiness: whether new clients are let in.
        now_ms: the wall clock, milliseconds since 1970.
        rng: spreads heartbeats and retries.
        random_bytes: unpredictable bytes, for ids and secrets.
        in_thread: where passwords are hashed.

    Attributes:
        drain_asked: set when an admin asked for the end of this server.

    Raises:
        BadIssuerKeys: an outside issuer's keys cannot be read.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        system: ActorSystem,
        *,
        metrics: Metrics,
        readiness: Readiness,
        now_ms: Callable[[], int],
        rng: Random,
        random_bytes: Callable[[int], bytes],
        in_thread: InThread = in_worker_thread,
    ) -> None:
        self.config = config
        self.store = store
        self.system = system
        self.metrics = metrics
        self.readiness = readiness
        self.lag = LoopLag()
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
        self.receipts = Receipts(
            self.rooms.tell_control, metrics.counts, ok_s=metrics.ok_s, clock=trio.current_time
        )
        self.reads = ReadPointers(store, rng=rng)
        self.writers = WriterPool[object](
            config.writers,
            store,
            on_receipts=self._written,
            limits=WriterLimits(
                max_backlog_rows=config.writer_backlog_rows,
                max_backlog_bytes=config.writer_backlog_bytes,
                max_batch_rows=config.writer_batch_rows,
                max_batch_bytes=config.writer_batch_bytes,
            ),
            rng=rng,
            observer=metrics.writers,
        )
        self.indexer = SearchIndexer(
            store, is_open=self._is_open, pressure=lambda: self.governor.level, rng=rng
        )
        self.memberships = BatchLoader[str, MembershipPage](
            lambda users: store.memberships(users, after=None, limit=WELCOME_ROOMS),
            max_batch=500,
            max_waiting=config.connections_max,
        )
        self.room_maker = RoomMaker(store)
        self.ledger = UserLedger[Session](
            sessions_max=config.sessions_per_user_max,
            sends=_rate(config, "send"),
            typing=_rate(config, "typing"),
            creates=_rate(config, "create"),
        )
        self._people = People(self.ledger.sessions_of, store)
        self._house = House(
            sessions=lambda: self.sessions,
            sessions_of=self.ledger.sessions_of,
            flusher=self.transport.flusher,
            now_ms=now_ms,
        )
        self.passwords = Passwords(
            memory_bytes=config.password_memory_bytes,
            threads=config.password_threads,
            waiting_max=config.password_waiting,
            random_bytes=random_bytes,
            in_thread=in_thread,
        )
        self.rule_book = RuleBook(in_thread)
        self.reviews = ReviewQueue(store, staff_teller(self.topics, self.ledger.sessions_of), rng)
        self._issuers = Issuers(config.issuers, now_ms=now_ms) if config.issuers else None
        self._now_ms = now_ms
        self.rng = rng
        self._random_bytes = random_bytes
        self._serial = 0
        self._sessions: dict[str, Session] = {}
        self._run_id = random_bytes(4).hex()
        self.drain_asked = trio.Event()
        self.gateway: Gateway
        self.governor: PressureGovernor
        self.revocations: Revocations

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
        everywhere = await self.store.read_rules(EVERYWHERE)
        self.rule_book.everywhere = await self.rule_book.load(EVERYWHERE, everywhere)
        presence_services = self._presence_services()
        presence_ref: Ref[PresenceMessage] = self.system.spawn(
            lambda: Presence(presence_services),
            name="presence",
            kind=Presence.kind,
            mailbox=PRESENCE_MAILBOX,
            # It is rebuilt from the open sessions at any time, so it is never given up.
            policy=RestartPolicy(intensity=1000, period_s=60.0),
            on_discard=answer_presence_discarded,
        )
        presence = PresencePort(presence_ref, presence_services)
        self.rooms.serve(
            RoomServices(
                store=self.store,
                writers=self.writers,
                topics=self.topics,
                presence=presence,
                reads=self.reads,
                sessions_of=self.ledger.sessions_of,
                counts=self.metrics.counts,
                now_ms=self._now_ms,
                successor=self.rooms.hand_on,
                house=self._house,
                tail_events=config.room_tail_events,
                members_max=config.room_members_max,
                activation_s=config.request_timeout_s / 2,
                rule_book=self.rule_book,
                reviews=self.reviews,
            )
        )
        await self._house.open(self.store)
        authenticator = await open_authenticator(
            self.store,
            guests=config.guests_allowed,
            now_ms=self._now_ms,
            random_bytes=self._random_bytes,
            issuers=self._issuers,
            guest_days=config.guest_days,
            timeout_s=config.request_timeout_s,
            max_waiting=config.connections_max,
        )
        self.revocations = Revocations(
            self.store,
            sessions=lambda: self.sessions,
            forget_user=authenticator.strangers.forget,
            retry_after_s=config.bye_retry_after_s,
        )
        self.governor = PressureGovernor(
            measure=self._measure,
            sessions=lambda: self.sessions,
            presence=presence,
            readiness=self.readiness,
        )
        self.gateway = self._make_gateway(presence, authenticator)
        retention = Retention(
            self.store,
            self.rooms.hand_on,
            pressure=lambda: self.governor.level,
            now_ms=self._now_ms,
            every_s=config.retention_every_s,
            counts=self.metrics.counts,
        )
        report_copies = ReportCopies(
            self.store,
            pressure=lambda: self.governor.level,
            now_ms=self._now_ms,
            every_s=config.retention_every_s,
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
        publish_figures(
            self.metrics,
            rooms=self.rooms.group.statistics,
            writers=self.writers.statistics,
            flusher=self.transport.statistics,
            presence=lambda: presence_services.statistics,
            presence_mailbox=lambda: presence_ref.statistics().mailbox,
            receipts=self.receipts,
            index=self.indexer.statistics,
            reads=self.reads.statistics,
            lag=self.lag,
            level=lambda: self.governor.level,
            users=lambda: len(self.ledger),
            outbox_bytes=lambda: sum(session.outbox.queued_bytes for session in self.sessions),
        )
        publish_caches(
            self.metrics,
            {
                "membership": lambda: self.memberships.lookups,
                "token": lambda: authenticator.lookups,
                "stranger": lambda: authenticator.strangers.lookups,
                "room_name": lambda: self.room_maker.lookups,
            },
        )
        supervisor = Supervisor(
            [
                *(
                    ChildSpec(id=f"writer-{index}", start=writer.run)
                    for index, writer in enumerate(self.writers.writers)
                ),
                ChildSpec(id="read-pointers", start=self.reads.run),
                ChildSpec(id="search-index", start=self.indexer.run),
                ChildSpec(id="reviews", start=self.reviews.run),
                ChildSpec(id="retention", start=retention.run),
                ChildSpec(id="report-copies", start=report_copies.run),
                ChildSpec(id="memberships", start=self.memberships.run),
                ChildSpec(id="tokens", start=authenticator.run),
                ChildSpec(id="strangers", start=authenticator.strangers.run),
                ChildSpec(id="revocations", start=self.revocations.run),
                ChildSpec(id="presence-alarm", start=partial(presence_services.alarm.run, presence.tick)),
                ChildSpec(id="heartbeat", start=heartbeat.run),
                ChildSpec(id="loop-lag", start=self.lag.run),
                ChildSpec(id="pressure", start=self.governor.run),
                *([ChildSpec(id="garbage", start=GcKeeper(self._connections).run)] if config.gc_tune else []),
            ],
            rng=self.rng,
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
        greeter = Greeter(
            GreetingServices(
                authenticator=authenticator,
                presence=presence,
                house=self._house,
                server={"name": "parley", "version": installed_version("parley"), "node": config.node},
                limits=config.public_limits(),
                heartbeat_s=config.heartbeat_s,
                frame_max_bytes=config.frame_max_bytes,
                tell_pressure=self.governor.tell,
                counts=self.metrics.counts,
            )
        )
        desk = SessionDesk(
            DeskServices(
                store=self.store,
                rooms=self.rooms,
                authenticator=authenticator,
                greeter=greeter,
                searches=SearchDesk(
                    self.store,
                    self.indexer,
                    pressure=lambda: self.governor.level,
                    page_max=config.search_page_max,
                    now_ms=self._now_ms,
                ),
                memberships=self.memberships,
                room_maker=self.room_maker,
                revocations=self.revocations,
                people=self._people,
                admin=AdminServices(
                    store=self.store,
                    sessions_of=self.ledger.sessions_of,
                    people=self._people,
                    passwords=self.passwords,
                    now_ms=self._now_ms,
                    random_bytes=self._random_bytes,
                    on_revoked=self.revocations.look_soon,
                    on_changed=self.revocations.note_change,
                    loads=partial(busiest, self.rooms.group, self.topics),
                    sessions=lambda: len(self._sessions),
                    drain=self.drain_asked.set,
                    page_max=config.page_max,
                ),
                reviews=ReviewServices(
                    store=self.store,
                    rooms=self.rooms,
                    people=self._people,
                    rule_book=self.rule_book,
                    tell_staff=staff_teller(self.topics, self.ledger.sessions_of),
                    sessions_of=self.ledger.sessions_of,
                    limit=self._buckets("report", max_keys=REPORTERS_MAX),
                    now_ms=self._now_ms,
                    page_max=config.page_max,
                ),
                now_ms=self._now_ms,
                timeout_s=config.request_timeout_s,
                page_max=config.page_max,
                pressure=lambda: self.governor.level,
                counts=self.metrics.counts,
            )
        )
        services = SessionServices(
            clock=trio.lowlevel.current_clock().current_time,
            rooms=self.rooms,
            newcomers=greeter,
            topics=self.topics,
            presence=presence,
            people=self._people,
            house=self._house,
            ledger=self.ledger,
            limits=SessionLimits(
                frames=_rate(config, "frame"),
                lists=_rate(config, "list"),
                searches=_rate(config, "search"),
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
            body_max_bytes=config.body_max_bytes,
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
                hosts_served=config.hosts_served,
                bye_retry_after_s=config.bye_retry_after_s,
            ),
            readiness=self.readiness,
            metrics=self.metrics,
            new_session_id=self._new_session_id,
            spread=lambda: self.rng.uniform(0.8, 1.2),
            by_address=by_address,
            accounts_api=self._make_accounts_api(),
        )

    def _buckets(self, name: str, *, max_keys: int) -> KeyedBuckets[str] | None:
        """A limit of the configuration for each of many, unless limits are off."""
        rate = _rate(self.config, name)
        return None if rate is None else KeyedBuckets(rate.rate_per_s, rate.burst, max_keys=max_keys)

    def _make_accounts_api(self) -> AccountsApi:
        config = self.config
        accounts = Accounts(
            AccountServices(
                store=self.store,
                passwords=self.passwords,
                now_ms=self._now_ms,
                random_bytes=self._random_bytes,
                token_days=config.token_days,
                counts=self.metrics.counts,
                on_revoked=self.revocations.look_soon,
            )
        )
        return AccountsApi(
            accounts,
            AccountsApiLimits(
                registration=config.registration,
                body_timeout_s=config.handshake_timeout_s,
                timeout_s=config.request_timeout_s,
            ),
            tries=TryLimits(names=_rate(config, "login"), addresses=_rate(config, "login_address")),
            clock=trio.lowlevel.current_clock().current_time,
            counts=self.metrics.counts,
            refused=self.metrics.refused,
            ready=lambda: self.readiness.is_ready,
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

    def _written(self, results: Sequence[tuple[Entry, object, Receipt]]) -> None:
        """What follows a commit; the index first, which never fails: it must not miss a batch."""
        self.indexer.heard(results)
        self.receipts.deliver(results)
        # After the receipts, which say how much is stored.
        self.reads.committed()

    def _is_open(self, room: RoomDue) -> bool:
        return self.rooms.group.get(room.name) is not None or self.writers.pending(room.room_id) > 0

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


def _rate(config: Config, name: str) -> Rate | None:
    """A limit of the configuration, unless limits are off."""
    if not config.rate_limits:
        return None
    return Rate(rate_per_s=getattr(config, f"{name}_per_s"), burst=getattr(config, f"{name}_burst"))
