"""The failures of the vault, each with its stable code (docs/errors.md). None carries card data."""

from __future__ import annotations

import re

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import free_text_holds_card_number

_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")


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


def import_file_unusable(public: str) -> StrongroomError:
    """Return `import_file_unusable`: the file of cards cannot be read, or others can read it."""
    return StrongroomError("import_file_unusable", public)


def import_file_changed() -> StrongroomError:
    """Return `import_file_changed`: the import of this name began with another file."""
    return StrongroomError(
        "import_file_changed",
        "The import of this name began with another file. Bring that file back, or give a new "
        "--name.",
    )


def import_output_unusable(public: str) -> StrongroomError:
    """Return `import_output_unusable`: a result exists already, is gone, or was changed."""
    return StrongroomError("import_output_unusable", public)


def import_running() -> StrongroomError:
    """Return `import_running`: another program moved this import on."""
    return StrongroomError(
        "import_running", "Another program runs this import. Wait for it, or stop it."
    )


def check_import_name(name: str) -> None:
    """Refuse a name that is not a short word.

    Raises:
        StrongroomError: `invalid_parameter`.
    """
    if not _NAME.fullmatch(name) or free_text_holds_card_number(name):
        raise StrongroomError(
            "invalid_parameter",
            "An import's name has 1 to 60 of A-Z a-z 0-9 . _ - and holds no card number.",
            param="name",
        )


def malformed_line() -> StrongroomError:
    """Return `malformed_line`: a line of an import that is not of its format."""
    return StrongroomError("malformed_line", "The line is malformed.")


def invalid_field(name: str) -> StrongroomError:
    """Return `invalid_parameter` for a field of an import's line."""
    return StrongroomError("invalid_parameter", "The field is malformed.", param=name)


def card_number_in_field(name: str) -> StrongroomError:
    """Return `card_number_in_text`: a field that is kept in clear holds a card number."""
    return StrongroomError(
        "card_number_in_text", "The field holds what looks like a card number.", param=name
    )


def grant_invalid(public: str) -> StrongroomError:
    """Return `invalid_parameter`: a bulk grant that nobody may have."""
    return StrongroomError("invalid_parameter", public)


def export_output_unusable(public: str) -> StrongroomError:
    """Return `export_output_unusable`: the file to write exists already or cannot be made."""
    return StrongroomError("export_output_unusable", public)


def export_off() -> StrongroomError:
    """Return `export_off`: the settings do not allow the legacy export."""
    return StrongroomError(
        "export_off",
        "The FF1 export is off. It makes digits that can be turned back into card numbers; to "
        "allow it, set ff1_export = true in strongroom.toml.",
    )
