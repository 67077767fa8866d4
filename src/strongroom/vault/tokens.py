"""How a card becomes a token: a new id, two sealed values, a fingerprint, and what may be known.

The uuid behind a token is a UUIDv8 (RFC 9562 section 5.8): 28 bits of unix minutes, so that rows
lie in order, then 94 bits from the operating system's generator. Nothing of the card is in it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from msgspec.structs import replace

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, id_from_int, uuid_of
from strongroom.kernel.limits import TOKEN_PURGE_GRACE_S, TOKEN_TTL_UNSAVED_S
from strongroom.kernel.secret import Pan
from strongroom.keys import Context, DataKey, IndexKey, Keyring
from strongroom.vault import decide
from strongroom.vault.formats import Alias, fresh_alias
from strongroom.vault.model import CardInput, TokenKind, TokenView
from strongroom.vault.records import Sealed, StoredCard

CARD_FIELD = "card"
DISPLAY_FIELD = "display"
SUBJECT = "sub"
_TTL = timedelta(seconds=TOKEN_TTL_UNSAVED_S)
_GRACE = timedelta(seconds=TOKEN_PURGE_GRACE_S)
_VERSION_8 = 0x8 << 76
_VARIANT = 0x2 << 62
_KEEP = ~(0xF << 76 | 0x3 << 62)
_MINUTES_MASK = 0xFFF_FFFF
_RANDOM_BYTES = 13
SEALS_PER_CARD = 2


def new_token_numbers(now: datetime, count: int) -> list[int]:
    """Return the 128-bit numbers of fresh uuids for tokens made at `now`."""
    minutes = int(now.timestamp()) // 60 & _MINUTES_MASK
    fixed = minutes << 100 | _VERSION_8 | _VARIANT
    random = os.urandom(_RANDOM_BYTES * count)
    return [
        fixed | int.from_bytes(random[at : at + _RANDOM_BYTES], "big") >> 4 & _KEEP
        for at in range(0, len(random), _RANDOM_BYTES)
    ]


@lru_cache(maxsize=4096)
def merchant_uuid(merchant: str) -> UUID:
    """Return the column value for a merchant id."""
    return uuid_of(merchant, "mer")


def seal_cards(
    merchant: str,
    cards: Sequence[CardInput],
    brands: Sequence[str],
    *,
    key: DataKey,
    index: IndexKey,
    saved: bool,
    kind: TokenKind,
    now: datetime,
    subject: str = "",
) -> tuple[Sealed, list[TokenView]]:
    """Return rows and views of a new token for each card; its uses of `key` must be set aside.

    `subject` is the person whose key it is, empty when it is the merchant's.
    """
    numbers = new_token_numbers(now, len(cards))
    tokens = [id_from_int("tok", number) for number in numbers]
    digits = [decide.number_bytes(card) for card in cards]
    fingerprints = index.mac_many(b"pan", digits)
    aliases = _aliases(cards, kind)
    seen = _visible_many(index, digits, fingerprints)
    shown = [
        decide.shown_of(card, brand, fingerprint=fingerprint)
        for card, brand, fingerprint in zip(cards, brands, seen, strict=True)
    ]
    if aliases:
        shown = [replace(one, alias=alias.text) for one, alias in zip(shown, aliases, strict=True)]
    expires_at = None if saved else now + _life(kind)
    packed_cards = zip(tokens, map(decide.pack_card, cards), strict=True)
    packed_shown = zip(tokens, map(decide.pack_shown, shown), strict=True)
    sealed = Sealed(
        merchant_id=merchant_uuid(merchant),
        index_version=index.version,
        key_version=key.version,
        saved=saved,
        expires_at=expires_at,
        purge_after=None if expires_at is None else expires_at + _GRACE,
        created_at=now,
        single_use=kind.single_use,
        ids=numbers,
        fingerprints=fingerprints,
        sealed_cards=key.seal_many(
            Context(merchant, tokens[0], CARD_FIELD, subject), list(packed_cards)
        ),
        sealed_displays=key.seal_many(
            Context(merchant, tokens[0], DISPLAY_FIELD, subject), list(packed_shown)
        ),
        subject=uuid_of(subject, SUBJECT) if subject else None,
        aliases=[alias.stored for alias in aliases],
    )
    return sealed, [view_of(token, sealed, one) for token, one in zip(tokens, shown, strict=True)]


def occasion_of(use: str) -> bytes:
    """Return what is stored of the occasion that used a token up."""
    return hashlib.sha256(b"use\0" + use.encode()).digest()[:16]


def _life(kind: TokenKind) -> timedelta:
    return _TTL if kind.expires_in_s is None else timedelta(seconds=kind.expires_in_s)


def _aliases(cards: Sequence[CardInput], kind: TokenKind) -> list[Alias]:
    if not kind.digits:
        return []
    return [fresh_alias(card.number, keep_last4=kind.keep_last4) for card in cards]


def visible(index: IndexKey, card: CardInput, fingerprint: bytes) -> str:
    """Return the fingerprint that callers see: it tells nothing of the one that is stored.

    It is made under its own key, so that it stays when the index key rotates.
    """
    return _visible_many(index, [decide.number_bytes(card)], [fingerprint])[0]


def _visible_many(
    index: IndexKey, digits: Sequence[bytes], fingerprints: Sequence[bytes]
) -> list[str]:
    key = index.visible
    inner = fingerprints if key is index else key.mac_many(b"pan", digits)
    return [
        id_from_int("fp", int.from_bytes(made[:16], "big"))
        for made in key.mac_many(b"visible", inner)
    ]


def subject_text(stored: StoredCard) -> str:
    """Return the name of the person a row belongs to, empty when it is the merchant's."""
    return "" if stored.subject is None else id_from(SUBJECT, stored.subject)


