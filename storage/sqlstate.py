"""What a Postgres error code means for a caller. Pure: codes in, kinds of error out.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from typing import Final

from storage.errors import BadData, Conflict, Corrupt, StorageError, Unavailable

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


def classify(sqlstate: str | None) -> type[StorageError]:
    """The kind of error behind a five-character SQLSTATE; `StorageError` for what fits no other.

    A wrong password (28), a missing database (3D), wrong SQL (42) and the server's own bugs (XX) are
    plain `StorageError`: neither waiting nor other values help, a person must.
    """
    if sqlstate is None:
        return StorageError
    return _BY_CODE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], StorageError)
