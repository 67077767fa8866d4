"""The refusals of four eyes, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def required(action: str, words: str) -> StrongroomError:
    """Return `approval_required`: another person must approve this first."""
    return StrongroomError(
        "approval_required",
        f"Another person must approve this first. Ask: POST /v1/approvals with action {action} "
        f"({words}), then send the same request again with its id in Strongroom-Approval.",
    )


def not_found() -> StrongroomError:
    """Return `approval_not_found`."""
    return StrongroomError("approval_not_found", "There is no such request for approval.")


def mismatch() -> StrongroomError:
    """Return `approval_mismatch`: what was approved is not what is about to happen."""
    return StrongroomError(
        "approval_mismatch",
        "What was approved is not this: an approval is good for one action on one thing with the "
        "same parameters, by the one who asked, under the policies of that time.",
    )


def incomplete(missing: int) -> StrongroomError:
    """Return `approval_incomplete`: fewer people than needed approve this now."""
    return StrongroomError(
        "approval_incomplete", f"{missing} more must approve this, none of them the requester."
    )


def rejected() -> StrongroomError:
    """Return `approval_rejected`; that is final."""
    return StrongroomError("approval_rejected", "Somebody said no. Talk, then ask anew.")


def expired() -> StrongroomError:
    """Return `approval_expired`."""
    return StrongroomError("approval_expired", "The request is too old. Ask anew.")


def used() -> StrongroomError:
    """Return `approval_used`."""
    return StrongroomError("approval_used", "The approval was used: it is good for one use.")


def own() -> StrongroomError:
    """Return `approval_own`: nobody approves what he asked for, by whichever credential."""
    return StrongroomError("approval_own", "Nobody approves what he asked for himself.")


def repeated() -> StrongroomError:
    """Return `approval_repeated`: one person counts once."""
    return StrongroomError("approval_repeated", "This person has decided already.")


def step_up_refused() -> StrongroomError:
    """Return `step_up_refused`: the proof is of somebody else, for something else, or old."""
    return StrongroomError(
        "step_up_refused",
        "Show a passkey or one-time code for exactly this request, just before deciding.",
    )


def too_many() -> StrongroomError:
    """Return `approvals_too_many`: as many requests wait as people can read."""
    return StrongroomError(
        "approvals_too_many",
        "Too many requests for approval wait. Have some decided, or let them expire.",
        retryable=True,
        retry_after_s=60,
    )


def invalid(param: str, public: str) -> StrongroomError:
    """Return `invalid_parameter` for what cannot be asked."""
    return StrongroomError("invalid_parameter", public, param=param)


def forged(what: str) -> StrongroomError:
    """Return `approval_forged`: a row was not written by this service as it stands."""
    return StrongroomError(
        "approval_forged", "A request for approval was changed in the database.", detail=what
    )
