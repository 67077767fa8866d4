"""The published state table of a payment: every allowed move, and nothing else.

`docs/payments.md` shows this table and a test compares the two; a model test walks every move.
"""

from __future__ import annotations

import enum

from strongroom.kernel.errors import StrongroomError
from strongroom.payments.model import Status


class Event(enum.Enum):
    """What can happen to a payment."""

    AUTHORIZE = "authorize"
    AUTHORIZE_AND_CAPTURE = "authorize_and_capture"
    CHALLENGE = "challenge"
    HOLD = "hold"
    DECLINE = "decline"
    BLOCK = "block"
    EXPIRE = "expire"
    APPROVE = "approve"
    CAPTURE_PART = "capture_part"
    CAPTURE_REST = "capture_rest"
    VOID = "void"
    RELEASE_REST = "release_rest"


_S, _E = Status, Event

TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (_S.PROCESSING, _E.AUTHORIZE): _S.AUTHORIZED,
    (_S.PROCESSING, _E.AUTHORIZE_AND_CAPTURE): _S.CAPTURED,
    (_S.PROCESSING, _E.CHALLENGE): _S.REQUIRES_ACTION,
    (_S.PROCESSING, _E.HOLD): _S.REQUIRES_REVIEW,
    (_S.PROCESSING, _E.DECLINE): _S.DECLINED,
    (_S.PROCESSING, _E.BLOCK): _S.BLOCKED,
    (_S.PROCESSING, _E.EXPIRE): _S.CANCELED,
    (_S.REQUIRES_ACTION, _E.AUTHORIZE): _S.AUTHORIZED,
    (_S.REQUIRES_ACTION, _E.AUTHORIZE_AND_CAPTURE): _S.CAPTURED,
    (_S.REQUIRES_ACTION, _E.HOLD): _S.REQUIRES_REVIEW,
    (_S.REQUIRES_ACTION, _E.DECLINE): _S.DECLINED,
    (_S.REQUIRES_ACTION, _E.BLOCK): _S.BLOCKED,
    (_S.REQUIRES_ACTION, _E.EXPIRE): _S.CANCELED,
    (_S.REQUIRES_ACTION, _E.VOID): _S.CANCELED,
    (_S.REQUIRES_REVIEW, _E.APPROVE): _S.AUTHORIZED,
    (_S.REQUIRES_REVIEW, _E.VOID): _S.CANCELED,
    (_S.AUTHORIZED, _E.CAPTURE_PART): _S.PARTIALLY_CAPTURED,
    (_S.AUTHORIZED, _E.CAPTURE_REST): _S.CAPTURED,
    (_S.AUTHORIZED, _E.VOID): _S.CANCELED,
    (_S.PARTIALLY_CAPTURED, _E.CAPTURE_PART): _S.PARTIALLY_CAPTURED,
    (_S.PARTIALLY_CAPTURED, _E.CAPTURE_REST): _S.CAPTURED,
    (_S.PARTIALLY_CAPTURED, _E.RELEASE_REST): _S.CAPTURED,
}
"""(status, event) -> next status. A pair that is not here cannot happen."""

FINAL = frozenset({Status.CAPTURED, Status.CANCELED, Status.DECLINED, Status.BLOCKED})
"""States that no event leaves; refunds of a captured payment do not change its status."""


def move(status: Status, event: Event) -> Status:
    """Return the next status.

    Raises:
        StrongroomError: `impossible_transition`, a bug or a hostile gateway; nothing is written.
    """
    following = TRANSITIONS.get((status, event))
    if following is None:
        raise StrongroomError(
            "impossible_transition",
            "The payment cannot do this in its current state.",
            detail=f"{status.value} + {event.value}",
        )
    return following


def table_markdown() -> str:
    """Return the state table for the documentation."""
    rows = [
        f"| `{status.value}` | {event.value.replace('_', ' ')} | `{following.value}` |"
        for (status, event), following in TRANSITIONS.items()
    ]
    return "\n".join(["| from | event | to |", "|---|---|---|", *rows]) + "\n"
