"""Whom an address stands for, where callers are counted: one writing for each."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_V6_PREFIX = 64
"""One customer of a provider has at least so much of IPv6: single addresses mean nothing there."""


@lru_cache(maxsize=8_192)
def network_of(source: str) -> str:
    """Return an address itself, or its /64 in IPv6; what is no address as it is."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _V6_PREFIX), strict=False))
