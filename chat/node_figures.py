"""What a node's parts know of themselves, as operators read it: nothing is counted twice.

Each part keeps its own statistics; they are looked at when somebody scrapes.
"""

from collections.abc import Callable, Mapping

from actors import GroupStatistics, MailboxStatistics
from chat.batch_loader import Lookups
from chat.health import LoopLag
from chat.metrics import Figure, Metrics
from chat.presence_services import PresenceStatistics
from chat.read_pointers import ReadStatistics
from chat.receipts import Receipts
from chat.search_index import IndexStatistics
from chat.transport import FlusherStatistics
from storage import DatabaseStatistics, WriterStatistics


def publish_figures(  # noqa: PLR0913  one argument per part
    metrics: Metrics,
    *,
    rooms: Callable[[], GroupStatistics],
    writers: Callable[[], WriterStatistics],
    flusher: Callable[[], FlusherStatistics],
    presence: Callable[[], PresenceStatistics],
    presence_mailbox: Callable[[], MailboxStatistics],
    receipts: Receipts,
    index: Callable[[], IndexStatistics],
    reads: Callable[[], ReadStatistics],
    lag: LoopLag,
    level: Callable[[], int],
    users: Callable[[], int],
    outbox_bytes: Callable[[], int],
) -> None:
    """Have every part looked at whenever `metrics` is scraped; once for each `Metrics`."""
    metrics.add_source(
        rooms,
        [
            Figure("gauge", "rooms_active", "Rooms in memory.", lambda seen: seen.active),
            Figure("gauge", "room_mailbox_depth", "Messages that wait for rooms.", lambda seen: seen.depth),
            Figure(
                "gauge",
                "room_mailbox_oldest_wait_seconds",
                "The longest present wait for a room's turn.",
                lambda seen: seen.oldest_wait_s,
            ),
            Figure("counter", "room_mailbox_refused", "Messages to full rooms.", lambda seen: seen.refused),
            Figure("counter", "room_restarts", "Rooms rebuilt after a crash.", lambda seen: seen.restarts),
            Figure(
                "counter",
                "room_crashed_out",
                "Rooms given up for a while for crashing again and again.",
                lambda seen: seen.crashed_out,
            ),
        ],
    )
    metrics.add_source(
        writers,
        [
            Figure("gauge", "writer_backlog_rows", "Rows not stored yet.", lambda seen: seen.backlog_rows),
            Figure("gauge", "writer_backlog_bytes", "Their size.", lambda seen: seen.backlog_bytes),
            Figure(
                "gauge",
                "writer_oldest_wait_seconds",
                "How long the oldest of them waits.",
                lambda seen: seen.oldest_wait_s,
            ),
            Figure("counter", "writer_retries", "Batches written again.", lambda seen: seen.retries),
            Figure(
                "counter",
                "writer_duplicates",
                "Messages that turned out to be stored before.",
                lambda seen: seen.duplicates,
            ),
            Figure(
                "counter", "writer_parked", "Rows that the database refuses for ever.", lambda s: s.poisoned
            ),
            Figure("counter", "writer_fenced", "Rows of rooms that moved elsewhere.", lambda s: s.fenced),
            Figure(
                "counter",
                "writer_receipt_errors",
                "Batches whose receipts could not be handed out.",
                lambda seen: seen.receipt_errors,
            ),
        ],
    )
    metrics.add_source(
        flusher,
        [
            Figure("counter", "sent_bytes", "Bytes handed to sockets.", lambda seen: seen.bytes),
            Figure("counter", "sent_frames", "Frames handed to sockets.", lambda seen: seen.frames),
            Figure(
                "counter", "shed_frames", "Ephemeral frames dropped for slow connections.", lambda s: s.shed
            ),
            Figure(
                "counter",
                "flush_partial",
                "Times that a socket did not take all at once.",
                lambda seen: seen.partial,
            ),
            Figure(
                "counter", "flush_overflowed", "Connections cut as too slow.", lambda seen: seen.overflowed
            ),
            Figure(
                "gauge",
                "draining_connections",
                "Connections that are behind with reading.",
                lambda seen: seen.draining,
            ),
        ],
    )
    metrics.add_source(
        presence,
        [
            Figure("counter", "presence_diffs", "Presence updates that were made.", lambda seen: seen.diffs),
            Figure("counter", "presence_deliveries", "Those put into outboxes.", lambda s: s.deliveries),
            Figure("counter", "presence_shed", "Those shed for slow connections.", lambda seen: seen.shed),
            Figure("counter", "presence_typing", "Typing updates that were made.", lambda s: s.typing),
            Figure("counter", "presence_lives", "Starts of the presence actor.", lambda seen: seen.lives),
        ],
    )
    metrics.add_source(
        presence_mailbox,
        [
            Figure("gauge", "presence_mailbox_depth", "Messages that wait for presence.", lambda s: s.depth),
        ],
    )
    metrics.add_source(
        lambda: receipts,
        [
            Figure(
                "counter",
                "receipts_undeliverable",
                "Results that a room could not be told.",
                lambda seen: seen.undeliverable,
            ),
        ],
    )
    metrics.add_source(
        reads,
        [
            Figure("gauge", "read_requests_waiting", "Reads not answered yet.", lambda seen: seen.waiting),
            Figure("counter", "read_pointers_written", "Read pointers stored.", lambda seen: seen.written),
            Figure("counter", "read_batches", "Batches of read pointers.", lambda seen: seen.batches),
            Figure("counter", "read_failures", "Batches that failed.", lambda seen: seen.failures),
        ],
    )
    metrics.add_source(
        index,
        [
            Figure("gauge", "search_behind_rows", "Events stored, not indexed.", lambda seen: seen.behind),
            Figure("counter", "search_indexed_rows", "Events that were indexed.", lambda seen: seen.indexed),
            Figure("counter", "search_batches", "Steps of the index.", lambda seen: seen.batches),
            Figure("counter", "search_failures", "Steps that failed.", lambda seen: seen.failures),
            Figure(
                "counter",
                "search_skipped_rows",
                "Events that could not be indexed and are not found.",
                lambda seen: seen.skipped,
            ),
        ],
    )
    metrics.add_gauge("loop_lag_p50_seconds", "How late the event loop runs, median.", lag.p50_s)
    metrics.add_gauge("loop_lag_p99_seconds", "How late the event loop runs, p99.", lag.p99_s)
    metrics.add_gauge("pressure_level", "0 (calm) to 4 (refusing).", level)
    metrics.add_gauge("users", "Users with a session here.", users)
    metrics.add_gauge("outbox_bytes", "Bytes that wait for slow connections.", outbox_bytes)


