"""Connectors to payment gateways: pure builders of requests and readers of answers and webhooks.

This room sends nothing and never sees a card: requests leave through the vault, which fills the
slots. The sandbox gateway next door (`gateways.sandbox_server`) is a program of its own.
"""

from strongroom.gateways.account import GatewayAccount
from strongroom.gateways.model import (
    Capabilities,
    Connector,
    Decline,
    GatewayEvent,
    Operation,
    OperationKind,
    Outcome,
    Result,
)
from strongroom.gateways.registry import Routing, registry, route

__all__ = [
    "Capabilities",
    "Connector",
    "Decline",
    "GatewayAccount",
    "GatewayEvent",
    "Operation",
    "OperationKind",
    "Outcome",
    "Result",
    "Routing",
    "registry",
    "route",
]
