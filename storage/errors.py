"""What can go wrong in storage, split by what the caller can do about it.

Stands alone, so that every module of the package may import it. Errors of the database driver never
leave the package: they arrive here as one of these.

Their messages hold no values of rows, so they may be logged; what others raise may quote anything.
"""

from traceback import format_tb


class StorageError(Exception):
    """Root of everything that storage raises on purpose. Its message quotes nothing of a row."""


class Unavailable(StorageError):
    """The database cannot be asked now: the same call may work later.

    Nothing was written, unless the connection was lost during the commit itself: then the write may be
    there, which is why every write may be repeated.
    """


class TooSlow(Unavailable):
    """The database gave up a statement that took longer than it may. Nothing was written."""


class Conflict(StorageError):
    """Another writer won: a unique name is taken, or a transaction lost a race. Nothing was written."""


class BadData(StorageError):
    """The database refuses these values whenever they are sent: trying again is useless."""


class Corrupt(StorageError):
    """What is stored contradicts itself (a hole in a room's log, an unknown kind): a person must look."""


class LogGap(Corrupt):
    """These entries do not continue their room's log: who ordered them is wrong. Nothing was written."""


class StoreClosed(StorageError):
    """The store was closed, or its thread is gone: no call will work any more."""


class BacklogFull(StorageError):
    """The writer holds as much as it may: nothing was taken. Ask again when it has drained."""


class MigrationError(StorageError):
    """The schema cannot be brought to what this code needs; the message says what to do."""


class EmbeddedError(StorageError):
    """The embedded Postgres cannot be started or kept running; the message says what to do."""


def loggable(error: BaseException) -> str:
    """An error in words that may be logged: its class, and what it says when it is one of ours."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, StorageError) else name


def stack_of(error: BaseException) -> str:
    """Where an error came from, without what it or its causes say."""
    return "".join(format_tb(error.__traceback__))
