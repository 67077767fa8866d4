"""How often somebody may guess: ten times in half an hour, without shutting anybody else out.

Tries at a login are counted apart for each device that its owner signed in from, and together for
all strangers, wherever they come from. Strangers who spend the ten of a login lock out strangers:
the owner goes on from a device that is known, or with a passkey, which nobody can guess. A source
has a budget of its own over all logins, which ends one password tried at many accounts.

A login that does not exist is counted like one that does.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

import msgspec

from strongroom.identity.operators.context import Context
from strongroom.identity.operators.tries import records
from strongroom.kernel.edge_limits import (
    OPERATOR_LOCK_MINUTES,
    OPERATOR_SOURCE_TRIES_MAX,
    OPERATOR_TRIES_MAX,
)

__all__ = ["Tries", "Try"]

WINDOW = timedelta(minutes=OPERATOR_LOCK_MINUTES)
_STRANGERS = b"strangers"
_SITE_BITS = 64
"""One IPv6 site has this many bits of network; who has a site has all its addresses."""


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """A try that is counted already. `last` says that a failure now begins the rest."""

    allowed: bool
    last: bool
    buckets: tuple[bytes, ...]


class Tries:
    """Counts tries before they are looked at, so that many at once are counted one by one."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def begin(self, login: str, *, device: bytes | None, source: str) -> Try:
        """Count a try at a login; `device` is one that is known to be the owner's, or None."""
        own = await self._bucket(login, device or _STRANGERS)
        number = await self._count(own, OPERATOR_TRIES_MAX)
        buckets, of_source = [own], 0
        if device is None and source:
            site = await self._context.keyed(b"try source", _site(source).encode())
            of_source = await self._count(site, OPERATOR_SOURCE_TRIES_MAX)
            buckets.append(site)
        return Try(
            allowed=number <= OPERATOR_TRIES_MAX and of_source <= OPERATOR_SOURCE_TRIES_MAX,
            last=number == OPERATOR_TRIES_MAX,
            buckets=tuple(buckets),
        )

    async def succeeded(self, counted: Try) -> None:
        """Begin counting anew for who succeeded; the budget of the source stays spent."""
        await records.forget_tries(self._context.database, counted.buckets[:1])

    async def unlock(self, login: str, devices: list[bytes]) -> None:
        """Begin counting anew for a login, from everywhere."""
        buckets = [await self._bucket(login, place) for place in (_STRANGERS, *devices)]
        await records.forget_tries(self._context.database, buckets)

    async def purge(self, *, now: datetime) -> None:
        """Forget tries that no longer count."""
        await records.purge(self._context.database, before=now - WINDOW)

    async def _bucket(self, login: str, place: bytes) -> bytes:
        return await self._context.keyed(b"try", login.encode() + b"\0" + place)

    async def _count(self, bucket: bytes, most: int) -> int:
        return await records.reserve_try(
            self._context.database,
            bucket,
            now=self._context.clock.now(),
            most=most,
            window=WINDOW,
        )


def _site(source: str) -> str:
    """Return the network that one party has: an IPv4 address, an IPv6 site."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _SITE_BITS), strict=False))
