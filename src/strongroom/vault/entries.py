"""The journal entries of what happens to a card, apart from a reveal (gate.py)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from strongroom.journal import Entry, record
from strongroom.kernel.ids import id_from
from strongroom.kernel.limits import TOKENS_PER_ENTRY
from strongroom.storage import Change
from strongroom.vault import records
from strongroom.vault.formats import add_aliases
from strongroom.vault.model import TokenView
from strongroom.vault.records import Sealed

_WORKER = "strongroom"


def add_card(
    change: Change,
    cards: Sealed,
    view: TokenView,
    merchant: str,
    *,
    actor: str,
    request_id: str | None,
) -> None:
    """Insert one new card together with its entry."""
    records.add_card(change, cards.card(0))
    _add_aliases(change, cards)
    entry = Entry(
        action="vault:card:tokenize",
        subject=view.token,
        outcome="success",
        merchant=merchant,
        actor=actor,
        facts={"brand": view.brand, "saved": view.saved, **_kind_of(cards)},
        request=request_id,
    )
    record(change, entry, at=cards.created_at)


def add_cards(
    change: Change,
    cards: Sealed,
    tokens: Sequence[str],
    merchant: str,
    *,
    actor: str,
    request_id: str | None,
) -> None:
    """Insert the cards of one batch; each entry names up to `TOKENS_PER_ENTRY` of its tokens."""
    records.add_cards(change, cards)
    _add_aliases(change, cards)
    kind = _kind_of(cards)
    for at in range(0, len(tokens), TOKENS_PER_ENTRY):
        part = tokens[at : at + TOKENS_PER_ENTRY]
        entry = Entry(
            action="vault:card:tokenize_batch",
            subject=merchant,
            outcome="success",
            merchant=merchant,
            actor=actor,
            facts={"cards": len(part), "saved": cards.saved, "tokens": " ".join(part), **kind},
            request=request_id,
        )
        record(change, entry, at=cards.created_at)


def _add_aliases(change: Change, cards: Sealed) -> None:
    ids = (UUID(int=number) for number in cards.ids)
    add_aliases(change, cards.merchant_id, zip(cards.aliases, ids, strict=False))


def _kind_of(cards: Sealed) -> dict[str, bool]:
    """Return what is special about these tokens, and nothing when nothing is."""
    found = {"single_use": cards.single_use, "alias": bool(cards.aliases)}
    return {name: True for name, value in found.items() if value}


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
