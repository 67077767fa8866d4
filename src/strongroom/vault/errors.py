"""The failures of the vault, each with its stable code (docs/errors.md). None carries card data."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def token_not_found() -> StrongroomError:
    """Return `token_not_found`: no such token of this merchant, or it was deleted."""
    return StrongroomError("token_not_found", "There is no such token.", param="token")


def token_expired() -> StrongroomError:
    """Return `token_expired`: the card was not saved and its time is over."""
    return StrongroomError(
        "token_expired", "The token has expired. Ask for the card again.", param="token"
    )


def token_used() -> StrongroomError:
    """Return `token_used`: it was for one payment, and that was another one."""
    return StrongroomError(
        "token_used", "The token was for one payment and has been used.", param="token"
    )


def kinds_conflict(first: str, second: str) -> StrongroomError:
    """Return `conflicting_parameters`: a token cannot be both."""
    return StrongroomError(
        "conflicting_parameters", f"A token cannot have both {first} and {second}.", param=first
    )


def kind_needs(first: str, second: str) -> StrongroomError:
    """Return `conflicting_parameters`: one property makes sense with another only."""
    return StrongroomError(
        "conflicting_parameters", f"Send {first} together with {second} only.", param=first
    )


def invalid_life(low: int, high: int) -> StrongroomError:
    """Return `invalid_parameter` for a life that no token may have."""
    return StrongroomError(
        "invalid_parameter", f"A token lives {low} to {high} seconds.", param="expires_in"
    )


def incorrect_number() -> StrongroomError:
    """Return `incorrect_number`: no card of this brand has so many digits."""
    return StrongroomError(
        "incorrect_number", "The card number is not a valid card number.", param="card.number"
    )


def invalid_expiry(field: str) -> StrongroomError:
    """Return `invalid_expiry_month` or `invalid_expiry_year`."""
    text = "between 1 and 12" if field == "month" else "a year of four digits in the near future"
    return StrongroomError(
        f"invalid_expiry_{field}", f"The expiry {field} must be {text}.", param=f"card.exp_{field}"
    )


def expired_card() -> StrongroomError:
    """Return `expired_card`."""
    return StrongroomError("expired_card", "The card has expired.", param="card.exp_year")


def invalid_cvc(digits: int) -> StrongroomError:
    """Return `invalid_cvc`: the wrong number of digits for the brand."""
    return StrongroomError(
        "invalid_cvc", f"The security code of this card has {digits} digits.", param="card.cvc"
    )


def invalid_holder_name() -> StrongroomError:
    """Return `invalid_holder_name`."""
    return StrongroomError(
        "invalid_holder_name",
        "The holder name must be 1 to 100 printable characters.",
        param="card.holder_name",
    )


def test_card_in_live_mode() -> StrongroomError:
    """Return `test_card_in_live_mode`."""
    return StrongroomError(
        "test_card_in_live_mode",
        "This is a published test card number; live mode takes real cards only.",
        param="card.number",
    )


def live_card_in_test_mode() -> StrongroomError:
    """Return `live_card_in_test_mode`."""
    return StrongroomError(
        "live_card_in_test_mode",
        "Test mode takes published test card numbers only. Never send real cards to it.",
        param="card.number",
    )


def invalid_data_subject(limit: int) -> StrongroomError:
    """Return `invalid_data_subject`: the reference is too long or holds other characters."""
    return StrongroomError(
        "invalid_data_subject",
        f"A data subject is 1 to {limit} letters, digits and . _ : @ | + = / - of ASCII.",
        param="card.data_subject",
    )


def shred_ledger_missing() -> StrongroomError:
    """Return `shred_ledger_missing`: an erasure that a restore could undo is refused."""
    return StrongroomError(
        "shred_ledger_missing", "This process keeps no shred ledger, so it erases nobody."
    )


def batch_too_large(limit: int, *, what: str = "cards") -> StrongroomError:
    """Return `batch_too_large`."""
    return StrongroomError("batch_too_large", f"One batch takes 1 to {limit} {what}.", param=what)


def card_data_missing() -> StrongroomError:
    """Return `card_data_missing`: the gateway needs a value this card does not have here."""
    return StrongroomError(
        "card_data_missing", "The gateway needs card data that was not given, such as the CVC."
    )


def cvc_handle_invalid() -> StrongroomError:
    """Return `cvc_handle_invalid`: expired, spent, of another token or another process."""
    return StrongroomError(
        "cvc_handle_invalid", "The security code is no longer held. Ask for it again."
    )


def too_many_cvcs() -> StrongroomError:
    """Return `overloaded`: too many security codes wait in memory."""
    return StrongroomError(
        "overloaded", "The service is busy. Try again shortly.", retryable=True, retry_after_s=1
    )


def purpose_required(purposes: tuple[str, ...]) -> StrongroomError:
    """Return `purpose_required`."""
    return StrongroomError(
        "purpose_required",
        f"Say what the card number is needed for: {', '.join(purposes)}.",
        param="purpose",
    )


def reveal_limit() -> StrongroomError:
    """Return `reveal_limit`: one caller saw as many numbers as one may within an hour."""
    return StrongroomError(
        "reveal_limit",
        "You have seen as many card numbers as one caller may within an hour.",
        retry_after_s=3600,
    )


def hold_too_long(days: int) -> StrongroomError:
    """Return `hold_too_long`."""
    return StrongroomError("hold_too_long", f"A card is held for at most {days} days.")


def contended() -> StrongroomError:
    """Return `token_contended`: others keep changing the token."""
    return StrongroomError(
        "token_contended",
        "The token is being changed by another request. Try again.",
        retryable=True,
        retry_after_s=1,
    )


def egress_misconfigured(origin: str, problem: str) -> StrongroomError:
    """Return `egress_misconfigured`: a gateway origin in the settings cannot be used."""
    return StrongroomError("egress_misconfigured", f"The gateway origin {origin} {problem}.")


def encrypted_card_invalid() -> StrongroomError:
    """Return `encrypted_card_invalid`: one answer for every cause, so that nobody can probe."""
    return StrongroomError(
        "encrypted_card_invalid",
        "The encrypted card cannot be opened. Encrypt the card again, to a current key.",
        param="encrypted_card",
    )


def encrypted_card_expired() -> StrongroomError:
    """Return `encrypted_card_expired`: authentic, but too old or from a clock that is ahead."""
    return StrongroomError(
        "encrypted_card_expired",
        "The encrypted card is outside its ten minutes. Encrypt the card again, by the server's "
        "clock.",
        param="encrypted_card",
    )


def encrypted_card_replayed() -> StrongroomError:
    """Return `encrypted_card_replayed`: authentic, but used before."""
    return StrongroomError(
        "encrypted_card_replayed",
        "The encrypted card was used before. Encrypt the card again.",
        param="encrypted_card",
    )
