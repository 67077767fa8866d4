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
