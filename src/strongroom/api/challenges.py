"""What a caller who is not known is asked for: `WWW-Authenticate` by RFC 6750 and RFC 9449."""

from __future__ import annotations

from strongroom.identity.oauth import ALGORITHMS
from strongroom.kernel.errors import StrongroomError

_NAMED = frozenset({"invalid_token", "invalid_dpop_proof", "use_dpop_nonce"})
_ALGORITHMS = " ".join(ALGORITHMS)


def challenge(error: StrongroomError) -> bytes:
    """Return the challenge of a 401.

    Who brought an access token or a proof reads what of it is refused, and how to prove the key.
    """
    if error.code not in _NAMED:
        return b"Bearer"
    dpop = f'DPoP error="{error.code}", algs="{_ALGORITHMS}"'
    if error.code == "invalid_token":
        dpop = f'{dpop}, Bearer error="invalid_token"'
    return dpop.encode()
