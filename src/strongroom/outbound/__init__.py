"""The one set of rules for connections that leave the house, and an HTTP client that keeps them.

A URL is taken apart strictly, its name resolved, *every* address checked, and the connection made
to a checked address under the original name. Nothing is followed, retried, unpacked or unbounded.
The vault's `forward` sends card data by the same rules over connections that it keeps.
"""

from strongroom.outbound.client import Client
from strongroom.outbound.errors import EgressFailed, EgressRefused
from strongroom.outbound.model import Origin, Policy, Response
from strongroom.outbound.origins import Origins

__all__ = [
    "Client",
    "EgressFailed",
    "EgressRefused",
    "Origin",
    "Origins",
    "Policy",
    "Response",
]
