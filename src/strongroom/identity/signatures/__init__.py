"""Signed requests (RFC 9421, Ed25519): merchants' public keys, and who signed what arrives."""

from strongroom.identity.signatures.flow import SignedRequests, SigningKeys
from strongroom.identity.signatures.model import SigningKeySpec, SigningKeyView

__all__ = ["SignedRequests", "SigningKeySpec", "SigningKeyView", "SigningKeys"]