def publish_caches(metrics: Metrics, loaders: Mapping[str, Callable[[], Lookups]]) -> None:
    """Have what rooms and loaders keep in memory looked at whenever `metrics` is scraped.

    Args:
        metrics: once for each.
        loaders: the look-ups of each, by what it looks for.
    """
    counts = metrics.counts
    metrics.add_caches(
        {
            "room": lambda: (counts.room_hits, counts.room_misses),
            "tail": lambda: (counts.tail_hits + counts.rewinds, counts.gaps),
            "history": lambda: (counts.history_hits, counts.history_misses),
            **loaders,
        }
    )


def publish_database(metrics: Metrics, database: Callable[[], DatabaseStatistics]) -> None:
    """Have a database looked at whenever `metrics` is scraped; once for each `Metrics`."""
    metrics.add_source(
        database,
        [
            Figure("counter", "db_statements", "Statements sent to Postgres.", lambda seen: seen.statements),
            Figure("counter", "db_calls", "Calls: one statement or a few together.", lambda seen: seen.calls),
            Figure("counter", "db_calls_failed", "Those that ended with an error.", lambda s: s.failed),
            Figure("gauge", "db_calls_in_flight", "Those that have not ended.", lambda seen: seen.in_flight),
            Figure("gauge", "db_connections", "Connections to Postgres.", lambda seen: seen.pool_size),
            Figure("gauge", "db_connections_idle", "Those that nobody uses.", lambda seen: seen.pool_idle),
        ],
    )
