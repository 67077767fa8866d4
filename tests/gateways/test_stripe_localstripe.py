"""Our Stripe requests, sent to localstripe: a Stripe-shaped server of others, in its own process.

It is a counterpart, not the truth. Where it differs from Stripe, `Counterpart` says how; everything
not named there goes over the wire as the connector built it and comes back as localstripe said it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from strongroom.gateways import Connector, Operation, OperationKind, Outcome, Result
from strongroom.vault import GatewayAnswer, OutboundRequest, Slot
from tests.gateways.connectors_support import (
    CARD,
    STRIPE_SECRET,
    clear_headers,
    filled,
    http,
    operation,
    stripe,
)

PROGRAM = Path(sys.executable).with_name("localstripe")
STORE = Path("/tmp/localstripe.pickle")
"""Where localstripe keeps what it was told; the place is its own and fixed."""
NOT_KNOWN_TO_LOCALSTRIPE = (
    "allowed_payment_method_types",
    "description",
    "error_on_requires_action",
    "return_url",
)
"""Parameters of the current API version that localstripe answers with 400 `Unexpected …`."""

DECIDED_ON_ATTACH = {
    "4000000000000002",
    "4000000000009995",
    "4000000000009987",
    "4000000000009979",
    "4000000000000069",
    "4000000000000127",
    "4000000000000119",
}
"""Cards that localstripe declines when they are attached to a customer; Stripe when charged."""

AUTHORIZE, CAPTURE = OperationKind.AUTHORIZE, OperationKind.CAPTURE
VOID, REFUND = OperationKind.VOID, OperationKind.REFUND


class Counterpart:
    """Speaks to localstripe and makes up for where it is not like Stripe."""

    def __init__(self, url: str) -> None:
        self.connector: Connector = stripe(url)
        self.url = url
        self.dropped: set[str] = set()

    def run(self, op: Operation, number: str = CARD[Slot.NUMBER]) -> Outcome:
        return self.connector.parse(op, self.send(self.connector.build(op), number))

    def ask(self, op: Operation, *, cursor: str | None = None) -> Outcome:
        answer = self.send(self.connector.inquire(op, cursor=cursor), "")
        return self.connector.parse_inquiry(op, answer)

    def send(self, request: OutboundRequest, number: str) -> GatewayAnswer:
        headers = clear_headers(request)
        if request.method == "GET":
            status, raw, _ = http("GET", self._without_window(request.url), headers, None)
            return GatewayAnswer(status, self._with_totals(raw))
        card = {**CARD, Slot.NUMBER: number}
        pairs = parse_qsl(filled(request, card).decode(), keep_blank_values=True)
        kept = [(name, value) for name, value in pairs if not self._drops(name)]
        plain = [pair for pair in kept if not pair[0].startswith("payment_method_data")]
        if len(plain) < len(kept):
            method = [
                (f"{name.removeprefix('payment_method_data[').replace(']', '', 1)}", value)
                for name, value in kept
                if name.startswith("payment_method_data")
            ]
            status, made = self.call("/v1/payment_methods", method)
            if status != 200:
                return GatewayAnswer(status, json.dumps(made).encode())
            if number in DECIDED_ON_ATTACH:
                return self._attach(made["id"])
            plain.append(("payment_method", made["id"]))
        body = urlencode(plain).encode()
        status, raw, _ = http("POST", request.url, headers, body)
        return GatewayAnswer(status, self._with_totals(raw))

    def call(self, path: str, pairs: list[tuple[str, str]]) -> tuple[int, Any]:
        """Make a call that is not the connector's."""
        headers = {
            "Authorization": f"Bearer {STRIPE_SECRET}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        status, raw, _ = http("POST", self.url + path, headers, urlencode(pairs).encode())
        return status, json.loads(raw)

    def _attach(self, method: str) -> GatewayAnswer:
        _, customer = self.call("/v1/customers", [("name", "Ada")])
        path = f"/v1/payment_methods/{method}/attach"
        status, body = self.call(path, [("customer", customer["id"])])
        return GatewayAnswer(status, json.dumps(body).encode())

    def _drops(self, name: str) -> bool:
        if name.partition("[")[0] not in NOT_KNOWN_TO_LOCALSTRIPE:
            return False
        self.dropped.add(name.partition("[")[0])
        return True

    def _without_window(self, url: str) -> str:
        """localstripe cannot filter payment intents by `created`."""
        parts = urlsplit(url)
        query = [(name, value) for name, value in parse_qsl(parts.query) if "created" not in name]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def _with_totals(self, raw: bytes) -> bytes:
        """localstripe's payment intents have no `amount_received` and `amount_capturable`.

        A partial capture shows there as a refund of the rest, made by the capture itself.
        """
        body = json.loads(raw)
        intents = body["data"] if body.get("object") == "list" else [body]
        for intent in intents:
            if intent.get("object") == "payment_intent":
                charge = intent["latest_charge"] or {}
                held = charge.get("amount", 0) - charge.get("amount_refunded", 0)
                paid = intent["status"] == "succeeded"
                intent.setdefault("amount_received", held if paid else 0)
                waits = intent["status"] == "requires_capture"
                intent.setdefault("amount_capturable", held if waits else 0)
        return json.dumps(body).encode()


@pytest.fixture(scope="module")
def counterpart() -> Iterator[Counterpart]:
    assert PROGRAM.exists(), "install requirements/counterparts.txt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [PROGRAM, "--port", str(port), "--from-scratch"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(process, port)
        yield Counterpart(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        with suppress(OSError):
            STORE.unlink()


def await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "localstripe ended at its start"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("localstripe does not listen")


def authorized(counterpart: Counterpart, *, capture: bool) -> tuple[Operation, str]:
    op = operation(capture=capture, reference="order 7", return_url="https://shop.example/b")
    outcome = counterpart.run(op)
    assert outcome.result is Result.APPROVED
    assert outcome.gateway_reference is not None
    return op, outcome.gateway_reference


def follow_up(kind: OperationKind, first: Operation, payment: str, minor: int) -> Operation:
    return operation(kind, minor=minor, payment_id=first.payment_id, gateway_reference=payment)


def test_create_and_confirm_is_approved_and_captured(counterpart: Counterpart) -> None:
    outcome = counterpart.run(operation(description="Two tickets"))
    assert outcome.result is Result.APPROVED
    assert (outcome.amount_authorized_minor, outcome.amount_captured_minor) == (1099, 1099)
    assert counterpart.dropped <= set(NOT_KNOWN_TO_LOCALSTRIPE)


def test_the_intent_carries_our_ids(counterpart: Counterpart) -> None:
    op, payment = authorized(counterpart, capture=True)
    headers = {"Authorization": f"Bearer {STRIPE_SECRET}"}
    _, raw, _ = http("GET", f"{counterpart.url}/v1/payment_intents/{payment}", headers, None)
    intent = json.loads(raw)
    assert intent["metadata"] == {
        "strongroom_operation": op.id,
        "strongroom_payment": op.payment_id,
        "reference": "order 7",
    }
    assert (intent["amount"], intent["currency"]) == (1099, "eur")


def test_manual_capture_in_full(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=False)
    capture = follow_up(CAPTURE, first, payment, 1099)
    assert counterpart.ask(capture).result is Result.NOT_FOUND
    assert counterpart.run(capture).result is Result.SUCCEEDED
    assert counterpart.ask(capture).result is Result.SUCCEEDED


def test_partial_capture(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=False)
    capture = follow_up(CAPTURE, first, payment, 400)
    done = counterpart.run(capture)
    assert (done.result, done.amount_captured_minor) == (Result.SUCCEEDED, 400)
    assert counterpart.ask(follow_up(CAPTURE, first, payment, 401)).raw_code == "echo_mismatch"


def test_capture_twice_is_refused(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=True)
    assert counterpart.run(follow_up(CAPTURE, first, payment, 1099)).result is Result.REJECTED


def test_void(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=False)
    void = follow_up(VOID, first, payment, 1099)
    assert counterpart.ask(void).result is Result.NOT_FOUND
    assert counterpart.run(void).result is Result.SUCCEEDED
    assert counterpart.ask(void).result is Result.SUCCEEDED
    assert counterpart.run(void).result is Result.REJECTED


def test_void_of_a_captured_payment_is_refused(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=True)
    assert counterpart.run(follow_up(VOID, first, payment, 1099)).result is Result.REJECTED


def test_partial_refunds(counterpart: Counterpart) -> None:
    first, payment = authorized(counterpart, capture=True)
    one, two = follow_up(REFUND, first, payment, 300), follow_up(REFUND, first, payment, 100)
    assert counterpart.ask(one).result is Result.NOT_FOUND
    done = counterpart.run(one)
    assert done.result is Result.SUCCEEDED
    assert counterpart.run(two).result is Result.SUCCEEDED
    found = counterpart.ask(one)
    assert (found.result, found.gateway_reference) == (Result.SUCCEEDED, done.gateway_reference)


def test_refund_of_an_unknown_payment_is_refused(counterpart: Counterpart) -> None:
    first, _ = authorized(counterpart, capture=True)
    outcome = counterpart.run(follow_up(REFUND, first, "pi_nothere", 1))
    assert outcome.result is Result.REJECTED


@pytest.mark.parametrize("number", ["4000000000000341", *sorted(DECIDED_ON_ATTACH)])
def test_declines(counterpart: Counterpart, number: str) -> None:
    outcome = counterpart.run(operation(), number)
    assert outcome.result is Result.DECLINED
    assert outcome.raw_code == "card_declined"
    assert outcome.decline is not None
    assert outcome.decline.code == "generic_decline"


def test_a_declined_intent_is_found_declined(counterpart: Counterpart) -> None:
    op = operation()
    assert counterpart.run(op, "4000000000000341").result is Result.DECLINED
    found = counterpart.ask(op)
    assert found.result is Result.DECLINED
    assert found.gateway_reference is not None


def test_an_expiry_year_it_does_not_take(counterpart: Counterpart) -> None:
    body = counterpart.connector.build(operation())
    late = {**CARD, Slot.EXP_YEAR: "2018"}
    pairs = [
        (name.removeprefix("payment_method_data[").replace("]", "", 1), value)
        for name, value in parse_qsl(filled(body, late).decode())
        if name.startswith("payment_method_data")
    ]
    status, error = counterpart.call("/v1/payment_methods", pairs)
    answer = GatewayAnswer(status, json.dumps(error).encode())
    outcome = counterpart.connector.parse(operation(), answer)
    assert outcome.result is Result.DECLINED
    assert outcome.decline is not None
    assert outcome.decline.code == "invalid_expiry_year"


def test_inquiry_by_listing_page_by_page(counterpart: Counterpart) -> None:
    op, payment = authorized(counterpart, capture=True)
    for _ in range(30):
        counterpart.run(operation())
    outcome, pages = counterpart.ask(op), 1
    while outcome.result is Result.MORE and pages < 20:
        outcome, pages = counterpart.ask(op, cursor=outcome.cursor), pages + 1
    assert (outcome.result, outcome.gateway_reference) == (Result.APPROVED, payment)
    missing = counterpart.ask(operation())
    while missing.result is Result.MORE:
        missing = counterpart.ask(operation(), cursor=missing.cursor)
    assert missing.result is Result.NOT_FOUND


@pytest.mark.parametrize(
    ("number", "success", "result"),
    [
        ("4000002760003184", "true", Result.APPROVED),
        ("4000002760003184", "false", Result.DECLINED),
        ("4000008400001629", "true", Result.DECLINED),
    ],
)
def test_authentication(
    counterpart: Counterpart, number: str, success: str, result: Result
) -> None:
    """localstripe answers `use_stripe_sdk`, which has no URL: unknown, then found by inquiry."""
    op = operation(return_url="https://shop.example/b")
    waiting = counterpart.run(op, number)
    assert (waiting.result, waiting.raw_code) == (Result.UNKNOWN, "redirect_url_invalid")
    found = newest_intent(counterpart)
    path = f"/v1/payment_intents/{found['id']}/_authenticate"
    counterpart.call(path, [("client_secret", found["client_secret"]), ("success", success)])
    later = operation(id=op.id, payment_id=op.payment_id, gateway_reference=found["id"])
    outcome = counterpart.ask(later)
    assert outcome.result is result
    if success == "false":
        assert outcome.decline is not None
        assert outcome.decline.code == "authentication_failed"


def test_a_wrong_key_is_ours_to_mend(counterpart: Counterpart) -> None:
    op = operation()
    request = counterpart.connector.build(op)
    status, raw, _ = http("POST", request.url, {"Authorization": "Bearer nothing"}, b"")
    outcome = counterpart.connector.parse(op, GatewayAnswer(status, raw))
    assert (outcome.result, outcome.raw_code) == (Result.RETRY, "unauthorized")


def newest_intent(counterpart: Counterpart) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {STRIPE_SECRET}"}
    url = f"{counterpart.url}/v1/payment_intents?limit=100"
    _, raw, _ = http("GET", url, headers, None)
    waiting = [one for one in json.loads(raw)["data"] if one["status"] == "requires_action"]
    found: dict[str, Any] = waiting[0]
    return found
