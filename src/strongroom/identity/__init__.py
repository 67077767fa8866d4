"""Who calls: API keys, principals, merchants. Keys are stored as keyed hashes and shown once."""

from strongroom.identity.flow import Identity
from strongroom.identity.model import (
    ROLES,
    KeyKind,
    KeySpec,
    KeyView,
    MerchantView,
    Mode,
    Principal,
    PrincipalKind,
)
from strongroom.identity.refusals import Refusals, Refused

__all__ = [
    "ROLES",
    "Identity",
    "KeyKind",
    "KeySpec",
    "KeyView",
    "MerchantView",
    "Mode",
    "Principal",
    "PrincipalKind",
    "Refusals",
    "Refused",
]
