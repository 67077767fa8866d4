"""How each test card behaves, by its number. A real card's number has no meaning here.

Numbers of the first table are published by card gateways; those under 4000 9900 0000 are ours: they
pass the Luhn check and stand for decline codes and faults that the published ones do not reach.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Authentication(StrEnum):
    """What a card asks of 3DS."""

    NONE = "none"
    SUPPORTED = "supported"
    ONCE = "once"
    REQUIRED = "required"


class Behavior(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to charges of one card."""

    decline: str | None = None
    """Declined with this code (after 3DS, if 3DS is asked for)."""
    authentication: Authentication = Authentication.NONE
    risk: str = "normal"
    held: bool = False
    cvc: str | None = None
    avs: str | None = None
    refund: str = "at_once"
    """`at_once`, `late` (pending, then succeeds) or `fails` (succeeds, then fails)."""
    after_capture: str | None = None
    """`dispute`, `inquiry` or `fraud_warning`: an event that comes later."""
    available_after_days: int = 2
    verifies: bool = False
    """A verification (amount 0) passes, although charges are declined."""
    fault: str | None = None
    """As the header `Sandbox-Fault`."""
    fault_on: str = "charge"


def _declines(code: str) -> Behavior:
    return Behavior(decline=code)


BEHAVIORS: Final[dict[str, Behavior]] = {
    "ok": Behavior(),
    "attach_then_decline": Behavior(decline="generic_decline", verifies=True),
    "declined_cvc": Behavior(decline="incorrect_cvc", cvc="fail"),
    "3ds_once": Behavior(authentication=Authentication.ONCE),
    "3ds_required": Behavior(authentication=Authentication.REQUIRED),
    "3ds_supported": Behavior(authentication=Authentication.SUPPORTED),
    "3ds_then_insufficient_funds": Behavior(
        authentication=Authentication.REQUIRED, decline="insufficient_funds"
    ),
    "3ds_then_declined": Behavior(
        authentication=Authentication.REQUIRED, decline="generic_decline"
    ),
    "dispute": Behavior(after_capture="dispute"),
    "inquiry": Behavior(after_capture="inquiry"),
    "fraud_warning": Behavior(after_capture="fraud_warning"),
    "blocked": Behavior(decline="fraudulent", risk="highest"),
    "held": Behavior(risk="elevated", held=True),
    "avs_none": Behavior(avs="no_match"),
    "avs_line1": Behavior(avs="line1_mismatch"),
    "avs_postal": Behavior(avs="postal_mismatch"),
    "cvc_fails": Behavior(cvc="fail"),
    "funds_at_once": Behavior(available_after_days=0),
    "refund_late": Behavior(refund="late"),
    "refund_fails": Behavior(refund="fails"),
}

_DECLINES: Final[dict[str, str]] = {
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000119": "processing_error",
    "4000990000000012": "do_not_honor",
    "4000990000000020": "call_issuer",
    "4000990000000038": "issuer_not_available",
    "4000990000000046": "try_again_later",
    "4000990000000053": "restricted_card",
    "4000990000000061": "pickup_card",
    "4000990000000079": "transaction_not_allowed",
    "4000990000000087": "card_velocity_exceeded",
    "4000990000000095": "card_not_supported",
    "4000990000000103": "currency_not_supported",
    "4000990000000111": "do_not_try_again",
    "4000990000000129": "authentication_required",
    "4000990000000137": "reenter_transaction",
    "4000990000000145": "revocation_of_authorization",
}

_FAULTS: Final[dict[str, tuple[str, str]]] = {
    "4000990000000202": ("slow=2000", "charge"),
    "4000990000000210": ("error=500", "charge"),
    "4000990000000228": ("error=503", "charge"),
    "4000990000000236": ("error_after=500", "charge"),
    "4000990000000244": ("reset_before", "charge"),
    "4000990000000251": ("reset_after", "charge"),
    "4000990000000269": ("timeout_after", "charge"),
    "4000990000000277": ("garbage", "charge"),
    "4000990000000285": ("huge", "charge"),
    "4000990000000293": ("truncated", "charge"),
    "4000990000000301": ("slow_drip", "charge"),
    "4000990000000319": ("wrong_amount", "charge"),
    "4000990000000327": ("wrong_currency", "charge"),
    "4000990000000335": ("duplicate_webhook", "charge"),
    "4000990000000343": ("reorder_webhook", "charge"),
    "4000990000000350": ("reset_after", "capture"),
    "4000990000000368": ("error=500", "capture"),
    "4000990000000376": ("reset_after", "refund"),
    "4000990000000384": ("error=500", "refund"),
    "4000990000000392": ("reset_after", "void"),
    "4000990000000400": ("reset_before", "capture"),
    "4000990000000418": ("reset_before", "refund"),
    "4000990000000426": ("timeout_after", "refund"),
}

NUMBERS: Final[dict[str, str]] = {
    "4000000000000341": "attach_then_decline",
    "4000000000000127": "declined_cvc",
    "4000002500003155": "3ds_once",
    "4000002760003184": "3ds_required",
    "4000008260003178": "3ds_then_insufficient_funds",
    "4000000000003220": "3ds_required",
    "4000000000003063": "3ds_required",
    "4000008400001629": "3ds_then_declined",
    "4000000000003055": "3ds_supported",
    "4000000000000259": "dispute",
    "4000000000001976": "inquiry",
    "4000000000005423": "fraud_warning",
    "4100000000000019": "blocked",
    "4000000000009235": "held",
    "4000000000000010": "avs_none",
    "4000000000000028": "avs_line1",
    "4000000000000036": "avs_postal",
    "4000000000000101": "cvc_fails",
    "4000000000000077": "funds_at_once",
    "4000000000007726": "refund_late",
    "4000000000005126": "refund_fails",
}
"""Card number → name of its behavior. Numbers that are not here are `ok` when Luhn holds."""

for _number, _code in _DECLINES.items():
    BEHAVIORS[_code] = _declines(_code)
    NUMBERS[_number] = _code
for _number, (_fault, _on) in _FAULTS.items():
    BEHAVIORS[f"{_on}:{_fault}"] = Behavior(fault=_fault, fault_on=_on)
    NUMBERS[_number] = f"{_on}:{_fault}"


def behavior_of(number: str) -> str:
    """Return the name of the behavior that a card number stands for."""
    return NUMBERS.get(number, "ok")


_PREFIX_RANGES: Final = (
    (2, 34, 34, "amex"),
    (2, 37, 37, "amex"),
    (2, 51, 55, "mastercard"),
    (4, 2221, 2720, "mastercard"),
    (4, 6011, 6011, "discover"),
    (2, 64, 65, "discover"),
    (6, 622126, 622925, "discover"),
    (2, 30, 30, "diners"),
    (2, 36, 36, "diners"),
    (2, 38, 38, "diners"),
    (4, 3528, 3589, "jcb"),
    (2, 62, 62, "unionpay"),
)


def brand_of(number: str) -> str:
    """Return the card network of a number by its leading digits, or `unknown`."""
    if number[0] == "4":
        return "visa"
    for digits, low, high, brand in _PREFIX_RANGES:
        if low <= int(number[:digits]) <= high:
            return brand
    return "unknown"
