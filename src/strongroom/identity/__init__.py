"""Who calls: API keys, principals, merchants. Keys are stored as keyed hashes and shown once."""

from strongroom.identity.arrivals import Arrival, Authenticated, Authenticator, Peer
from strongroom.identity.callers import Callers
from strongroom.identity.flow import Identity
from strongroom.identity.model import (
    ROLES,
    KeyKind,
    KeySpec,
    KeyView,
    Level,
    MerchantView,
    Mode,
    Principal,
    PrincipalKind,
)
from strongroom.identity.refusals import Refusals, Refused

__all__ = [
    "ROLES",
    "Arrival",
    "Authenticated",
    "Authenticator",
    "Callers",
    "Identity",
    "KeyKind",
    "KeySpec",
    "KeyView",
    "Level",
    "MerchantView",
    "Mode",
    "Peer",
    "Principal",
    "PrincipalKind",
    "Refusals",
    "Refused",
]
