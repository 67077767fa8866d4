"""Accounts, operations and gateway answers for the connector tests; fills slots and sends."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote_plus, urlsplit

import msgspec

from strongroom.gateways import (
    Connector,
    GatewayAccount,
    Operation,
    OperationKind,
    registry,
)
from strongroom.kernel.ids import id_from, new_uuid7
from strongroom.kernel.money import Money
from strongroom.kernel.secret import Secret
from strongroom.vault import Encoding, GatewayAnswer, OutboundRequest, Slot

STRIPE_SECRET = "sk_test_51Connector"
SANDBOX_SECRET = "sbx_sk_connector"
WEBHOOK_SECRET = "whsec_connectors"
CARD = {
    Slot.NUMBER: "4242424242424242",
    Slot.EXP_MONTH: "12",
    Slot.EXP_YEAR: "2031",
    Slot.CVC: "123",
    Slot.HOLDER_NAME: "Ada & Søn",
}
_NUMBERS = {Slot.EXP_MONTH, Slot.EXP_YEAR}


def stripe(base_url: str = "https://api.stripe.com", **more: Any) -> Connector:
    account = GatewayAccount(
        name="stripe",
        connector="stripe",
        base_url=base_url,
        secret=Secret(STRIPE_SECRET),
        webhook_secrets=(Secret(WEBHOOK_SECRET),),
        **more,
    )
    return registry([account])["stripe"]


def sandbox(base_url: str = "http://127.0.0.1:4242", secret: str = SANDBOX_SECRET) -> Connector:
    account = GatewayAccount(
        name="sandbox",
        connector="sandbox",
        base_url=base_url,
        secret=Secret(secret),
        webhook_secrets=(Secret(WEBHOOK_SECRET),),
    )
    return registry([account])["sandbox"]


def operation(kind: OperationKind = OperationKind.AUTHORIZE, **more: Any) -> Operation:
    """Return an operation; follow-ups come with the payment's reference at the gateway."""
    amount = Money(more.pop("minor", 1099), more.pop("currency", "EUR"))
    more.setdefault("id", id_from("op", new_uuid7()))
    more.setdefault("payment_id", id_from("pay", new_uuid7()))
    if kind is not OperationKind.AUTHORIZE:
        more.setdefault("gateway_reference", "pi_3Abc" if more.pop("stripe", True) else "ch_3Abc")
    more.pop("stripe", None)
    return Operation(kind=kind, amount=amount, **more)


def answer(status: int, body: object, retry_after_s: int | None = None) -> GatewayAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GatewayAnswer(status, raw, retry_after_s)


def filled(request: OutboundRequest, card: dict[Slot, str] | None = None) -> bytes:
    """Fill the slots as the vault is documented to do."""
    values = CARD if card is None else card
    parts = []
    for piece in request.body:
        if isinstance(piece, str):
            parts.append(piece)
            continue
        prefix, slot = ("", piece) if isinstance(piece, Slot) else piece
        if slot not in values:
            assert prefix, f"{slot} is not optional"
            continue
        parts.append(prefix + _escaped(slot, values[slot], request.encoding))
    return "".join(parts).encode()


def clear_headers(request: OutboundRequest) -> dict[str, str]:
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in request.headers
    }


def http(
    method: str, url: str, headers: dict[str, str], body: bytes | None
) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, response.read(), found
    finally:
        connection.close()


def send(
    request: OutboundRequest, card: dict[Slot, str] | None = None, **headers: str
) -> GatewayAnswer:
    """Send a connector's request as it is."""
    named = clear_headers(request) | {k.replace("_", "-"): v for k, v in headers.items()}
    body = filled(request, card) if request.method == "POST" else None
    status, raw, found = http(request.method, request.url, named, body)
    retry = found.get("retry-after")
    return GatewayAnswer(status, raw, int(retry) if retry else None)


def _escaped(slot: Slot, value: str, encoding: Encoding) -> str:
    if encoding is Encoding.FORM:
        return quote_plus(value)
    if slot in _NUMBERS:
        return str(int(value))
    return msgspec.json.encode(value).decode()


