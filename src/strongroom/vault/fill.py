"""Puts card data into the slots of a request body, escaped so that no value can become syntax."""

from __future__ import annotations

from urllib.parse import quote_plus

import msgspec

from strongroom.kernel.secret import Cvc
from strongroom.vault import errors
from strongroom.vault.egress import Encoding, OutboundRequest, Slot
from strongroom.vault.model import CardInput

Value = str | int | None
_json = msgspec.json.Encoder().encode


def slots_of(request: OutboundRequest) -> frozenset[Slot]:
    """Return the slots a body has."""
    return frozenset(
        piece if isinstance(piece, Slot) else piece[1]
        for piece in request.body
        if not isinstance(piece, str)
    )


def fill(request: OutboundRequest, card: CardInput | None, cvc: Cvc | None) -> bytes:
    """Return the body's bytes.

    Raises:
        StrongroomError: `card_data_missing` when a slot outside a pair has no value.
    """
    written: list[bytes] = []
    for piece in request.body:
        if isinstance(piece, str):
            written.append(piece.encode())
            continue
        prefix, slot = ("", piece) if isinstance(piece, Slot) else piece
        value = _value(slot, card, cvc)
        if value is not None:
            written += (prefix.encode(), _escaped(value, request.encoding))
        elif isinstance(piece, Slot):
            raise errors.card_data_missing()
    return b"".join(written)


def _value(slot: Slot, card: CardInput | None, cvc: Cvc | None) -> Value:
    if slot is Slot.CVC:
        return None if cvc is None else cvc.reveal()
    if card is None:
        raise errors.card_data_missing()
    if slot is Slot.NUMBER:
        return card.number.reveal()
    if slot is Slot.EXP_MONTH:
        return card.exp_month
    if slot is Slot.EXP_YEAR:
        return card.exp_year
    return None if card.holder_name is None else card.holder_name.reveal()


def _escaped(value: str | int, encoding: Encoding) -> bytes:
    if encoding is Encoding.JSON:
        return _json(value)
    return quote_plus(str(value)).encode()