async def open_card(keyring: Keyring, merchant: str, token: str, stored: StoredCard) -> CardInput:
    """Return the clear card of a row."""
    context = Context(merchant, token, CARD_FIELD, subject_text(stored))
    data = await keyring.open_record(context, stored.sealed_card or b"")
    return decide.unpack_card(data)


async def open_numbers(
    keyring: Keyring, merchant: str, cards: Mapping[str, StoredCard]
) -> dict[str, Pan | str]:
    """Return the card number of each token, or the code of why it does not open.

    What one key of the merchant sealed is opened in one go.
    """
    found: dict[str, Pan | str] = {}
    groups: dict[int | None, list[tuple[str, bytes]]] = {}
    for token, stored in cards.items():
        if stored.subject is None:
            groups.setdefault(stored.key_version, []).append((token, stored.sealed_card or b""))
            continue
        try:
            found[token] = (await open_card(keyring, merchant, token, stored)).number
        except StrongroomError as error:
            found[token] = error.code
    for sealed in groups.values():
        try:
            key = await keyring.key_of(merchant, sealed[0][1])
        except StrongroomError as error:
            found |= dict.fromkeys([token for token, _ in sealed], error.code)
            continue
        opened = key.open_many(Context(merchant, sealed[0][0], CARD_FIELD), sealed)
        for (token, _), data in zip(sealed, opened, strict=True):
            found[token] = "record_not_opened" if data is None else decide.unpack_number(data)
    return found


def view_of(token: str, stored: StoredCard | Sealed, shown: decide.Shown) -> TokenView:
    """Return what may be known of a token."""
    return TokenView(
        token=token,
        brand=shown.brand,
        bin=shown.bin,
        last4=shown.last4,
        exp_month=shown.exp_month,
        exp_year=shown.exp_year,
        fingerprint=shown.fingerprint,
        saved=stored.saved,
        expires_at=stored.expires_at,
        created_at=stored.created_at,
        single_use=stored.single_use,
        used_at=stored.used_at if isinstance(stored, StoredCard) else None,
        alias=shown.alias,
    )
