"""Pure decisions of the vault: is this a card we take, what may be shown of it, how it is packed.

No I/O. Clear numbers come in and go out as arguments only and never stand in an error.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from strongroom.kernel.limits import (
    CARD_YEARS_AHEAD_MAX,
    HOLDER_NAME_MAX_CHARS,
    TOKEN_TTL_MAX_S,
    TOKEN_TTL_MIN_S,
)
from strongroom.kernel.secret import Pan, Secret
from strongroom.vault import errors
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS, Brand, brand_of
from strongroom.vault.model import CardInput, TokenKind

FIRST_SHOWN = 6
LAST_SHOWN = 4
HIDDEN_MIN = 4
"""First six and last four is the one truncation format of the house: what PCI SSC FAQ 1091 allows
for every brand and length. At least four digits stay hidden, so short numbers show fewer."""

LAST_TIME_ZONE = timedelta(hours=12)
"""A card is good to the end of its month wherever its holder is (UTC-12 is last)."""

_PAD = 64
"""Sealed values are padded to multiples of this, so that lengths tell little of a name."""


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What may be shown of a card; sealed beside it so that showing never opens the number."""

    brand: str
    bin: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    alias: str | None = None


def check_card(card: CardInput, *, mode: Literal["test", "live"], now: datetime) -> Brand:
    """Return the card's brand when the vault takes the card.

    Raises:
        StrongroomError: `incorrect_number`, `live_card_in_test_mode`, `test_card_in_live_mode`,
            `invalid_expiry_month`, `invalid_expiry_year`, `expired_card`, `invalid_cvc`,
            `invalid_holder_name`.
    """
    digits = card.number.reveal()
    brand = brand_of(digits)
    if len(digits) not in brand.lengths:
        raise errors.incorrect_number()
    published = digits in PUBLISHED_TEST_NUMBERS
    if mode == "test" and not published:
        raise errors.live_card_in_test_mode()
    if mode == "live" and published:
        raise errors.test_card_in_live_mode()
    _check_expiry(card.exp_month, card.exp_year, now)
    if card.cvc is not None and len(card.cvc.reveal()) != brand.cvc_digits:
        raise errors.invalid_cvc(brand.cvc_digits)
    if card.holder_name is not None:
        _check_holder(card.holder_name.reveal())
    return brand


def _check_expiry(month: int, year: int, now: datetime) -> None:
    if not 1 <= month <= 12:
        raise errors.invalid_expiry("month")
    latest = now - LAST_TIME_ZONE
    if not 1000 <= year <= latest.year + CARD_YEARS_AHEAD_MAX:
        raise errors.invalid_expiry("year")
    if (year, month) < (latest.year, latest.month):
        raise errors.expired_card()


def _check_holder(name: str) -> None:
    if not (0 < len(name) <= HOLDER_NAME_MAX_CHARS and name.isprintable() and name.strip()):
        raise errors.invalid_holder_name()


def shown_digits(digits: str) -> tuple[str, str]:
    """Return the first and last digits that may be shown."""
    first = min(FIRST_SHOWN, len(digits) - LAST_SHOWN - HIDDEN_MIN)
    return digits[:first], digits[-LAST_SHOWN:]


def shown_of(card: CardInput, brand: str, *, fingerprint: str, alias: str | None = None) -> Shown:
    """Return what may be shown of a card."""
    first, last = shown_digits(card.number.reveal())
    return Shown(brand, first, last, card.exp_month, card.exp_year, fingerprint, alias)


def check_kind(kind: TokenKind, *, saved: bool) -> None:
    """Refuse properties that exclude each other.

    Raises:
        StrongroomError: `conflicting_parameters`, `invalid_parameter`.
    """
    life = kind.expires_in_s
    if saved and (kind.single_use or life is not None):
        raise errors.kinds_conflict("save", "single_use" if kind.single_use else "expires_in")
    if kind.keep_last4 and not kind.digits:
        raise errors.kind_needs("keep_last4", "format")
    if life is not None and not TOKEN_TTL_MIN_S <= life <= TOKEN_TTL_MAX_S:
        raise errors.invalid_life(TOKEN_TTL_MIN_S, TOKEN_TTL_MAX_S)


def with_fingerprint(shown: Shown, fingerprint: str) -> Shown:
    """Return what may be shown of a card with another fingerprint."""
    return msgspec.structs.replace(shown, fingerprint=fingerprint)


def number_bytes(card: CardInput) -> bytes:
    """Return the whole number, to be hashed under a key."""
    return card.number.reveal().encode()


def mask(pan: Pan) -> str:
    """Return a number for people: `424242******4242`."""
    digits = pan.reveal()
    first, last = shown_digits(digits)
    return f"{first}{'*' * (len(digits) - len(first) - len(last))}{last}"


def mask_text(number: Secret[str]) -> str:
    """Return what may be shown of text that stands where a card number should."""
    digits = number.reveal()
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        return ""
    first, last = shown_digits(digits)
    return f"{first}{'*' * (len(digits) - len(first) - len(last))}{last}"


def commitment_text(card: CardInput) -> bytes:
    """Return PAN, expiry, holder and data subject in canonical form, to be hashed. No CVC."""
    number = card.number.reveal()
    holder = card.holder_name.reveal() if card.holder_name is not None else ""
    text = f"{len(number)}:{number}{card.exp_year:04d}{card.exp_month:02d}:{holder}".encode()
    return text if card.data_subject is None else text + b"\0" + reference_bytes(card.data_subject)


def reference_bytes(reference: Secret[str]) -> bytes:
    """Return a merchant's reference of a customer, to be hashed under a key."""
    return reference.reveal().encode("utf-8", "replace")


def pack_card(card: CardInput) -> bytes:
    """Return PAN, holder name and expiry as the bytes that are sealed."""
    holder = card.holder_name.reveal() if card.holder_name is not None else None
    return pad(_encode((card.number.reveal(), holder, card.exp_month, card.exp_year)))


def unpack_card(data: bytes) -> CardInput:
    """Return the card that `pack_card` packed."""
    number, holder, month, year = _card_decoder.decode(unpad(data))
    return CardInput(
        number=Pan(number),
        exp_month=month,
        exp_year=year,
        holder_name=None if holder is None else Secret(holder),
    )


def unpack_number(data: bytes) -> Pan:
    """Return the number of the card that `pack_card` packed."""
    return Pan(_card_decoder.decode(unpad(data))[0])


def pack_shown(shown: Shown) -> bytes:
    """Return what may be shown as the bytes that are sealed."""
    return pad(_encode(shown))


def unpack_shown(data: bytes) -> Shown:
    """Return what `pack_shown` packed."""
    return _shown_decoder.decode(unpad(data))


def pad(data: bytes) -> bytes:
    """Return `data` with its length before it and zeros after it, a multiple of 64 bytes long."""
    packed = len(data).to_bytes(2, "big") + data
    return packed + bytes(-len(packed) % _PAD)


def unpad(data: bytes) -> bytes:
    """Return what `pad` was given."""
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


_encode = msgspec.msgpack.Encoder().encode
_card_decoder: msgspec.msgpack.Decoder[tuple[str, str | None, int, int]] = msgspec.msgpack.Decoder(
    tuple[str, str | None, int, int]
)
_shown_decoder = msgspec.msgpack.Decoder(Shown)
