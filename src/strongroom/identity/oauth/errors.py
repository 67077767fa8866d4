"""The failures of OAuth by their standard names (RFC 6749, 6750, 7009, 8707, 9449).

Whatever is wrong with an assertion, a proof or a token reads the same to its sender; the reason
goes to the journal.
"""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


class NonceNeeded(StrongroomError):
    """`use_dpop_nonce`: send the proof again with this nonce (RFC 9449 section 8)."""

    def __init__(self, nonce: str) -> None:
        super().__init__("use_dpop_nonce", "Put the nonce of the DPoP-Nonce header in the proof.")
        self.nonce = nonce


def invalid_client(detail: str) -> StrongroomError:
    """Return `invalid_client`: not a client, or not proved to be."""
    return StrongroomError(
        "invalid_client",
        "The client is not known here, or its assertion does not prove it.",
        detail=detail,
    )


def invalid_request(public: str) -> StrongroomError:
    """Return `invalid_request`: the form is not what the endpoint takes."""
    return StrongroomError("invalid_request", public)


def unsupported_grant_type() -> StrongroomError:
    """Return `unsupported_grant_type`."""
    return StrongroomError(
        "unsupported_grant_type", "The only grant_type here is client_credentials."
    )


def invalid_scope() -> StrongroomError:
    """Return `invalid_scope`: more than the client may have, or no scope at all."""
    return StrongroomError("invalid_scope", "The client may not have a scope that was asked for.")


def invalid_target() -> StrongroomError:
    """Return `invalid_target`: a token for another service (RFC 8707)."""
    return StrongroomError("invalid_target", "Tokens are for this service's API only.")


def invalid_grant() -> StrongroomError:
    """Return `invalid_grant`: the token is another client's."""
    return StrongroomError("invalid_grant", "The token was issued to another client.")


def invalid_dpop_proof(detail: str) -> StrongroomError:
    """Return `invalid_dpop_proof`."""
    return StrongroomError(
        "invalid_dpop_proof",
        "Send one fresh DPoP proof of the right key for this method and URL.",
        detail=detail,
    )


def invalid_token(detail: str) -> StrongroomError:
    """Return `invalid_token`."""
    return StrongroomError("invalid_token", "The access token is not valid here.", detail=detail)


def oauth_off() -> StrongroomError:
    """Return `not_found`: without a public HTTPS address there is no issuer."""
    return StrongroomError("not_found", "OAuth is off: the settings name no public_url with https.")


def client_not_found() -> StrongroomError:
    """Return `oauth_client_not_found`."""
    return StrongroomError("oauth_client_not_found", "There is no such OAuth client.")
