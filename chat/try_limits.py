"""PURE: how often passwords may be tried: for a name, and from an address (docs/protocol.md 9).

Every try counts, good or bad: who tries many at once learns no more than who tries one after the other. A
name is limited wherever the tries come from, so that many addresses do not help; the price is that somebody
can keep a person from logging in for as long as they go on. Whoever is in stays in, with the token.
"""

from typing import Final

from chat.addresses import address_key
from chat.errors import ErrorCode, Refused
from chat.rate_limit import KeyedBuckets
from chat.session_state import Rate

NAMES_MAX: Final = 100_000
"""Names whose tries are remembered: about 20 MB."""
ADDRESSES_MAX: Final = 100_000
"""Addresses whose tries are remembered."""


class TryLimits:
    """Tries of passwords.

    Args:
        names: the limit for one name; None: no limit.
        addresses: the limit from one address; None: no limit.
    """

    def __init__(self, *, names: Rate | None, addresses: Rate | None) -> None:
        self._names = _buckets(names, NAMES_MAX)
        self._addresses = _buckets(addresses, ADDRESSES_MAX)

    def count_address(self, peer: str, now_s: float) -> None:
        """Count a try from an address (of IPv6: a network).

        Raises:
            Refused: `rate_limited`, with the time to wait: this one does not count.
        """
        _count(self._addresses, address_key(peer), now_s, "too many tries from this address")

    def count_name(self, name_key: str, now_s: float) -> None:
        """Count a try for a name, whether or not anybody has it.

        Raises:
            Refused: `rate_limited`, with the time to wait: this one does not count.
        """
        _count(self._names, name_key, now_s, "too many tries for this name")


def _buckets(rate: Rate | None, max_keys: int) -> KeyedBuckets[str] | None:
    return None if rate is None else KeyedBuckets(rate.rate_per_s, rate.burst, max_keys=max_keys)


def _count(buckets: KeyedBuckets[str] | None, key: str, now_s: float, problem: str) -> None:
    wait_s = 0.0 if buckets is None else buckets.take(key, now_s)
    if wait_s:
        raise Refused(ErrorCode.RATE_LIMITED, problem, retry_after_s=wait_s)
