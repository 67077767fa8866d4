"""Networks that a key may be used from: how they are written, and whether an address is in one.

Pure. One network has one spelling. IPv6 addresses that only carry an IPv4 address are that IPv4
address, so that a list cannot be stepped around by writing an address another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from strongroom.identity import errors
from strongroom.kernel.edge_limits import KEY_NETWORKS_MAX

_MAPPED = IPv6Network("::ffff:0:0/96")
_WRITTEN_MAX = 60
"""Longest spelling of an IPv6 network, with room for odd ones that are then refused."""


def checked(written: Sequence[str]) -> tuple[str, ...]:
    """Return networks in their one spelling, sorted and without repetition.

    Raises:
        StrongroomError: `invalid_parameter` for what is no network, has bits set behind its
            prefix, or means everywhere.
    """
    if len(written) > KEY_NETWORKS_MAX:
        raise errors.invalid_parameter("networks", f"Give at most {KEY_NETWORKS_MAX} networks.")
    found = {_network(text) for text in written}
    return tuple(str(one) for one in sorted(found, key=lambda one: (one.version, one)))


def contain(networks: tuple[str, ...], source: str) -> bool:
    """Return whether an address is in one of the networks; what is no address is in none."""
    if len(source) > _WRITTEN_MAX:
        return False
    try:
        address = ip_address(source)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(_holds(network, address) for network in _parsed(networks))


def _holds(network: IPv4Network | IPv6Network, address: IPv4Address | IPv6Address) -> bool:
    return network.version == address.version and address in network


@lru_cache(maxsize=4_096)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, networks))


def _network(text: str) -> IPv4Network | IPv6Network:
    refused = errors.invalid_parameter(
        "networks", "A network is written as 192.0.2.0/24 or 2001:db8::/32, without host bits."
    )
    if len(text) > _WRITTEN_MAX or "%" in text:
        raise refused
    try:
        network = ip_network(text)
    except ValueError:
        raise refused from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        network = IPv4Network((int(mapped or 0), network.prefixlen - 96))
    if network.prefixlen == 0 or network.overlaps(_MAPPED):
        raise errors.invalid_parameter("networks", "A network must not mean everywhere.")
    return network
