"""The refusals of access reviews, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def not_found() -> StrongroomError:
    """Return `access_review_not_found`, for a review or a line of it."""
    return StrongroomError("access_review_not_found", "There is no such review or line.")


def is_open() -> StrongroomError:
    """Return `access_review_open`: one at a time."""
    return StrongroomError("access_review_open", "A review is open. Close it first.")


def is_closed() -> StrongroomError:
    """Return `access_review_closed`."""
    return StrongroomError("access_review_closed", "The review is closed.")


def own() -> StrongroomError:
    """Return `review_own`: nobody decides about his own rights."""
    return StrongroomError("review_own", "Another administrator must decide about this one.")


def decided() -> StrongroomError:
    """Return `review_repeated`: each line is decided once."""
    return StrongroomError("review_repeated", "This line is decided already.")


def incomplete(count: int) -> StrongroomError:
    """Return `access_review_incomplete`: lines are left."""
    return StrongroomError(
        "access_review_incomplete", f"{count} lines of the review are not decided yet."
    )
