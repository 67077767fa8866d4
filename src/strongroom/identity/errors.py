"""The failures of identity, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def unauthenticated(public: str, *, detail: str) -> StrongroomError:
    """Return `unauthenticated`: the caller is not known; `detail` says why, to operators only."""
    return StrongroomError("unauthenticated", public, detail=detail)


def merchant_not_found() -> StrongroomError:
    """Return `merchant_not_found`: no such merchant, or not one this caller may name."""
    return StrongroomError("merchant_not_found", "There is no such merchant.", param="merchant")


def api_key_not_found() -> StrongroomError:
    """Return `api_key_not_found`: no such key, or not this merchant's."""
    return StrongroomError("api_key_not_found", "There is no such API key.")


def api_key_not_active() -> StrongroomError:
    """Return `api_key_not_active`: a revoked or expired key cannot be rotated."""
    return StrongroomError(
        "api_key_not_active", "The API key is revoked or expired. Make a new one instead."
    )


def leak_report_unsigned() -> StrongroomError:
    """Return `leak_report_unsigned`: a partner's signature that is none."""
    return StrongroomError("leak_report_unsigned", "The signature is not one of a known partner.")


def signing_key_not_found() -> StrongroomError:
    """Return `signing_key_not_found`: no such key, or not this merchant's."""
    return StrongroomError("signing_key_not_found", "There is no such signing key.")


def signing_key_exists() -> StrongroomError:
    """Return `signing_key_exists`: a public key is registered once, and never again."""
    return StrongroomError(
        "signing_key_exists", "This public key was registered before. Make a new key pair."
    )


def signature_refused(public: str, *, detail: str) -> StrongroomError:
    """Return `unauthenticated` for a signed request; `detail` says why, to operators only."""
    return StrongroomError("unauthenticated", public, detail=detail)


def workload_exists() -> StrongroomError:
    """Return `workload_exists`: a SPIFFE id is registered once at a time."""
    return StrongroomError(
        "workload_exists", "This SPIFFE id is registered already; revoke that first."
    )


def workload_not_found() -> StrongroomError:
    """Return `workload_not_found`."""
    return StrongroomError("workload_not_found", "There is no such workload.")


def invalid_parameter(param: str, public: str) -> StrongroomError:
    """Return `invalid_parameter`: a value that no key or merchant can have."""
    return StrongroomError("invalid_parameter", public, param=param)


def changed_meanwhile() -> StrongroomError:
    """Return `conflict`: somebody else changed the same thing again and again meanwhile."""
    return StrongroomError(
        "conflict",
        "The thing is being changed by somebody else. Try again.",
        retryable=True,
        retry_after_s=1,
    )
