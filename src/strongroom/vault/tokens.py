"""How a card becomes a token: a new id, two sealed values, a fingerprint, and what may be known.

The uuid behind a token is a UUIDv8 (RFC 9562 section 5.8): 28 bits of unix minutes, so that rows
lie in order, then 94 bits from the operating system's generator. Nothing of the card is in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.limits import TOKEN_PURGE_GRACE_S, TOKEN_TTL_UNSAVED_S
from strongroom.keys import Context, DataKey, IndexKey, Keyring
from strongroom.vault import decide
from strongroom.vault.model import CardInput, TokenView
from strongroom.vault.records import StoredCard

CARD_FIELD = "card"
DISPLAY_FIELD = "display"
_TTL = timedelta(seconds=TOKEN_TTL_UNSAVED_S)
_GRACE = timedelta(seconds=TOKEN_PURGE_GRACE_S)
_VERSION_8 = 0x8 << 76
_VARIANT = 0x2 << 62
_KEEP = ~(0xF << 76 | 0x3 << 62)
_MINUTES_MASK = 0xFFF_FFFF
_RANDOM_BYTES = 13
SEALS_PER_CARD = 2


def new_token_uuids(now: datetime, count: int) -> list[UUID]:
    """Return fresh uuids for tokens made at `now`."""
    minutes = int(now.timestamp()) // 60 & _MINUTES_MASK
    fixed = minutes << 100 | _VERSION_8 | _VARIANT
    random = os.urandom(_RANDOM_BYTES * count)
    return [
        UUID(int=fixed | int.from_bytes(random[at : at + _RANDOM_BYTES], "big") >> 4 & _KEEP)
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
    now: datetime,
) -> list[tuple[StoredCard, TokenView]]:
    """Return row and view of a new token for each card; its uses of `key` must be set aside."""
    uuids = new_token_uuids(now, len(cards))
    tokens = [id_from("tok", uuid) for uuid in uuids]
    fingerprints = [index.mac(b"pan", decide.number_bytes(card)) for card in cards]
    shown = [
        decide.shown_of(card, brand, fingerprint=_visible(index, fingerprint))
        for card, brand, fingerprint in zip(cards, brands, fingerprints, strict=True)
    ]
    packed = zip(tokens, map(decide.pack_card, cards), strict=True)
    sealed_cards = key.seal_many(Context(merchant, tokens[0], CARD_FIELD), list(packed))
    packed = zip(tokens, map(decide.pack_shown, shown), strict=True)
    sealed_shown = key.seal_many(Context(merchant, tokens[0], DISPLAY_FIELD), list(packed))
    owner = merchant_uuid(merchant)
    expires_at, purge_after = (None, None) if saved else (now + _TTL, now + _TTL + _GRACE)
    made = []
    for at, token in enumerate(tokens):
        stored = StoredCard(
            merchant_id=owner,
            id=uuids[at],
            version=1,
            fingerprint=fingerprints[at],
            index_version=index.version,
            sealed_card=sealed_cards[at],
            sealed_display=sealed_shown[at],
            key_version=key.version,
            saved=saved,
            expires_at=expires_at,
            purge_after=purge_after,
            created_at=now,
        )
        made.append((stored, view_of(token, stored, shown[at])))
    return made


def _visible(index: IndexKey, fingerprint: bytes) -> str:
    """Return the fingerprint that callers see: it tells nothing of the one that is stored."""
    return id_from("fp", UUID(bytes=index.mac(b"visible", fingerprint)[:16]))


async def open_card(keyring: Keyring, merchant: str, token: str, stored: StoredCard) -> CardInput:
    """Return the clear card of a row."""
    data = await keyring.open_record(
        Context(merchant, token, CARD_FIELD), stored.sealed_card or b""
    )
    return decide.unpack_card(data)


def view_of(token: str, stored: StoredCard, shown: decide.Shown) -> TokenView:
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
    )
