"""What a Postgres error code means for a caller. Pure: codes in, kinds of error out.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from typing import Final

from storage.errors import BadData, Conflict, Corrupt, StorageError, TooSlow, Unavailable

_BY_CODE: Final[dict[str, type[StorageError]]] = {
    "0A000": StorageError,  # feature not supported
    "23505": Conflict,  # unique violation
    "23P01": Conflict,  # exclusion violation
    "25006": Unavailable,  # read-only transaction: this server has become a standby
    "25P03": Unavailable,  # idle-in-transaction timeout: the server ended the session
    "25P04": Unavailable,  # transaction timeout
    "40001": Conflict,  # serialization failure
    "40P01": Conflict,  # deadlock
    "40003": Unavailable,  # statement completion unknown
    "57014": TooSlow,  # query cancelled: by the statement timeout, or it went unheard
    "XX001": Corrupt,  # data corrupted
    "XX002": Corrupt,  # index corrupted
}

_BY_CLASS: Final[dict[str, type[StorageError]]] = {
    "08": Unavailable,  # connection exception
    "22": BadData,  # data exception: a NUL in text, out of range, invalid text representation
    "23": BadData,  # integrity: null, check, foreign key
    "40": Conflict,  # transaction rollback
    "53": Unavailable,  # insufficient resources: connections, memory, disk
    "54": BadData,  # program limit exceeded: statement too complex, index row too large
    "55": Unavailable,  # not in prerequisite state: lock not available, object in use
    "57": Unavailable,  # operator intervention: shutdown, starting up, statement timeout
    "58": Unavailable,  # system error: disk, files
}

_NO_VALUES: Final = frozenset(
    {
        "08",  # connection exception
        "0A",  # feature not supported
        "25",  # transaction state
        "28",  # who we are
        "3D",  # which database
        "40",  # transaction rollback
        "42",  # syntax and access: our statements hold no values
        "53",  # insufficient resources
        "54",  # program limit exceeded
        "55",  # not in prerequisite state
        "57",  # operator intervention
        "58",  # system error
        "XX",  # internal error, corruption
    }
)


def classify(sqlstate: str | None) -> type[StorageError]:
    """The kind of error behind a five-character SQLSTATE; `StorageError` for what fits no other.

    A wrong password (28), a missing database (3D), wrong SQL (42) and the server's own bugs (XX) are
    plain `StorageError`: neither waiting nor other values help, a person must.
    """
    if sqlstate is None:
        return StorageError
    return _BY_CODE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], StorageError)


def may_quote_values(sqlstate: str | None) -> bool:
    """Whether an error's first line may hold a value of a row or an argument; its details always may."""
    return sqlstate is None or sqlstate[:2] not in _NO_VALUES
