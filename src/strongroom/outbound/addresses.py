"""Which addresses may be connected to: pure rules, the same on every version of Python.

The tables are IANA's special-purpose registries (RFC 6890 and its updates), read as an attacker
would: an address that carries another one inside (mapped, NAT64) is judged by what it carries, and
forms that only tunnels understand (6to4, Teredo, ISATAP, IPv4-compatible) are never connected to.
"""

from __future__ import annotations

import enum
import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(enum.Enum):
    """Who could be behind an address."""

    PUBLIC = "public"
    PRIVATE = "private"
    """This machine or the network around it: for origins that the settings call private."""

    NEVER = "never"


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


_PRIVATE_4 = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"
)
_NEVER_4 = _networks(
    "0.0.0.0/8",  # reaches this machine on some systems
    "100.100.100.200/32",  # metadata of a cloud, inside shared address space
    "168.63.129.16/32",  # the same behind an address that looks public
    "169.254.0.0/16",  # link-local: metadata of most clouds
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_PRIVATE_6 = _networks("::1/128", "fc00::/7")
_NEVER_6 = _networks(
    "fd00:ec2::/32", "fd20:ce::/32",  # metadata of clouds, inside unique local space
    "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
    "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The upper half of an interface identifier that carries an IPv4 address (RFC 5214)."""


def reach(address: Address) -> Reach:
    """Return who could be behind an address."""
    if isinstance(address, ipaddress.IPv4Address):
        return _reach_4(address)
    if address in _MAPPED or address in _NAT64:
        return _reach_4(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if _in(address, _NEVER_6) or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return Reach.NEVER
    if _in(address, _PRIVATE_6):
        return Reach.PRIVATE
    # What is left outside 2000::/3 is link-local, multicast, IPv4-compatible, local NAT64, unused.
    return Reach.PUBLIC if address in _GLOBAL_UNICAST else Reach.NEVER


def address_allowed(text: str, *, private: bool) -> bool:
    """Return whether a resolved address may be connected to."""
    try:
        found = reach(ipaddress.ip_address(text))
    except ValueError:
        return False
    return found is Reach.PUBLIC or (private and found is Reach.PRIVATE)


def _reach_4(address: ipaddress.IPv4Address) -> Reach:
    if _in(address, _NEVER_4):
        return Reach.NEVER
    return Reach.PRIVATE if _in(address, _PRIVATE_4) else Reach.PUBLIC


def _in(address: Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)
