"""The failures of root providers, each with its stable code (docs/errors.md). None has a secret."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def root_unavailable(detail: str) -> StrongroomError:
    """Return `root_unavailable`: the provider does not answer now; keys that are open go on."""
    return StrongroomError(
        "root_unavailable",
        "The provider of the root key does not answer; nothing was changed. Try again.",
        detail=detail,
        retryable=True,
        retry_after_s=5,
    )


def root_access_denied(provider: str, problem: str) -> StrongroomError:
    """Return `root_access_denied`: the provider refuses our credentials. Never tried again."""
    return StrongroomError(
        "root_access_denied", f"The root provider {provider} refuses this installation: {problem}."
    )


def root_key_refused(problem: str) -> StrongroomError:
    """Return `root_key_refused`: the key is missing, not the pinned one, or could leave."""
    return StrongroomError("root_key_refused", f"The root key is refused: {problem}.")


def root_misconfigured(problem: str) -> StrongroomError:
    """Return `root_misconfigured`: settings of the root that cannot be used."""
    return StrongroomError(
        "root_misconfigured", f"The settings of the root cannot be used: {problem}."
    )