class StripeShapes:
    """Answers in Stripe's shape (API version 2026-10-28), as far as tests vary them."""

    name = "stripe"
    approved_reference = "pi_3Abc"

    def connector(self) -> Connector:
        return stripe()

    def approved(self, op: Operation, **changes: Any) -> dict[str, Any]:
        done = op.capture
        minor = op.amount.minor
        intent = {
            "id": op.gateway_reference or self.approved_reference,
            "object": "payment_intent",
            "amount": minor,
            "amount_capturable": 0 if done else minor,
            "amount_received": minor if done else 0,
            "capture_method": "automatic" if done else "manual",
            "client_secret": "pi_3Abc_secret_xyz",
            "created": 1_795_424_038,
            "currency": op.amount.currency.lower(),
            "last_payment_error": None,
            "latest_charge": self.charge(),
            "livemode": False,
            "metadata": {
                "strongroom_operation": op.id,
                "strongroom_payment": op.payment_id,
            },
            "next_action": None,
            "payment_method": "pm_1Abc",
            "payment_method_types": ["card"],
            "status": "succeeded" if done else "requires_capture",
        }
        return intent | changes

    def charge(self, **outcome: Any) -> dict[str, Any]:
        return {
            "id": "ch_3Abc",
            "object": "charge",
            "outcome": {
                "advice_code": None,
                "network_advice_code": None,
                "network_decline_code": None,
                "network_status": "approved_by_network",
                "reason": None,
                "risk_level": "normal",
                "risk_score": 12,
                "seller_message": "Payment complete.",
                "type": "authorized",
            }
            | outcome,
            "payment_method_details": {
                "card": {"brand": "visa", "network_transaction_id": "016150703802094"},
                "type": "card",
            },
        }

    def held(self, op: Operation) -> dict[str, Any]:
        charge = self.charge(type="manual_review", risk_level="elevated")
        return self.approved(op, latest_charge=charge)

    def declined(self, op: Operation, code: str) -> tuple[int, dict[str, Any]]:
        error = {
            "advice_code": None,
            "charge": "ch_3Abc",
            "code": "card_declined",
            "decline_code": code,
            "doc_url": "https://stripe.com/docs/error-codes/card-declined",
            "message": "Your card was declined.",
            "type": "card_error",
        }
        intent = self.approved(
            op,
            status="requires_payment_method",
            amount_received=0,
            amount_capturable=0,
            latest_charge="ch_3Abc",
            last_payment_error=dict(error),
        )
        return 402, {"error": error | {"payment_intent": intent}}

    def blocked(self, op: Operation) -> tuple[int, dict[str, Any]]:
        return self.declined(op, "fraudulent")

    def action(self, op: Operation, url: str) -> dict[str, Any]:
        step = {"type": "redirect_to_url", "redirect_to_url": {"return_url": None, "url": url}}
        return self.approved(
            op,
            status="requires_action",
            next_action=step,
            amount_received=0,
            amount_capturable=0,
            latest_charge=None,
        )

    def done(self, op: Operation, **changes: Any) -> dict[str, Any]:
        if op.kind is OperationKind.REFUND:
            return self.refund(op, "succeeded") | changes
        status = {OperationKind.CAPTURE: "succeeded", OperationKind.VOID: "canceled"}[op.kind]
        received = op.amount.minor if op.kind is OperationKind.CAPTURE else 0
        metadata = {"strongroom_operation": "op_other", "strongroom_payment": op.payment_id}
        return self.approved(
            op, status=status, amount=5_000, amount_received=received, amount_capturable=0,
            metadata=metadata,
        ) | changes  # fmt: skip

    def refund(self, op: Operation, status: str) -> dict[str, Any]:
        return {
            "id": "re_3Abc",
            "object": "refund",
            "amount": op.amount.minor,
            "charge": "ch_3Abc",
            "created": 1_795_424_038,
            "currency": op.amount.currency.lower(),
            "metadata": {"strongroom_operation": op.id, "strongroom_payment": op.payment_id},
            "payment_intent": op.gateway_reference,
            "reason": None,
            "status": status,
        }

    def refused(self, code: str) -> tuple[int, dict[str, Any]]:
        codes = {"captured": "charge_already_captured", "refunded": "charge_already_refunded"}
        return 400, {
            "error": {"type": "invalid_request_error", "code": codes[code], "message": "No."}
        }

    def inquiry(self, op: Operation, state: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if op.kind is OperationKind.REFUND or op.gateway_reference is None:
            return 200, {"object": "list", "data": [state], "has_more": False, "url": "/v1/x"}
        return 200, state

    def absent(self, op: Operation) -> tuple[int, dict[str, Any]]:
        if op.kind in (OperationKind.CAPTURE, OperationKind.VOID):
            return 200, self.done(op, status="requires_capture", amount_received=0)
        return 200, {"object": "list", "data": [], "has_more": False, "url": "/v1/x"}

    def event(self, op: Operation) -> dict[str, Any]:
        return {
            "id": "evt_3Abc",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": 1_795_424_038,
            "data": {"object": self.approved(op)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": "req_abc", "idempotency_key": None},
            "type": "payment_intent.succeeded",
        }

    signature_header = "Stripe-Signature"
    currency_text = staticmethod(str.lower)


class SandboxShapes:
    """Answers in the sandbox gateway's shape (docs/sandbox.md)."""

    name = "sandbox"
    approved_reference = "ch_3Abc"

    def connector(self) -> Connector:
        return sandbox()

    def approved(self, op: Operation, **changes: Any) -> dict[str, Any]:
        minor = op.amount.minor
        charge = {
            "id": op.gateway_reference or self.approved_reference,
            "object": "charge",
            "status": "approved",
            "amount": minor,
            "currency": op.amount.currency,
            "capturable_amount": 0 if op.capture else minor,
            "captured_amount": minor if op.capture else 0,
            "voided_amount": 0,
            "refunded_amount": 0,
            "capture": op.capture,
            "card": {"brand": "visa", "last4": "4242"},
            "decline": None,
            "action": None,
            "authentication": None,
            "risk": {"level": "normal"},
            "outcome": "authorized",
            "checks": {"cvc": "pass", "avs": "unchecked"},
            "network_transaction_id": "016150703802094",
            "reference": op.id,
            "merchant_reference": op.reference,
            "created": 1_795_424_038,
        }
        return charge | changes

    def held(self, op: Operation) -> dict[str, Any]:
        return self.approved(
            op, status="held", outcome="manual_review", risk={"level": "elevated"},
            captured_amount=0, capturable_amount=op.amount.minor,
        )  # fmt: skip

    def declined(self, op: Operation, code: str) -> tuple[int, dict[str, Any]]:
        decline = {"code": code, "message": "Secret reason.", "network_code": "51"}
        return 200, self.approved(
            op, status="declined", outcome="issuer_declined", decline=decline,
            captured_amount=0, capturable_amount=0,
        )  # fmt: skip

    def blocked(self, op: Operation) -> tuple[int, dict[str, Any]]:
        status, charge = self.declined(op, "fraudulent")
        return status, charge | {"outcome": "blocked", "risk": {"level": "highest"}}

    def action(self, op: Operation, url: str) -> dict[str, Any]:
        return self.approved(
            op, status="action_required", outcome="pending",
            action={"type": "redirect", "redirect_url": url},
            authentication={"status": "required"}, captured_amount=0, capturable_amount=0,
        )  # fmt: skip

    def done(self, op: Operation, **changes: Any) -> dict[str, Any]:
        kind = "release" if op.kind is OperationKind.CONFIRM else op.kind.value
        charge = self.approved(
            op, id="ch_3Abc", reference="op_other", amount=5_000, captured_amount=2_000,
            capturable_amount=3_000,
        )  # fmt: skip
        echo = {
            "id": "sop_3Abc",
            "object": "operation",
            "kind": "charge" if op.kind is OperationKind.AUTHORIZE else kind,
            "status": "succeeded",
            "amount": op.amount.minor,
            "currency": op.amount.currency,
            "reference": op.id,
            "charge": "ch_3Abc",
            "failure": None,
            "created": 1_795_424_038,
        }
        return {"operation": echo | changes, "charge": charge}

    def refund(self, op: Operation, status: str) -> dict[str, Any]:
        return self.done(op, status=status)

    def refused(self, code: str) -> tuple[int, dict[str, Any]]:
        return 400, {"error": {"code": f"charge_already_{code}", "message": "No.", "param": None}}

    def inquiry(self, op: Operation, state: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if op.kind is not OperationKind.AUTHORIZE:
            return 200, state
        result = self.done(op, charge=state["id"])
        return 200, {"operation": result["operation"], "charge": state}

    def absent(self, op: Operation) -> tuple[int, dict[str, Any]]:
        return 404, {"error": {"code": "operation_not_found", "message": "No.", "param": None}}

    def event(self, op: Operation) -> dict[str, Any]:
        charge = self.approved(op)
        return {
            "id": "evt_3Abc",
            "object": "event",
            "type": "charge.approved",
            "created": 1_795_424_038,
            "data": {
                "operation": self.done(op)["operation"], "charge": charge, "dispute": None,
            },
        }  # fmt: skip

    signature_header = "Sandbox-Signature"
    currency_text = staticmethod(str)
