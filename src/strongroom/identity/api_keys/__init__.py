"""API keys: made, proved, rotated with an overlap, ended; kept as keyed hashes, shown once."""

from strongroom.identity.api_keys.flow import ApiKeys
from strongroom.identity.api_keys.leaks import Leaks, Sender, partner_keys
from strongroom.identity.api_keys.model import Hashed, Hashes, KeyAge, Rotated
from strongroom.identity.api_keys.proving import KeyProof

__all__ = [
    "ApiKeys",
    "Hashed",
    "Hashes",
    "KeyAge",
    "KeyProof",
    "Leaks",
    "Rotated",
    "Sender",
    "partner_keys",
]
