"""Builds the sandbox gateway's requests: JSON text with slots where the vault puts the card."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec

from strongroom.gateways.model import Operation, OperationKind
from strongroom.gateways.reading import idempotency_key, payment_at_gateway
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.vault import Encoding, OutboundRequest, Slot

WIRE_KIND: Final = {
    OperationKind.AUTHORIZE: "charge",
    OperationKind.CAPTURE: "capture",
    OperationKind.VOID: "void",
    OperationKind.REFUND: "refund",
    OperationKind.CONFIRM: "release",
}
_PATH: Final = {
    OperationKind.CAPTURE: "capture",
    OperationKind.VOID: "void",
    OperationKind.REFUND: "refunds",
    OperationKind.CONFIRM: "release",
}
_WITH_AMOUNT: Final = frozenset({OperationKind.CAPTURE, OperationKind.REFUND})
_REFERENCE_CHARS: Final = 200

Body = tuple[str | Slot | tuple[str, Slot], ...]

TIMEOUT_MS = 5_000
"""The sandbox answers at once unless it is told not to."""


def authorize(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Make a charge with the card in its slots.

    Raises:
        StrongroomError: `amount_not_supported` for zero unless it is a card verification.
    """
    if op.amount.minor < 0 or (op.amount.minor == 0 and op.capture):
        raise _amount_not_supported()
    fields: dict[str, object] = {
        "amount": op.amount.minor,
        "currency": op.amount.currency,
        "capture": op.capture,
        "reference": op.id,
    }
    if op.reference is not None:
        fields["merchant_reference"] = op.reference[:_REFERENCE_CHARS]
    if op.return_url is not None:
        fields["return_url"] = op.return_url
    if op.request_3ds:
        fields["request_3ds"] = True
    head = _json(fields)[:-1]
    body: Body = (
        f'{head},"card":{{"number":',
        Slot.NUMBER,
        ',"exp_month":',
        Slot.EXP_MONTH,
        ',"exp_year":',
        Slot.EXP_YEAR,
        (',"holder_name":', Slot.HOLDER_NAME),
    )
    if op.has_cvc:
        body += ((',"cvc":', Slot.CVC),)
    return _post(f"{base_url}/v1/charges", authorization, op, (*body, "}}"))


def follow_up(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Capture, void, refund or release a charge."""
    fields: dict[str, object] = {"reference": op.id}
    if op.kind in _WITH_AMOUNT:
        if op.amount.minor <= 0:
            raise _amount_not_supported()
        fields["amount"] = op.amount.minor
    url = f"{base_url}/v1/charges/{payment_at_gateway(op)}/{_PATH[op.kind]}"
    return _post(url, authorization, op, (_json(fields),))


def inquire(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Ask what became of an operation, by our own id."""
    idempotency_key(op)
    query = urlencode({"reference": op.id, "kind": WIRE_KIND[op.kind]})
    return OutboundRequest(
        method="GET",
        url=f"{base_url}/v1/operations?{query}",
        headers=(("Authorization", authorization),),
        repeatable=True,
    )


def _post(url: str, authorization: Secret[str], op: Operation, body: Body) -> OutboundRequest:
    return OutboundRequest(
        method="POST",
        url=url,
        headers=(
            ("Authorization", authorization),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", idempotency_key(op)),
        ),
        body=body,
        encoding=Encoding.JSON,
        repeatable=True,
        timeout_ms=TIMEOUT_MS,
    )


def _json(fields: dict[str, object]) -> str:
    return msgspec.json.encode(fields).decode()


def _amount_not_supported() -> StrongroomError:
    return StrongroomError(
        "amount_not_supported",
        "The gateway cannot take this amount in this currency.",
        param="amount",
    )
