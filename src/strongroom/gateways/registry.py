"""Makes connectors from accounts and chooses one for a payment. Pure and, for now, minimal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from strongroom.gateways.account import GatewayAccount
from strongroom.gateways.model import Connector
from strongroom.gateways.sandbox import SandboxConnector
from strongroom.gateways.stripe import StripeConnector
from strongroom.kernel.errors import StrongroomError

_CONNECTORS: Final[Mapping[str, Callable[[GatewayAccount], Connector]]] = {
    "sandbox": SandboxConnector,
    "stripe": StripeConnector,
}


class Routing(msgspec.Struct, frozen=True):
    """Which account takes a merchant's payments: its own if it has one, else the default."""

    default: str
    by_merchant: Mapping[str, str] = MappingProxyType({})


def registry(accounts: Iterable[GatewayAccount]) -> Mapping[str, Connector]:
    """Return a connector for each account, by the account's name.

    Raises:
        StrongroomError: `gateway_misconfigured` when two accounts have one name.
    """
    connectors: dict[str, Connector] = {}
    for account in accounts:
        if account.name in connectors:
            raise StrongroomError(
                "gateway_misconfigured",
                f"Two gateway accounts are named '{account.name}'.",
                param="name",
            )
        connectors[account.name] = _CONNECTORS[account.connector](account)
    return MappingProxyType(connectors)


def route(routing: Routing, *, merchant: str) -> str:
    """Return the name of the account for a new payment.

    A payment keeps its account for life: captures, voids and refunds never ask here.
    """
    return routing.by_merchant.get(merchant, routing.default)
