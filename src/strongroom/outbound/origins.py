"""Where requests may go: origins that the policy allows, and only to addresses that fit.

A public origin must resolve to public addresses alone; one private address among them refuses all
(DNS rebinding, SSRF). The connection is made to the very address that was checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.edge_limits import OUTBOUND_ADDRESSES_MAX
from strongroom.kernel.limits import EGRESS_DNS_TTL_S
from strongroom.outbound.addresses import address_allowed
from strongroom.outbound.decide import Located, is_literal, is_loopback, locate, may_be_public
from strongroom.outbound.errors import EgressFailed, EgressRefused, egress_misconfigured
from strongroom.outbound.model import Origin, Policy
from strongroom.outbound.wire import Connection

_HELD_MAX = 256
"""Resolved names that are remembered: callers could name ever new ones."""


class Origins:
    """The allow-list, and the checked addresses behind each name.

    Raises:
        StrongroomError: `egress_misconfigured`, naming the origin.
    """

    def __init__(self, policy: Policy, *, clock: Clock | None = None) -> None:
        self._policy = policy
        self._monotonic = (clock or SystemClock()).monotonic
        self._allowed: dict[tuple[str, str, int], Origin] = {}
        self._resolved: dict[Origin, tuple[float, list[str]]] = {}
        self._tls: ssl.SSLContext | None = None
        for private, texts in ((False, policy.origins), (True, policy.private_origins)):
            for text in texts:
                found = _configured(text, private=private, plain=policy.plain_loopback)
                self._allowed[found.scheme, found.host, found.port] = found
        if policy.any_public or any(scheme == "https" for scheme, _, _ in self._allowed):
            self._tls = _tls_context(policy)  # else not: the authorities cost time and memory

    def find(self, url: str) -> tuple[Origin, str]:
        """Return the origin and the target (path and query) of a URL.

        Raises:
            EgressRefused: the URL is malformed or its origin is not allowed.
        """
        located = locate(url)
        if located is None:
            raise EgressRefused("malformed URL")
        origin = self._allowed.get(located.key) or self._public(located)
        return origin, located.target or "/"

    async def addresses(self, origin: Origin) -> list[str]:
        """Return the checked addresses of an origin.

        Raises:
            EgressRefused: one of them is not allowed.
            EgressFailed: there is none.
        """
        held = self._resolved.get(origin)
        if held is not None and held[0] > self._monotonic():
            return held[1]
        found = [origin.name] if is_literal(origin.host) else await _resolve(origin)
        for address in found:
            if not address_allowed(address, private=origin.private):
                raise EgressRefused(f"{origin.host} resolves to {address}")
        if not found:
            raise EgressFailed(f"{origin.host} has no address")
        if len(self._resolved) >= _HELD_MAX:
            self._resolved.pop(next(iter(self._resolved)))
        self._resolved[origin] = (self._monotonic() + EGRESS_DNS_TTL_S, found)
        return found

    async def connect(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """Return a connection to one of an origin's checked addresses, under its own name.

        Raises:
            EgressRefused: an address is not allowed.
            EgressFailed: no connection, or the other side could not prove its name.
        """
        loop = asyncio.get_running_loop()
        secure = origin.scheme == "https"
        problem = "no address"
        for address in await self.addresses(origin):
            try:
                _, connection = await loop.create_connection(
                    make,
                    address,
                    origin.port,
                    ssl=self._tls if secure else None,
                    server_hostname=origin.name if secure else None,
                )
            except ssl.SSLError as error:
                problem = f"TLS: {error.reason or type(error).__name__}"
            except OSError as error:
                problem = f"{type(error).__name__} {error.errno}"
            else:
                return connection
        self.forget(origin)
        raise EgressFailed(f"no connection to {origin.host}: {problem}")

    def forget(self, origin: Origin) -> None:
        """Resolve again next time: a connection failed."""
        self._resolved.pop(origin, None)

    def _public(self, located: Located) -> Origin:
        """Return an origin that is on no list, when any public one may be called."""
        policy = self._policy
        if not policy.any_public:
            raise EgressRefused("the origin is not on the list")
        if located.scheme != "https" or located.port not in policy.ports:
            raise EgressRefused("only https, and only to ports that are allowed")
        if not may_be_public(located.host):
            raise EgressRefused(f"{located.host} is no public name")
        return Origin(located.scheme, located.host, located.port)


def _configured(text: str, *, private: bool, plain: bool) -> Origin:
    located = locate(text)
    if located is None or located.target not in (None, "/"):
        raise egress_misconfigured(text, "is not of the form https://host[:port]")
    if located.scheme == "http" and not (private and plain and is_loopback(located.host)):
        raise egress_misconfigured(
            text, "uses plain http: only a private loopback origin in test mode may"
        )
    return Origin(*located.key, private)


async def _resolve(origin: Origin) -> list[str]:
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        raise EgressFailed(f"{origin.host} does not resolve ({number})") from None
    found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if len(found) > OUTBOUND_ADDRESSES_MAX:
        raise EgressRefused(f"{origin.host} has too many addresses")
    return found


def _tls_context(policy: Policy) -> ssl.SSLContext:
    """Return the client's TLS: 1.2 with AEAD or newer, certificates and names always checked."""
    cafile = None if policy.ca_file is None else str(policy.ca_file)
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    return context
