"""How often passwords may be tried."""

import pytest

from chat.errors import ErrorCode, Refused
from chat.session_state import Rate
from chat.try_limits import TryLimits


def make_limits() -> TryLimits:
    """Two tries at once and one in ten seconds for a name; three and one in a second for an address."""
    return TryLimits(names=Rate(rate_per_s=0.1, burst=2), addresses=Rate(rate_per_s=1.0, burst=3))


def test_a_name_has_its_tries_and_others_have_theirs() -> None:
    """A refused try does not count, so that waiting as long as told is enough."""
    limits = make_limits()
    limits.count_name("ann", 0.0)
    limits.count_name("ann", 0.0)
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            limits.count_name("ann", 4.0)
        assert refused.value.code is ErrorCode.RATE_LIMITED
        assert refused.value.retry_after_s == pytest.approx(6.0)
    limits.count_name("bob", 4.0)
    limits.count_name("ann", 10.0)


def test_a_network_of_ipv6_is_one_address() -> None:
    """Its owner has more addresses than could be counted."""
    limits = make_limits()
    for number in range(3):
        limits.count_address(f"2001:db8::{number}", 0.0)
    with pytest.raises(Refused, match="from this address"):
        limits.count_address("2001:db8::ffff", 0.0)
    limits.count_address("2001:db8:0:1::1", 0.0)


def test_without_limits_everything_passes() -> None:
    """For tests."""
    limits = TryLimits(names=None, addresses=None)
    for _ in range(100):
        limits.count_name("ann", 0.0)
        limits.count_address("192.0.2.1", 0.0)
