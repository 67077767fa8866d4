"""The failures of sign-in by a provider, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.identity.oidc.model import Refusal
from strongroom.kernel.errors import StrongroomError

_PUBLIC = "Single sign-on did not work. Start again from the sign-in page."
_SAID = {
    Refusal.NO_ROLE: "Your identity provider names no group of yours that may use this console.",
    Refusal.ASSURANCE: "Your identity provider did not confirm a second factor. Sign in with one.",
    Refusal.NOT_LINKED: "This identity is linked to no operator. Sign in here and link it first.",
    Refusal.EXPIRED: "Signing in took too long. Start again from the sign-in page.",
}


def refused(refusal: Refusal, detail: str = "") -> StrongroomError:
    """Return `sso_refused`; only what the person can mend is told apart."""
    return StrongroomError(
        "sso_refused", _SAID.get(refusal, _PUBLIC), detail=detail or refusal.value
    )


def unavailable(detail: str) -> StrongroomError:
    """Return `sso_unavailable`: the provider does not answer, or not as a provider does."""
    return StrongroomError(
        "sso_unavailable",
        "The identity provider cannot be used right now. Try again shortly.",
        detail=detail,
        retryable=True,
        retry_after_s=5,
    )


def misconfigured(what: str) -> StrongroomError:
    """Return `settings_invalid` for an `[oidc]` table that cannot work."""
    return StrongroomError("settings_invalid", f"[oidc]: {what}")


def already_linked() -> StrongroomError:
    """Return `sso_already_linked`: the identity, or the operator, has a link."""
    return StrongroomError(
        "sso_already_linked", "This identity is linked already. End that link first."
    )
