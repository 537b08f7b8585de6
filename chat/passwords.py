"""Passwords: what is allowed, and their slow hashes (argon2id), made and checked in few threads.

A hash takes tens of milliseconds of a core and tens of megabytes, on purpose. So few are made at a time, few
wait for their turn, and who comes above that is told to come again: nobody's messages wait for logins.
"""

import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeVar

import argon2
import structlog
import trio

from chat.errors import ErrorCode, Refused

PASSWORD_MIN_CHARACTERS: Final = 10
PASSWORD_MAX_BYTES: Final = 1024

_PASSES: Final = 2
_LANES: Final = 1
"""One thread a hash: more would take cores from the server that it does not count."""
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_RETRY_S: Final = 1.0

_log = structlog.get_logger("chat.passwords")
T = TypeVar("T")


class InThread(Protocol):
    """Runs something that computes for long elsewhere, in its turn."""

    async def __call__(self, work: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
        """What `work` returns."""
        ...


async def in_worker_thread(work: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
    """Run it in one of trio's threads.

    Cancellation: waits until it is done, which takes as long as a hash.
    """
    return await trio.to_thread.run_sync(work, limiter=limiter)


class Verdict(NamedTuple):
    """What became of a check.

    Attributes:
        correct: whether it is the password.
        outdated: whether its hash was made with other parameters than these: make it anew.
    """

    correct: bool
    outdated: bool


def normal_password(password: str) -> str:
    """A password as it is hashed: NFC, so that it is the same from every keyboard (RFC 8265, 4.2).

    Args:
        password: as it was typed.

    Raises:
        Refused: `bad_request`: longer than 1024 bytes in UTF-8, or no text at all.
    """
    try:
        # Composing makes a text at most three times as long: the limit below holds for what is hashed.
        size_bytes = len(password.encode())
        password = unicodedata.normalize("NFC", password) if size_bytes <= PASSWORD_MAX_BYTES else password
        too_long = len(password.encode()) > PASSWORD_MAX_BYTES
    except UnicodeEncodeError:
        raise Refused(ErrorCode.BAD_REQUEST, "the password is no proper text", field="password") from None
    if too_long:
        raise Refused(
            ErrorCode.BAD_REQUEST, f"the password is longer than {PASSWORD_MAX_BYTES} bytes", field="password"
        )
    return password


def new_password(password: str) -> str:
    """A password to be set, as it is hashed.

    Raises:
        Refused: `bad_request`: shorter than 10 characters, or as of `normal_password`.
    """
    password = normal_password(password)
    if len(password) < PASSWORD_MIN_CHARACTERS:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"the password is shorter than {PASSWORD_MIN_CHARACTERS} characters",
            field="password",
        )
    return password


class Passwords:
    """Makes and checks hashes: argon2id (RFC 9106), two passes, one lane, as OWASP recommends for 19 MiB.

    Args:
        memory_bytes: of each hash.
        threads: hashes at a time.
        waiting_max: that wait for their turn besides; who comes above that is refused.
        random_bytes: unpredictable bytes, as many as asked for (`os.urandom`).
        in_thread: where they are made.

    Attributes:
        checks: passwords that were checked, those of nobody included.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        threads: int,
        waiting_max: int,
        random_bytes: Callable[[int], bytes],
        in_thread: InThread = in_worker_thread,
    ) -> None:
        self.checks = 0
        self._hasher = argon2.PasswordHasher(
            time_cost=_PASSES,
            memory_cost=memory_bytes // 1024,
            parallelism=_LANES,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        self._places = trio.CapacityLimiter(threads)
        self._waiting = 0
        self._waiting_max = threads + waiting_max
        self._random_bytes = random_bytes
        self._in_thread = in_thread
        # Checked in place of the hash that nobody has: the same work, and never the right password.
        self._nobodys = (
            f"$argon2id$v=19$m={memory_bytes // 1024},t={_PASSES},p={_LANES}"
            f"${_encode(random_bytes(_SALT_BYTES))}${_encode(random_bytes(_HASH_BYTES))}"
        )

    async def hash(self, password: str) -> str:
        """A new hash of a password, encoded with its salt and parameters.

        Raises:
            Refused: `overloaded`: too many wait already.
        """
        salt = self._random_bytes(_SALT_BYTES)
        return await self._in_turn(lambda: self._hasher.hash(password, salt=salt))

    async def check(self, encoded: str | None, password: str) -> Verdict:
        """Whether a password is the one that was hashed.

        Args:
            encoded: its hash; None: there is none, which takes as long to find out.
            password: as `normal_password` gives it.

        Raises:
            Refused: `overloaded`: too many wait already.
        """
        self.checks += 1
        wanted = self._nobodys if encoded is None else encoded
        correct = await self._in_turn(lambda: self._matches(wanted, password))
        outdated = correct and self._hasher.check_needs_rehash(wanted)
        return Verdict(correct and encoded is not None, outdated)

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError) as error:
            _log.error("passwords.bad_hash", error=type(error).__name__)
            return False

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._waiting_max:
            raise Refused(
                ErrorCode.OVERLOADED, "too many passwords are being checked", retry_after_s=_RETRY_S
            )
        self._waiting += 1
        try:
            return await self._in_thread(work, self._places)
        finally:
            self._waiting -= 1


def _encode(raw: bytes) -> str:
    return b64encode(raw).decode("ascii").rstrip("=")
