"""Which peers count as one."""

import pytest

from chat.addresses import address_key


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("memory", "memory"),
        ("", ""),
    ],
)
def test_an_address_counts_or_the_network_that_its_owner_has(peer: str, key: str) -> None:
    """One IPv4 address, one IPv6 network; what is neither stands for itself."""
    assert address_key(peer) == key
