"""OAuth 2 for merchants' services: client credentials, proved by a key, bound to a key.

A client is registered with its public keys. It asks for a token with a signed assertion
(`private_key_jwt`, RFC 7523) and gets one that lives five minutes (RFC 9068) and is good only
together with a DPoP proof (RFC 9449) or its TLS certificate (RFC 8705). Tokens can be looked at
(RFC 7662) and ended (RFC 7009); when a client is revoked, all its tokens are.
"""

from strongroom.identity.oauth.clients import Clients
from strongroom.identity.oauth.errors import NonceNeeded
from strongroom.identity.oauth.flow import OAuth
from strongroom.identity.oauth.jose import ALGORITHMS
from strongroom.identity.oauth.model import Binding, ClientSpec, ClientView, Form, Issued

__all__ = [
    "ALGORITHMS",
    "Binding",
    "ClientSpec",
    "ClientView",
    "Clients",
    "Form",
    "Issued",
    "NonceNeeded",
    "OAuth",
]
