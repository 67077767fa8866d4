"""Stripe's minor units where they differ from ISO 4217, as data (docs.stripe.com/currencies).

Stripe takes ISK and UGX with two decimals though they have none, and MGA with none though ISO gives
it two; three-decimal amounts must end in 0. What cannot be said exactly is refused, never rounded.
"""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.money import Money, exponent

STRIPE_EXPONENT = {"ISK": 2, "UGX": 2, "MGA": 0}
"""Decimal digits at Stripe where they are not those of ISO 4217."""

LAST_DIGIT_ZERO = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Three-decimal currencies: card networks carry two, so the last digit must be 0."""

NOT_AT_STRIPE = frozenset({"IQD", "LYD", "UYI"})
"""Currencies whose exponent Stripe does not publish: a wrong guess is off by a factor of ten."""


def to_stripe(amount: Money) -> int:
    """Return the amount as Stripe counts it.

    Raises:
        StrongroomError: `amount_not_supported` when Stripe cannot take exactly this amount.
    """
    if amount.minor <= 0 or amount.currency in NOT_AT_STRIPE:
        raise _not_supported()
    if amount.currency in LAST_DIGIT_ZERO and amount.minor % 10:
        raise _not_supported()
    shift = _shift(amount.currency)
    if shift >= 0:
        return int(amount.minor * 10**shift)
    whole, rest = divmod(amount.minor, 10**-shift)
    if rest:
        raise _not_supported()
    return int(whole)


def from_stripe(value: int, currency: str) -> int | None:
    """Return an amount of Stripe's in our minor units, or None if it is not a whole number."""
    shift = _shift(currency)
    if shift < 0:
        return int(value * 10**-shift)
    whole, rest = divmod(value, 10**shift)
    return None if rest else int(whole)


def _shift(currency: str) -> int:
    digits = exponent(currency)
    return STRIPE_EXPONENT.get(currency, digits) - digits


def _not_supported() -> StrongroomError:
    return StrongroomError(
        "amount_not_supported",
        "The gateway cannot take this amount in this currency.",
        param="amount",
    )
