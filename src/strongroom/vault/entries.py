"""The journal entries of what happens to a card, apart from a reveal (gate.py)."""

from __future__ import annotations

from uuid import UUID

from strongroom.journal import Entry, record
from strongroom.kernel.ids import id_from
from strongroom.storage import Change
from strongroom.vault import records
from strongroom.vault.model import TokenView
from strongroom.vault.records import StoredCard

_WORKER = "strongroom"


def add_card(
    change: Change,
    stored: StoredCard,
    view: TokenView,
    merchant: str,
    *,
    actor: str,
    request_id: str | None,
) -> None:
    """Insert a new card together with its entry."""
    records.add_card(change, stored)
    entry = Entry(
        action="vault:card:tokenize",
        subject=view.token,
        outcome="success",
        merchant=merchant,
        actor=actor,
        facts={"brand": view.brand, "saved": view.saved},
        request=request_id,
    )
    record(change, entry, at=stored.created_at)


def card_entry(
    verb: str, merchant: str, token: str, *, actor: str, request_id: str | None
) -> Entry:
    """Return the entry of a verb on one token."""
    return Entry(
        action=f"vault:card:{verb}",
        subject=token,
        outcome="success",
        merchant=merchant,
        actor=actor,
        request=request_id,
    )


def purge_entry(merchant: UUID, cards: int) -> Entry:
    """Return the entry of a merchant's cards whose time was over."""
    name = id_from("mer", merchant)
    return Entry(
        action="vault:card:purge",
        subject=name,
        outcome="success",
        reason="expired",
        merchant=name,
        actor=_WORKER,
        facts={"cards": cards},
    )
