"""Decline codes: what each means for the merchant and what a shopper may read.

Codes are Stripe's vocabulary (docs.stripe.com/declines/codes). Messages are ours: a gateway's text
is never passed on, and a lost, stolen or fraudulent card reads like any declined card, because the
person at the till may be the thief.
"""

from __future__ import annotations

from strongroom.gateways.model import Decline, Retry

_GENERIC = "Your card was declined."
_LATER = "Your card could not be charged right now. Try again later."
_OTHER_CARD = "Your card does not support this purchase. Use another card."
_DATA = "Check the card details and try again."

SOFT: dict[str, str] = {
    "insufficient_funds": "Your card has insufficient funds.",
    "try_again_later": _LATER,
    "issuer_not_available": _LATER,
    "processing_error": "An error occurred while processing your card. Try again later.",
    "reenter_transaction": _LATER,
    "approve_with_id": _LATER,
    "card_velocity_exceeded": "Your card was used too often. Try again later.",
    "withdrawal_count_limit_exceeded": "Your card was used too often. Try again later.",
    "authentication_required": "Your bank asks you to confirm this payment.",
    "authentication_failed": "The payment could not be confirmed with your bank.",
    "offline_pin_required": _LATER,
    "online_or_offline_pin_required": _LATER,
    "pin_try_exceeded": _LATER,
    "duplicate_transaction": "The same payment was made a moment ago.",
}
DATA: dict[str, str] = {
    "incorrect_number": "The card number is incorrect.",
    "invalid_number": "The card number is incorrect.",
    "incorrect_cvc": "The security code is incorrect.",
    "invalid_cvc": "The security code is incorrect.",
    "expired_card": "Your card has expired.",
    "invalid_expiry_month": "The expiry month is incorrect.",
    "invalid_expiry_year": "The expiry year is incorrect.",
    "incorrect_zip": "The postal code does not match the card.",
    "incorrect_address": "The address does not match the card.",
    "incorrect_pin": _DATA,
    "invalid_pin": _DATA,
    "invalid_amount": "The amount cannot be charged to this card.",
}
HARD: dict[str, str] = {
    "lost_card": _GENERIC,
    "stolen_card": _GENERIC,
    "pickup_card": _GENERIC,
    "restricted_card": _GENERIC,
    "fraudulent": _GENERIC,
    "merchant_blacklist": _GENERIC,
    "do_not_try_again": _GENERIC,
    "stop_payment_order": _GENERIC,
    "revocation_of_authorization": _GENERIC,
    "revocation_of_all_authorizations": _GENERIC,
    "no_action_taken": _GENERIC,
    "security_violation": _GENERIC,
    "invalid_account": _GENERIC,
    "new_account_information_available": _GENERIC,
}
VAGUE: dict[str, str] = {
    "generic_decline": _GENERIC,
    "do_not_honor": _GENERIC,
    "call_issuer": _GENERIC,
    "not_permitted": _GENERIC,
    "transaction_not_allowed": _OTHER_CARD,
    "service_not_allowed": _OTHER_CARD,
    "currency_not_supported": _OTHER_CARD,
    "card_not_supported": _OTHER_CARD,
    "testmode_decline": "A test card cannot pay here. Use a real card.",
    "live_mode_test_card": "A test card cannot pay here. Use a real card.",
}
REFUSED: dict[str, str] = {
    "gateway_refused": "The gateway refused the request.",
    "amount_too_large": "The amount is more than the gateway allows here.",
    "already_captured": "Nothing is left to capture or void.",
    "already_refunded": "Nothing is left to refund.",
    "already_voided": "The authorization was voided.",
    "authorization_expired": "The authorization has expired.",
    "authorization_voided": "The authorization was voided before it was completed.",
    "not_capturable": "The payment is not in a state that allows this.",
    "disputed": "The payment is disputed and cannot be refunded.",
    "refund_failed": "The refund failed.",
    "payment_not_found": "The gateway does not know the payment.",
}
"""Why a gateway refuses an operation for good (`Result.REJECTED`); these words are our own."""

_RETRY_EXCEPTIONS: dict[str, Retry] = {
    "authentication_required": "after_authentication",
    "authentication_failed": "after_authentication",
    "generic_decline": "later",
    "do_not_honor": "later",
    "call_issuer": "later",
    "processing_error": "later",
}
_ADVICE: dict[str, Retry] = {
    "do_not_try_again": "never",
    "try_again_later": "later",
    "confirm_card_data": "fix_data",
}
BLOCKING = frozenset({"fraudulent", "merchant_blacklist"})
"""Codes that mean the gateway's own fraud rules stopped the payment."""


def decline_for(
    code: str | None, *, network_code: str | None = None, advice: str | None = None
) -> Decline:
    """Return our decline for a gateway's code; a code we do not know reads as `generic_decline`.

    `advice` is the issuer's own word on trying again and outranks the table.
    """
    for table, retry in _TABLES:
        if code in table:
            chosen = _ADVICE.get(advice or "", _RETRY_EXCEPTIONS.get(code, retry))
            return Decline(code, table[code], chosen, network_code)
    chosen = _ADVICE.get(advice or "", "later")
    return Decline("generic_decline", _GENERIC, chosen, network_code)


def is_known(code: str | None) -> bool:
    """Return whether the tables have this code."""
    return any(code in table for table, _ in _TABLES)


_TABLES: tuple[tuple[dict[str, str], Retry], ...] = (
    (SOFT, "later"),
    (DATA, "fix_data"),
    (HARD, "never"),
    (VAGUE, "never"),
    (REFUSED, "never"),
)
