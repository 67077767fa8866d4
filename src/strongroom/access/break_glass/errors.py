"""The refusals of break-glass, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def not_found() -> StrongroomError:
    """Return `break_glass_not_found`."""
    return StrongroomError("break_glass_not_found", "There is no such emergency.")


def is_open() -> StrongroomError:
    """Return `break_glass_open`: it runs already, or too many were taken today."""
    return StrongroomError(
        "break_glass_open", "An emergency of yours is open, or you took too many within a day."
    )


def lasts() -> StrongroomError:
    """Return `break_glass_open`: it is not over yet."""
    return StrongroomError(
        "break_glass_open", "The emergency is open still. Review it when it is over."
    )


def step_up_refused() -> StrongroomError:
    """Return `step_up_refused`."""
    return StrongroomError(
        "step_up_refused", "Show a passkey or one-time code for exactly this emergency."
    )


def own_review() -> StrongroomError:
    """Return `review_own`: nobody reviews himself, and nobody whom we cannot tell reviews."""
    return StrongroomError(
        "review_own",
        "Another administrator must review this, by an account of their own.",
    )


def reviewed() -> StrongroomError:
    """Return `review_repeated`: one person reviews once."""
    return StrongroomError("review_repeated", "This person has reviewed it already.")


def forged(what: str) -> StrongroomError:
    """Return `approval_forged`: a row was not written by this service as it stands."""
    return StrongroomError(
        "approval_forged", "An emergency was changed in the database.", detail=what
    )
