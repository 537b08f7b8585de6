"""Token buckets against a model that refills step by step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rate_limit import NO_LIMIT, ExactBuckets, KeyedBuckets, TokenBucket


class NaiveBucket:
    """What a token bucket is in words: it refills as time passes, up to its burst."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.tokens = float(burst)
        self.seen_s: float | None = None

    def tokens_at(self, now_s: float) -> float:
        """Refill up to now, and say what there is."""
        if self.seen_s is not None:
            self.tokens = min(self.burst, self.tokens + (now_s - self.seen_s) * self.rate_per_s)
        self.seen_s = now_s
        return self.tokens


RATES = st.floats(min_value=0.01, max_value=10_000)
BURSTS = st.integers(min_value=1, max_value=500)
STEPS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=100), st.integers(min_value=1, max_value=5)),
    max_size=50,
)


@given(rate_per_s=RATES, burst=BURSTS, steps=STEPS, start_s=st.floats(min_value=0, max_value=1e6))
def test_grants_what_a_refilled_bucket_holds(
    rate_per_s: float, burst: int, steps: list[tuple[float, int]], start_s: float
) -> None:
    """A bucket grants exactly when one that is refilled step by step holds enough, rounding aside."""
    bucket, naive = TokenBucket(rate_per_s, burst), NaiveBucket(rate_per_s, burst)
    now_s = start_s
    for wait_s, n in steps:
        now_s += wait_s
        tokens = naive.tokens_at(now_s)
        rounding = 1e-6 + 3e-6 * rate_per_s  # tokens that come in the microseconds that rounding may cost

        granted = bucket.take(now_s, n) == 0.0

        if granted:
            assert tokens >= n - rounding
            naive.tokens = tokens - n
        else:
            assert tokens < n + rounding


@given(rate_per_s=RATES, burst=BURSTS, n=st.integers(min_value=1, max_value=500), start_s=st.floats(0, 1e6))
def test_who_waits_as_told_is_granted(rate_per_s: float, burst: int, n: int, start_s: float) -> None:
    """After the time that a refusal names, the same request is granted; above the burst it names none."""
    bucket = TokenBucket(rate_per_s, burst)
    bucket.take(start_s, burst)

    wait_s = bucket.take(start_s, n)

    if n > burst:
        assert wait_s == math.inf
    else:
        assert 0 < wait_s <= burst / rate_per_s + 1e-6
        assert bucket.take(start_s + wait_s, n) == 0.0


def test_starts_full_and_refusals_cost_nothing() -> None:
    """A fresh bucket grants its burst at once, and however often it refuses, tokens come back in time."""
    bucket = TokenBucket(rate_per_s=5, burst=20)

    assert [bucket.take(100.0) for _ in range(20)] == [0.0] * 20
    assert [bucket.take(100.0) for _ in range(1000)] == [pytest.approx(0.2)] * 1000
    assert bucket.take(100.2) == 0.0


def test_a_clock_that_falls_back_grants_nothing_more() -> None:
    """Time that runs backwards makes nobody richer."""
    bucket = TokenBucket(rate_per_s=1, burst=2)
    bucket.take(100.0, 2)

    assert bucket.take(50.0) == pytest.approx(51.0)


def test_is_full_again_after_its_burst_came_back() -> None:
    """A bucket that is full again may be forgotten."""
    bucket = TokenBucket(rate_per_s=2, burst=4)

    assert bucket.is_full(0.0)
    bucket.take(10.0, 4)
    assert not bucket.is_full(11.9)
    assert bucket.is_full(12.0)


@pytest.mark.parametrize(("rate_per_s", "burst"), [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (1, 0.5)])
def test_refuses_to_be_a_bucket_that_cannot_work(rate_per_s: float, burst: float) -> None:
    """A rate or a burst that would grant nothing, or everything, is a mistake of the program."""
    with pytest.raises(ValueError, match="no such bucket"):
        TokenBucket(rate_per_s, burst)


def test_no_limit_grants_everything() -> None:
    """What stands in for a bucket under --no-rate-limits never refuses."""
    assert {NO_LIMIT.take(0.0, 10**9) for _ in range(100)} == {0.0}


def test_keys_do_not_share_tokens() -> None:
    """One address that uses up its tokens leaves another's alone."""
    buckets = KeyedBuckets[str](1, 2, max_keys=10)

    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    assert buckets.take("b", 0.0) == 0.0


def test_the_key_unused_for_longest_is_forgotten() -> None:
    """The table never grows above its bound: the key that was not used for longest makes room."""
    buckets = KeyedBuckets[str](0.001, 1, max_keys=2)
    for key in ("a", "b", "a", "c"):  # a was used after b
        buckets.take(key, 0.0)

    assert len(buckets) == 2
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0.0


def test_a_table_without_places_is_a_mistake() -> None:
    """At least one key must be remembered."""
    with pytest.raises(ValueError, match="max_keys"):
        KeyedBuckets[str](1, 1, max_keys=0)


def test_a_debt_is_waited_for() -> None:
    """What is charged may not be there; asking for nothing tells how long the debt needs."""
    bucket = TokenBucket(2, 4)
    for _ in range(4):
        bucket.charge(10.0)
    assert bucket.take(10.0, 0) == 0.0
    bucket.charge(10.0)
    bucket.charge(10.0)

    assert bucket.take(10.0, 0) == pytest.approx(1.0)
    assert bucket.take(10.0) == pytest.approx(1.5)
    assert bucket.take(11.0, 0) == 0.0
    assert bucket.take(11.5) == 0.0


def test_no_number_of_keys_renews_one_of_them() -> None:
    """A bucket that is not full stays; keys above the bound share one, and the table does not grow."""
    buckets = ExactBuckets[str](1, 2, max_keys=3)
    assert [buckets.take("mine", 0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    waits = [buckets.take(f"other {number}", 0.0) for number in range(100)]

    assert waits[:4] == [0.0] * 4
    assert all(waits[4:])
    assert len(buckets) == 3
    assert buckets.take("mine", 0.0) == pytest.approx(1.0)


def test_keys_whose_buckets_are_full_again_make_way() -> None:
    """Nothing is lost with them."""
    buckets = ExactBuckets[str](1, 2, max_keys=2)
    buckets.take("a", 0.0)
    buckets.take("b", 0.0, 2)

    assert buckets.take("c", 1.0) == 0.0
    assert buckets.take("c", 1.0) == 0.0
    assert buckets.take("c", 1.0) > 0
    assert buckets.take("b", 1.0) == 0.0
    assert buckets.take("b", 1.0) > 0
    assert len(buckets) == 2


def test_an_owner_without_places_is_a_mistake() -> None:
    """At least one key must be told apart."""
    with pytest.raises(ValueError, match="max_keys"):
        ExactBuckets[str](1, 1, max_keys=0)
