"""Durable storage: Postgres behind a thread of its own, batching writers, an embedded server, a double.

Layers, each on those before it: errors and model; the contract (`store`); the bridge (`database`, `pool`,
`migrate`); the SQL by noun (`append`, `history`, `projections`, `rooms`, `messages`, `audit`, `accounts`,
`reviews`, `search`, `search_index`); the stores (`postgres`, `memory`); the writers (`batch`, `writer_model`,
`writer`, `writer_pool`). Knows nothing of chat's rules.
"""

from storage.batch import retry_delay_s as retry_delay_s
from storage.database import Database as Database
from storage.database import DatabaseStatistics as DatabaseStatistics
from storage.database import Row as Row
from storage.database import Tx as Tx
from storage.embedded import EmbeddedPostgres as EmbeddedPostgres
from storage.embedded import open_embedded as open_embedded
from storage.epochs import MAX_EPOCHS as MAX_EPOCHS
from storage.errors import BacklogFull as BacklogFull
from storage.errors import BadData as BadData
from storage.errors import Conflict as Conflict
from storage.errors import Corrupt as Corrupt
from storage.errors import EmbeddedError as EmbeddedError
from storage.errors import LogGap as LogGap
from storage.errors import MigrationError as MigrationError
from storage.errors import StorageError as StorageError
from storage.errors import StoreClosed as StoreClosed
from storage.errors import TooSlow as TooSlow
from storage.errors import Unavailable as Unavailable
from storage.memory import MemoryStore as MemoryStore
from storage.migrate import migrate as migrate
from storage.model import Account as Account
from storage.model import Activation as Activation
from storage.model import AuditKey as AuditKey
from storage.model import AuditRow as AuditRow
from storage.model import CidConflict as CidConflict
from storage.model import Duplicate as Duplicate
from storage.model import Entry as Entry
from storage.model import EpochStart as EpochStart
from storage.model import Fenced as Fenced
from storage.model import FoldedMessage as FoldedMessage
from storage.model import FoldedPage as FoldedPage
from storage.model import HistoryPage as HistoryPage
from storage.model import IssuedUser as IssuedUser
from storage.model import KnownCid as KnownCid
from storage.model import LogEntry as LogEntry
from storage.model import MemberChange as MemberChange
from storage.model import MemberRow as MemberRow
from storage.model import Membership as Membership
from storage.model import MembershipPage as MembershipPage
from storage.model import MessagePage as MessagePage
from storage.model import MessageRange as MessageRange
from storage.model import NewRoom as NewRoom
from storage.model import NewUser as NewUser
from storage.model import PinPage as PinPage
from storage.model import PointerMove as PointerMove
from storage.model import Poisoned as Poisoned
from storage.model import ReactionCount as ReactionCount
from storage.model import ReactionRow as ReactionRow
from storage.model import Receipt as Receipt
from storage.model import RetainedRoom as RetainedRoom
from storage.model import Revocation as Revocation
from storage.model import Role as Role
from storage.model import RoomId as RoomId
from storage.model import RoomKind as RoomKind
from storage.model import RoomRow as RoomRow
from storage.model import RulesRow as RulesRow
from storage.model import SanctionKind as SanctionKind
from storage.model import SanctionRow as SanctionRow
from storage.model import StatePage as StatePage
from storage.model import StateRow as StateRow
from storage.model import Stored as Stored
from storage.model import Stranger as Stranger
from storage.model import TokenInfo as TokenInfo
from storage.model import TokenRow as TokenRow
from storage.model import UserRow as UserRow
from storage.pool import open_database as open_database
from storage.postgres import PostgresStore as PostgresStore
from storage.review_model import EVERYWHERE as EVERYWHERE
from storage.review_model import RULES_KEPT as RULES_KEPT
from storage.review_model import WAITING as WAITING
from storage.review_model import WAITING_COUNTED_MAX as WAITING_COUNTED_MAX
from storage.review_model import WAITING_OF_KIND_MAX as WAITING_OF_KIND_MAX
from storage.review_model import WAITING_OF_TEXT_MAX as WAITING_OF_TEXT_MAX
from storage.review_model import Filed as Filed
from storage.review_model import FiledState as FiledState
from storage.review_model import NewReport as NewReport
from storage.review_model import ReportKind as ReportKind
from storage.review_model import ReportMove as ReportMove
from storage.review_model import ReportRow as ReportRow
from storage.review_model import ReportState as ReportState
from storage.search_model import LANGUAGES as LANGUAGES
from storage.search_model import IndexStep as IndexStep
from storage.search_model import RoomDue as RoomDue
from storage.search_model import SearchAsk as SearchAsk
from storage.search_model import SearchHit as SearchHit
from storage.search_model import SearchKey as SearchKey
from storage.search_model import SearchPage as SearchPage
from storage.store import Store as Store
from storage.writer import Writer as Writer
from storage.writer_model import Delivery as Delivery
from storage.writer_model import OnReceipts as OnReceipts
from storage.writer_model import SilentObserver as SilentObserver
from storage.writer_model import WriterLimits as WriterLimits
from storage.writer_model import WriterObserver as WriterObserver
from storage.writer_model import WriterStatistics as WriterStatistics
from storage.writer_pool import WriterPool as WriterPool

__all__ = [
    "EVERYWHERE",
    "LANGUAGES",
    "MAX_EPOCHS",
    "RULES_KEPT",
    "WAITING",
    "WAITING_COUNTED_MAX",
    "WAITING_OF_KIND_MAX",
    "WAITING_OF_TEXT_MAX",
    "Account",
    "Activation",
    "AuditKey",
    "AuditRow",
    "BacklogFull",
    "BadData",
    "CidConflict",
    "Conflict",
    "Corrupt",
    "Database",
    "DatabaseStatistics",
    "Delivery",
    "Duplicate",
    "EmbeddedError",
    "EmbeddedPostgres",
    "Entry",
    "EpochStart",
    "Fenced",
    "Filed",
    "FiledState",
    "FoldedMessage",
    "FoldedPage",
    "HistoryPage",
    "IndexStep",
    "IssuedUser",
    "KnownCid",
    "LogEntry",
    "LogGap",
    "MemberChange",
    "MemberRow",
    "Membership",
    "MembershipPage",
    "MemoryStore",
    "MessagePage",
    "MessageRange",
    "MigrationError",
    "NewReport",
    "NewRoom",
    "NewUser",
    "OnReceipts",
    "PinPage",
    "PointerMove",
    "Poisoned",
    "PostgresStore",
    "ReactionCount",
    "ReactionRow",
    "Receipt",
    "ReportKind",
    "ReportMove",
    "ReportRow",
    "ReportState",
    "RetainedRoom",
    "Revocation",
    "Role",
    "RoomDue",
    "RoomId",
    "RoomKind",
    "RoomRow",
    "Row",
    "RulesRow",
    "SanctionKind",
    "SanctionRow",
    "SearchAsk",
    "SearchHit",
    "SearchKey",
    "SearchPage",
    "SilentObserver",
    "StatePage",
    "StateRow",
    "StorageError",
    "Store",
    "StoreClosed",
    "Stored",
    "Stranger",
    "TokenInfo",
    "TokenRow",
    "TooSlow",
    "Tx",
    "Unavailable",
    "UserRow",
    "Writer",
    "WriterLimits",
    "WriterObserver",
    "WriterPool",
    "WriterStatistics",
    "migrate",
    "open_database",
    "open_embedded",
    "retry_delay_s",
]
