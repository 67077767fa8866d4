"""Why a command on a payment is refused: named outcomes of `decide`, with their public words."""

from __future__ import annotations

import enum

from strongroom.kernel.errors import StrongroomError


class Refusal(enum.Enum):
    """A decision against a command. The value is the public error code."""

    NOT_CAPTURABLE = "payment_not_capturable"
    NOT_CANCELABLE = "payment_not_cancelable"
    NOT_REFUNDABLE = "payment_not_refundable"
    NOT_IN_REVIEW = "payment_not_in_review"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_TOO_LARGE = "amount_too_large"
    AMOUNT_EXCEEDS_CAPTURABLE = "amount_exceeds_capturable"
    AMOUNT_EXCEEDS_REFUNDABLE = "amount_exceeds_refundable"
    OPERATION_IN_PROGRESS = "operation_in_progress"


_WORDS = {
    Refusal.NOT_CAPTURABLE: "Only an authorized payment can be captured.",
    Refusal.NOT_CANCELABLE: "The payment can no longer be canceled. Refund it instead.",
    Refusal.NOT_REFUNDABLE: "Only a captured payment can be refunded.",
    Refusal.NOT_IN_REVIEW: "The payment is not waiting for a review.",
    Refusal.AMOUNT_NOT_POSITIVE: "The amount must be at least 1 minor unit.",
    Refusal.AMOUNT_TOO_LARGE: "The amount is larger than the service takes.",
    Refusal.AMOUNT_EXCEEDS_CAPTURABLE: "The amount is more than what can still be captured.",
    Refusal.AMOUNT_EXCEEDS_REFUNDABLE: "The amount is more than what can still be refunded.",
    Refusal.OPERATION_IN_PROGRESS: "Another operation on this payment is under way. Try again.",
}
_AMOUNT = frozenset(
    {
        Refusal.AMOUNT_NOT_POSITIVE,
        Refusal.AMOUNT_TOO_LARGE,
        Refusal.AMOUNT_EXCEEDS_CAPTURABLE,
        Refusal.AMOUNT_EXCEEDS_REFUNDABLE,
    }
)


def refused(refusal: Refusal) -> StrongroomError:
    """Return the error that tells a caller of a refusal."""
    busy = refusal is Refusal.OPERATION_IN_PROGRESS
    return StrongroomError(
        refusal.value,
        _WORDS[refusal],
        param="amount" if refusal in _AMOUNT else None,
        retryable=busy,
        retry_after_s=1 if busy else None,
    )


def not_found() -> StrongroomError:
    """Return the error for a payment that is not there, or is another merchant's."""
    return StrongroomError("payment_not_found", "There is no such payment.")


def key_reused() -> StrongroomError:
    """Return the error for an idempotency key that was used with another request."""
    return StrongroomError(
        "idempotency_key_reused",
        "This Idempotency-Key was used with another request. Use a new key.",
    )


def key_in_use() -> StrongroomError:
    """Return the error for an idempotency key whose first request is still running."""
    return StrongroomError(
        "idempotency_key_in_use",
        "The first request with this Idempotency-Key is still running. Try again shortly.",
        retryable=True,
        retry_after_s=1,
    )
