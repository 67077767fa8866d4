"""The one place where a request becomes a caller: whichever credential it brings.

A request without any, or with two kinds, is refused. What the credential proves is completed with
the merchant that an operator names.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from strongroom.identity.arrivals import Arrival, Authenticated, Authenticator
from strongroom.identity.flow import Identity
from strongroom.identity.model import Level, Principal, PrincipalKind, Refusal

_PUBLISHABLE = "merchant-publishable"


class Callers:
    """Proves who calls, by every kind of credential that this process knows.

    Args:
        identity: API keys and merchants.
        others: further kinds, asked in order; API keys are what no other kind claims.
    """

    def __init__(self, identity: Identity, *others: Authenticator) -> None:
        self._identity = identity
        self._others: Sequence[Authenticator] = others

    async def authenticate(self, arrival: Arrival) -> Authenticated:
        """Return who sent a request.

        Raises:
            StrongroomError: `unauthenticated`; `merchant_not_found` for a merchant that is not
                there or not the caller's; `storage_unavailable` or `overloaded` when it cannot
                be known now.
        """
        claiming = [kind for kind in self._others if kind.claims(arrival)]
        if not claiming:
            return Authenticated(principal=await self._by_api_key(arrival))
        if len(claiming) > 1:
            raise self._identity.refuse(Refusal.AMBIGUOUS, source=arrival.source)
        found = await claiming[0].authenticate(arrival)
        principal = await self._identity.demanded(found.principal)
        if arrival.merchant is not None:
            principal = await self._identity.named(principal, arrival.merchant)
        return msgspec.structs.replace(found, principal=principal)

    async def _by_api_key(self, arrival: Arrival) -> Principal:
        principal = await self._identity.authenticate(
            arrival.authorization, merchant=arrival.merchant, source=arrival.source
        )
        if principal.kind is not PrincipalKind.MERCHANT or _PUBLISHABLE in principal.roles:
            return principal
        return msgspec.structs.replace(principal, level=Level.API_KEY)
