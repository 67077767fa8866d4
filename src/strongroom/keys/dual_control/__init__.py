"""Dual control: custodians, requests, signed approvals (PCI DSS 3.6.1.3, 3.7.6, 3.7.8).

A custodian's private keys stay on the custodian's machine; the service knows public keys only,
and checks every signature again when an approval is used.
"""

from strongroom.keys.dual_control.custodian_file import CustodianKey, parse_card, read_card
from strongroom.keys.dual_control.decide import enrollment
from strongroom.keys.dual_control.flow import DualControl
from strongroom.keys.dual_control.model import (
    ACKNOWLEDGEMENT,
    ACTIONS,
    Approval,
    Card,
    Custodian,
    Decision,
    World,
    approval_statement,
    payload_hash,
)

__all__ = [
    "ACKNOWLEDGEMENT",
    "ACTIONS",
    "Approval",
    "Card",
    "Custodian",
    "CustodianKey",
    "Decision",
    "DualControl",
    "World",
    "approval_statement",
    "enrollment",
    "parse_card",
    "payload_hash",
    "read_card",
]
