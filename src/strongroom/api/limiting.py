"""How often each caller may call: rates, quotas, and how many requests at once.

What is limited: a credential (`key`), its merchant (`merchant`), an address where nobody or only a
publishable key stands behind it (`address`), an address whose credentials are refused (`refused`),
and single routes. Answers say what is left in the fields of the IETF's RateLimit draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

import msgspec

from strongroom.api import errors
from strongroom.api.endpoint import Endpoint, Limited
from strongroom.api.metrics import Metrics
from strongroom.identity import Principal, Refusals, Refused
from strongroom.kernel.edge_limits import ADDRESS_AT_ONCE_MAX, OPEN_AT_ONCE_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.networks import network_of
from strongroom.storage.counters import Leases, Rule, Spent

_PUBLISHABLE = "merchant-publishable"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force. `routes` is by `METHOD /path` as declared; None is no limit."""

    key: Rule
    merchant: Rule
    address: Rule
    events: Rule
    refused: Rule
    key_quota: Rule | None = None
    merchant_quota: Rule | None = None
    routes: Mapping[str, Rule] = {}
    merchant_at_once: int = 512


class Limiter:
    """Admits or refuses requests by how many there were; one per process."""

    def __init__(
        self,
        leases: Leases,
        limits: Limits,
        *,
        metrics: Metrics,
        refusals: Refusals | None = None,
    ) -> None:
        self._leases = leases
        self._limits = limits
        self._metrics = metrics
        self._refusals = refusals
        self._at_once: dict[str, int] = {}

    def check_routes(self, endpoints: Iterable[Endpoint]) -> None:
        """Refuse limits of routes that there are none of.

        Raises:
            StrongroomError: `settings_invalid`; the program must not start.
        """
        declared = {f"{endpoint.method} {endpoint.path}" for endpoint in endpoints}
        for name in self._limits.routes:
            if name not in declared:
                raise StrongroomError("settings_invalid", f"[limits] there is no route {name}.")

    def check_address(self, source: str) -> None:
        """Refuse an address whose credentials were refused too often; no I/O.

        Raises:
            StrongroomError: `rate_limited`.
        """
        wait_s = self._leases.blocked(_key("refused", network_of(source)))
        if wait_s > 0:
            raise self._refuse(self._limits.refused, wait_s, route="any", source=source)

    async def refused(self, source: str) -> None:
        """Count a credential that was refused."""
        await self._leases.spend([(_key("refused", network_of(source)), self._limits.refused)])

    async def admit(self, principal: Principal | None, endpoint: Endpoint, source: str) -> Spent:
        """Count a request; returns the tightest limit that it passed.

        Raises:
            StrongroomError: `rate_limited` or `quota_exhausted`, with the seconds to wait.
        """
        wants = self._wants(principal, endpoint, source)
        spent = await self._leases.spend(wants)
        if not spent.allowed:
            raise self._refuse(
                spent.rule, spent.wait_s, route=endpoint.path, source=source, principal=principal
            )
        return spent

    def enter(self, principal: Principal | None, source: str) -> tuple[str, ...]:
        """Count a request under way; returns its places, which `leave` must be given.

        Raises:
            StrongroomError: `too_many_at_once`.
        """
        places = self._places(principal, source)
        if any(self._at_once.get(place, 0) >= most for place, most in places.items()):
            self._metrics.limited("at_once")
            raise errors.too_many_at_once()
        for place in places:
            self._at_once[place] = self._at_once.get(place, 0) + 1
        return tuple(places)

    def leave(self, places: Iterable[str]) -> None:
        """Count a request that ended."""
        for place in places:
            left = self._at_once[place] - 1
            if left:
                self._at_once[place] = left
            else:
                del self._at_once[place]

    def _places(self, principal: Principal | None, source: str) -> dict[str, int]:
        """Return what a request under way takes a place of, and how many there are of each.

        What anybody may send, who could let it drip in from many addresses, leaves half of the
        process, and of the merchant, to those who have a secret.
        """
        merchant = None if principal is None else principal.merchant
        most = self._limits.merchant_at_once
        if principal is not None and _PUBLISHABLE not in principal.roles:
            return {} if merchant is None else {merchant: most}
        places = {} if merchant is None else {f"{merchant} in the open": max(1, most // 2)}
        places["open"] = OPEN_AT_ONCE_MAX
        places[f"address {network_of(source)}"] = ADDRESS_AT_ONCE_MAX
        return places

    def _wants(
        self, principal: Principal | None, endpoint: Endpoint, source: str
    ) -> list[tuple[bytes, Rule]]:
        limits, wants = self._limits, []
        if principal is None:
            rule = limits.events if endpoint.limited is Limited.EVENTS else limits.address
            wants.append((_key(rule.name, network_of(source)), rule))
            who = network_of(source)
        else:
            who = principal.id
            wants.append((_key("key", who), limits.key))
            if limits.key_quota is not None:
                wants.append((_key("key_quota", who), limits.key_quota))
            if principal.merchant is not None and principal.kind != "operator":
                wants += self._of_merchant(principal.merchant)
            if _PUBLISHABLE in principal.roles:
                wants.append((_key("address", network_of(source)), limits.address))
        rule_of_route = limits.routes.get(f"{endpoint.method} {endpoint.path}")
        if rule_of_route is not None:
            name = f"route {endpoint.method} {endpoint.path}"
            wants.append((_key(name, who), rule_of_route))
        return wants

    def _of_merchant(self, merchant: str) -> list[tuple[bytes, Rule]]:
        limits = self._limits
        wants = [(_key("merchant", merchant), limits.merchant)]
        if limits.merchant_quota is not None:
            wants.append((_key("merchant_quota", merchant), limits.merchant_quota))
        return wants

    def _refuse(
        self,
        rule: Rule,
        wait_s: float,
        *,
        route: str,
        source: str,
        principal: Principal | None = None,
    ) -> StrongroomError:
        self._metrics.limited(rule.name)
        if self._refusals is not None:
            self._refusals.note(
                Refused(
                    action="api:request:limit",
                    reason=rule.name,
                    subject=route,
                    actor="anonymous" if principal is None else principal.id,
                    merchant=None if principal is None else principal.merchant,
                    source=source,
                )
            )
        return errors.limited(rule.fixed, wait_s)


def fields(spent: Spent) -> tuple[tuple[bytes, bytes], ...]:
    """Return the RateLimit fields of an answer (draft-ietf-httpapi-ratelimit-headers-10)."""
    rule = spent.rule
    return (
        (b"ratelimit-policy", _policy(rule)),
        (b"ratelimit", b'"%s";r=%d;t=%d' % (rule.name.encode(), spent.remaining, _reset(spent))),
    )


def _reset(spent: Spent) -> int:
    """Return in how many seconds a rate is whole again; of a quota, the length of its window."""
    rule = spent.rule
    if rule.fixed:
        return rule.per_s
    return -(-(rule.burst - spent.remaining) * rule.per_s // rule.units)


@lru_cache(maxsize=64)
def _policy(rule: Rule) -> bytes:
    return b'"%s";q=%d;w=%d' % (rule.name.encode(), rule.units, rule.per_s)


@lru_cache(maxsize=8_192)
def _key(name: str, subject: str) -> bytes:
    return blake2b(f"{name}\x00{subject}".encode(), digest_size=16).digest()
