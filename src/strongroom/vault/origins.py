"""Where requests may go: configured origins and nothing else, and only to addresses that fit.

A public origin must resolve to public addresses alone; one private address among them refuses all
(DNS rebinding, SSRF). The connection is made to the very address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from functools import lru_cache
from typing import Literal

import msgspec

from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import EGRESS_DNS_TTL_S
from strongroom.vault import errors
from strongroom.vault.egress import EgressPolicy, NotSent

_URL = re.compile(
    r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
    r"(/[!$-;=?-Z_a-z~\[\]@%]*)?"
)
_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Origin(msgspec.Struct, frozen=True):
    """One scheme, host and port that requests may go to."""

    scheme: str
    host: str
    port: int
    private: bool = False

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        default = self.port == _PORTS[self.scheme]
        return self.host if default else f"{self.host}:{self.port}"


class Origins:
    """The allow-list, and the checked addresses behind each name."""

    def __init__(
        self, policy: EgressPolicy, *, mode: Literal["test", "live"], clock: Clock
    ) -> None:
        self._monotonic = clock.monotonic
        self._allowed: dict[tuple[str, str, int], Origin] = {}
        self._resolved: dict[Origin, tuple[float, list[str]]] = {}
        for private, texts in ((False, policy.origins), (True, policy.private_origins)):
            for text in texts:
                origin = _configured(text, private=private, mode=mode)
                self._allowed[origin.scheme, origin.host, origin.port] = origin

    @property
    def any_secure(self) -> bool:
        """Whether any origin needs TLS: loading the authorities costs memory and start-up time."""
        return any(scheme == "https" for scheme, _, _ in self._allowed)

    def find(self, url: str) -> tuple[Origin, str]:
        """Return the origin and the target (path and query) of a URL.

        Raises:
            NotSent: the URL is malformed or its origin is not on the list.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise NotSent("egress_not_allowed: malformed URL")
        scheme, host, port = match[1], match[2].lower(), match[3]
        origin = self._allowed.get((scheme, host, int(port) if port else _PORTS[scheme]))
        if origin is None:
            raise NotSent("egress_not_allowed: the origin is not on the list")
        return origin, match[4] or "/"

    async def addresses(self, origin: Origin) -> list[str]:
        """Return the checked addresses of an origin.

        Raises:
            NotSent: it does not resolve, or to an address that is not allowed.
        """
        held = self._resolved.get(origin)
        if held is not None and held[0] > self._monotonic():
            return held[1]
        found = await _resolve(origin)
        if not found:
            raise NotSent(f"{origin.host} has no address")
        for address in found:
            if not address_allowed(address, private=origin.private):
                raise NotSent(f"egress_not_allowed: {origin.host} resolves to {address}")
        self._resolved[origin] = (self._monotonic() + EGRESS_DNS_TTL_S, found)
        return found

    def forget(self, origin: Origin) -> None:
        """Resolve again next time: a connection failed."""
        self._resolved.pop(origin, None)


def address_allowed(text: str, *, private: bool) -> bool:
    """Return whether a resolved address may be connected to.

    Link-local addresses (cloud metadata), multicast and unspecified ones are never allowed.
    """
    address = _unmapped(ipaddress.ip_address(text))
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return private or address.is_global


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _configured(text: str, *, private: bool, mode: str) -> Origin:
    match = _URL.fullmatch(text)
    if match is None or match[4] not in (None, "/"):
        raise errors.egress_misconfigured(text, "is not of the form https://host[:port]")
    scheme, host = match[1], match[2].lower()
    port = int(match[3]) if match[3] else _PORTS[scheme]
    if not 1 <= port <= 65_535:
        raise errors.egress_misconfigured(text, "has no valid port")
    if scheme == "http" and not (private and mode == "test" and _is_loopback(host)):
        raise errors.egress_misconfigured(
            text, "uses plain http: only a private loopback origin in test mode may"
        )
    return Origin(scheme, host, port, private)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _resolve(origin: Origin) -> list[str]:
    host = origin.host.strip("[]")
    if _is_literal(host):
        return [host]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, origin.port, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise NotSent(f"{origin.host} does not resolve ({error.errno})") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@lru_cache(maxsize=256)
def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def tls_context(policy: EgressPolicy) -> ssl.SSLContext:
    """Return the client's TLS: 1.2 with AEAD or newer, certificates and names always checked."""
    cafile = None if policy.ca_file is None else str(policy.ca_file)
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    return context
