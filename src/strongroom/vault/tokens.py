"""How a card becomes a token: a new id, two sealed values, a fingerprint, and what may be known.

The uuid behind a token is a UUIDv8 (RFC 9562 section 5.8): 28 bits of unix minutes, so that rows
lie in order, then 94 bits from the operating system's generator. Nothing of the card is in it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.limits import TOKEN_PURGE_GRACE_S, TOKEN_TTL_UNSAVED_S
from strongroom.keys import Context, DataKey, IndexKey
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


def new_token_uuid(now: datetime) -> UUID:
    """Return a fresh uuid for a token made at `now`."""
    minutes = int(now.timestamp()) // 60 & _MINUTES_MASK
    value = minutes << 100 | int.from_bytes(os.urandom(13), "big") >> 4
    return UUID(int=value & _KEEP | _VERSION_8 | _VARIANT)


@lru_cache(maxsize=4096)
def merchant_uuid(merchant: str) -> UUID:
    """Return the column value for a merchant id."""
    return uuid_of(merchant, "mer")


def seal_card(
    merchant: str,
    card: CardInput,
    brand: str,
    *,
    key: DataKey,
    index: IndexKey,
    saved: bool,
    now: datetime,
) -> tuple[StoredCard, TokenView]:
    """Return the row and the view of a new token. Two uses of `key` must be set aside."""
    uuid = new_token_uuid(now)
    token = id_from("tok", uuid)
    fingerprint = index.mac(b"pan", decide.number_bytes(card))
    visible = UUID(bytes=index.mac(b"visible", fingerprint)[:16])
    shown = decide.shown_of(card, brand, fingerprint=id_from("fp", visible))
    stored = StoredCard(
        merchant_id=merchant_uuid(merchant),
        id=uuid,
        version=1,
        fingerprint=fingerprint,
        index_version=index.version,
        sealed_card=key.seal(Context(merchant, token, CARD_FIELD), decide.pack_card(card)),
        sealed_display=key.seal(Context(merchant, token, DISPLAY_FIELD), decide.pack_shown(shown)),
        key_version=key.version,
        saved=saved,
        expires_at=None if saved else now + _TTL,
        purge_after=None if saved else now + _TTL + _GRACE,
        created_at=now,
    )
    return stored, view_of(token, stored, shown)


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
