"""PURE: token buckets: how often something may be done, decided with the time as an argument.

A bucket is kept as one number, the time at which it will be full again (the
"generic cell rate algorithm", ITU-T I.371): taking a token moves that time forward, and the bucket is empty
when it lies a whole burst ahead. Nothing needs to be refilled, so an idle bucket costs nothing.
"""

import math
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

_ROUNDING_S: Final = 1e-6
"""Forgiven in comparisons: who waits exactly as long as told is never refused for a rounding error."""


class Limiter(Protocol):
    """What may be asked for tokens: a bucket, or the absence of one."""

    def take(self, now_s: float, n: int = 1) -> float:
        """Take `n` tokens and return 0.0; or take none and return the seconds after which it may work."""
        ...


class TokenBucket:
    """Lets through `rate_per_s` on average and `burst` at once. It starts full, at its first use.

    Args:
        rate_per_s: tokens that come back in a second; above 0.
        burst: the most that can be taken at once; at least 1.

    Raises:
        ValueError: for a rate or a burst outside of those bounds.
    """

    __slots__ = ("_burst_s", "_full_at_s", "_token_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        if not (0 < rate_per_s < math.inf and 1 <= burst < math.inf):
            raise ValueError(f"no such bucket: rate_per_s={rate_per_s}, burst={burst}")
        self._token_s = 1.0 / rate_per_s
        self._burst_s = burst / rate_per_s
        self._full_at_s = -math.inf

    def take(self, now_s: float, n: int = 1) -> float:
        """Take `n` tokens and return 0.0; or take none and return the seconds after which it may work.

        The answer is infinite when `n` is above the burst: waiting will not help. A clock that falls back
        gives nobody anything: the bucket waits until it has caught up.
        """
        full_at_s = self._full_at_s
        if full_at_s < now_s:  # noqa: PLR1730  half the time of a call to max()
            full_at_s = now_s
        full_at_s += n * self._token_s
        excess_s = full_at_s - now_s - self._burst_s
        if excess_s <= _ROUNDING_S:
            self._full_at_s = full_at_s
            return 0.0
        return excess_s if n * self._token_s <= self._burst_s + _ROUNDING_S else math.inf

    def charge(self, now_s: float, n: int = 1) -> None:
        """Take `n` tokens, there or not: whoever comes next waits until the debt is paid.

        For what is known to cost something only when it is done. `take` of no token at all tells how long a
        debt still needs.
        """
        self._full_at_s = max(self._full_at_s, now_s) + n * self._token_s

    def is_full(self, now_s: float) -> bool:
        """Whether forgetting this bucket and starting a new one would change nothing."""
        return self._full_at_s <= now_s


class _NoLimit:
    """Grants everything."""

    __slots__ = ()

    def take(self, now_s: float, n: int = 1) -> float:  # noqa: ARG002  the signature is Limiter's
        """Grant."""
        return 0.0


NO_LIMIT: Final[Limiter] = _NoLimit()
"""Never refuses: what stands in a bucket's place when rate limits are off."""


class KeyedBuckets(Generic[K]):
    """One bucket for every key (an address, a room), for at most `max_keys` of them.

    When a key too many comes, the one that has not been used for the longest time is forgotten; should it
    come back, it starts with a full bucket. `max_keys` is therefore also how many keys somebody must control
    to wash out a limit.

    Args:
        rate_per_s: as of `TokenBucket`, for each key.
        burst: as of `TokenBucket`, for each key.
        max_keys: keys remembered at once; at least 1.
    """

    __slots__ = ("_buckets", "_burst", "_max_keys", "_rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, *, max_keys: int) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys}")
        TokenBucket(rate_per_s, burst)
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: dict[K, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: K, now_s: float, n: int = 1) -> float:
        """As `TokenBucket.take`, from the bucket of `key`."""
        # A dict keeps the order of insertion: taking out and putting back keeps it in order of use.
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            if len(self._buckets) >= self._max_keys:
                del self._buckets[next(iter(self._buckets))]
            bucket = TokenBucket(self._rate_per_s, self._burst)
        self._buckets[key] = bucket
        return bucket.take(now_s, n)


class ExactBuckets(Generic[K]):
    """One bucket for every key of one owner; none is forgotten before it is full again.

    So nobody can wash out a limit of his own by using many keys: when `max_keys` of them are in use, all
    further ones share a single bucket.

    Args:
        rate_per_s: as of `TokenBucket`, for each key.
        burst: as of `TokenBucket`, for each key.
        max_keys: keys with a bucket of their own; at least 1.
    """

    __slots__ = ("_buckets", "_burst", "_max_keys", "_rate_per_s", "_shared")

    def __init__(self, rate_per_s: float, burst: float, *, max_keys: int) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys}")
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: dict[K, TokenBucket] = {}
        self._shared = TokenBucket(rate_per_s, burst)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: K, now_s: float, n: int = 1) -> float:
        """As `TokenBucket.take`, from the bucket of `key`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._add(key, now_s)
        return bucket.take(now_s, n)

    def _add(self, key: K, now_s: float) -> TokenBucket:
        if len(self._buckets) >= self._max_keys:
            self._buckets = {
                kept: bucket for kept, bucket in self._buckets.items() if not bucket.is_full(now_s)
            }
            if len(self._buckets) >= self._max_keys:
                return self._shared
        bucket = self._buckets[key] = TokenBucket(self._rate_per_s, self._burst)
        return bucket
