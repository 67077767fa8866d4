"""Key pairs of the installation to which browsers and apps encrypt cards: JWE and HPKE.

Public keys go out; private keys are 32-byte seeds that are stored wrapped and open messages here.
"""

from strongroom.keys.client_keys.flow import ClientKeys
from strongroom.keys.client_keys.model import OpeningKey, PublicClientKey

__all__ = ["ClientKeys", "OpeningKey", "PublicClientKey"]
