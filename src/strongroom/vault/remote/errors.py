"""The failures of the way to a vault on its own, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def vault_unavailable(detail: str) -> StrongroomError:
    """Return `vault_unavailable`: the vault's process cannot be reached, or did not answer."""
    return StrongroomError(
        "vault_unavailable",
        "The vault cannot be reached right now. Try again shortly.",
        detail=detail,
        retryable=True,
        retry_after_s=2,
    )


def overloaded(detail: str) -> StrongroomError:
    """Return `overloaded`: too many calls are under way already."""
    return StrongroomError(
        "overloaded",
        "The service is busy. Try again shortly.",
        detail=detail,
        retryable=True,
        retry_after_s=1,
    )


def not_the_vault(detail: str) -> StrongroomError:
    """Return `not_the_vault`: what answers cannot prove to be this installation's vault."""
    return StrongroomError(
        "not_the_vault",
        "What answers at this address is not the vault. Send nothing; look who listens there.",
        detail=detail,
    )


def verb_refused(verb: str, role: str) -> StrongroomError:
    """Return `vault_verb_refused`: this role of process may not ask this of the vault."""
    return StrongroomError(
        "vault_verb_refused",
        "This process may not ask that of the vault.",
        detail=f"{role} asked for {verb}",
    )


def call_invalid(detail: str) -> StrongroomError:
    """Return `vault_call_invalid`: caller and vault are of releases that do not fit."""
    return StrongroomError(
        "vault_call_invalid",
        "The vault did not understand the call; are both processes of one release?",
        detail=detail,
    )


def certificate_unusable(path: str, problem: str) -> StrongroomError:
    """Return `certificate_unusable`: a certificate or its key cannot be used as it is."""
    return StrongroomError(
        "certificate_unusable",
        f"The file {path} {problem}. Issue it anew with: strongroom certificates issue",
    )
