"""PURE: what limits by address count as one peer."""

import ipaddress
from typing import Final

_V6_PREFIX_BITS: Final = 64


def address_key(peer: str) -> str:
    """The key under which a peer's address is counted.

    An IPv4 address counts for itself, also when it is mapped into IPv6 (RFC 4291, 2.5.5.2). Of an IPv6
    address the network counts, its first 64 bits: the rest is the peer's own choice (RFC 8981). What is no
    address counts as it stands.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = int(address) >> (128 - _V6_PREFIX_BITS) << (128 - _V6_PREFIX_BITS)
    return f"{ipaddress.IPv6Address(network)}/{_V6_PREFIX_BITS}"
