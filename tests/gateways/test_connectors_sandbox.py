"""The sandbox connector against the sandbox gateway itself, over HTTP: the two prove each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from strongroom.gateways import Connector, Operation, OperationKind, Outcome, Result
from strongroom.gateways.sandbox_server import Settings, running
from strongroom.kernel.secret import Secret
from strongroom.vault import Slot
from tests.gateways.connectors_support import (
    CARD,
    SANDBOX_SECRET,
    WEBHOOK_SECRET,
    http,
    operation,
    sandbox,
    send,
)

CAPTURE, VOID = OperationKind.CAPTURE, OperationKind.VOID
REFUND, CONFIRM = OperationKind.REFUND, OperationKind.CONFIRM
GOOD, CHALLENGED = "4242424242424242", "4000002760003184"
ELEVATED = "4000000000009235"


class Gateway:
    def __init__(self, url: str, events: Queue[tuple[dict[str, str], bytes]]) -> None:
        self.url = url
        self.events = events
        self.connector: Connector = sandbox(url)

    def run(self, op: Operation, number: str = GOOD, fault: str | None = None) -> Outcome:
        headers = {"Sandbox_Fault": fault} if fault else {}
        answer = send(self.connector.build(op), {**CARD, Slot.NUMBER: number}, **headers)
        return self.connector.parse(op, answer)

    def ask(self, op: Operation, fault: str | None = None) -> Outcome:
        headers = {"Sandbox_Fault": fault} if fault else {}
        return self.connector.parse_inquiry(op, send(self.connector.inquire(op), **headers))

    def control(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {SANDBOX_SECRET}"}
        return json.loads(http("GET", self.url + path, headers, None)[1])


@pytest.fixture(scope="module")
def events() -> Iterator[tuple[str, Queue[tuple[dict[str, str], bytes]]]]:
    """A receiver of webhooks: its URL and what arrived."""
    queue: Queue[tuple[dict[str, str], bytes]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            queue.put((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks", queue
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def gateway(events: tuple[str, Queue[tuple[dict[str, str], bytes]]]) -> Iterator[Gateway]:
    url, queue = events
    settings = Settings(
        secret=Secret(SANDBOX_SECRET), webhook_url=url, webhook_secret=Secret(WEBHOOK_SECRET)
    )
    with running(settings) as base:
        yield Gateway(base, queue)


def after(first: Operation, outcome: Outcome, kind: OperationKind, minor: int = 1099) -> Operation:
    return operation(
        kind,
        minor=minor,
        payment_id=first.payment_id,
        gateway_reference=outcome.gateway_reference,
        capture=first.capture,
    )


def test_approved_and_found_again(gateway: Gateway) -> None:
    op = operation(reference="order 7", return_url="https://shop.example/b")
    assert gateway.ask(op).result is Result.NOT_FOUND
    done = gateway.run(op)
    assert (done.result, done.amount_captured_minor) == (Result.APPROVED, 1099)
    assert gateway.ask(op) == done
    assert gateway.run(op) == done
    assert gateway.control(f"/control/ledger?reference={op.id}")["duplicates"] == []


def test_capture_in_parts_then_void_and_refund(gateway: Gateway) -> None:
    op = operation(capture=False)
    paid = gateway.run(op)
    assert (paid.result, paid.amount_captured_minor) == (Result.APPROVED, 0)
    for part, total in ((400, 400), (300, 700)):
        capture = after(op, paid, CAPTURE, part)
        done = gateway.run(capture)
        assert (done.result, done.amount_captured_minor) == (Result.SUCCEEDED, total)
        assert gateway.ask(capture).result is Result.SUCCEEDED
    assert gateway.ask(op).amount_captured_minor == 700
    assert gateway.run(after(op, paid, CAPTURE, 400)).result is Result.REJECTED
    void = after(op, paid, VOID, 399)
    assert gateway.run(void).result is Result.SUCCEEDED
    assert gateway.ask(void).result is Result.SUCCEEDED
    refund = after(op, paid, REFUND, 700)
    back = gateway.run(refund)
    assert back.result is Result.SUCCEEDED
    assert gateway.ask(refund).gateway_reference == back.gateway_reference
    again = gateway.run(after(op, paid, REFUND, 1))
    assert again.decline is not None
    assert (again.result, again.decline.code) == (Result.REJECTED, "already_refunded")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4000000000000002", "generic_decline"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000009987", "lost_card"),
        ("4000000000009979", "stolen_card"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000119", "processing_error"),
        ("4242424242424241", "incorrect_number"),
    ],
)
def test_declines(gateway: Gateway, number: str, code: str) -> None:
    op = operation()
    outcome = gateway.run(op, number)
    assert outcome.result is Result.DECLINED
    assert outcome.decline is not None
    assert outcome.decline.code == outcome.raw_code == code
    assert gateway.ask(op) == outcome


def test_blocked(gateway: Gateway) -> None:
    outcome = gateway.run(operation(), "4100000000000019")
    assert (outcome.result, outcome.risk) == (Result.BLOCKED, "highest")


@pytest.mark.parametrize("capture", [True, False])
def test_held_then_confirmed(gateway: Gateway, capture: bool) -> None:
    op = operation(capture=capture)
    held = gateway.run(op, ELEVATED)
    assert (held.result, held.risk) == (Result.HELD, "elevated")
    confirm = after(op, held, CONFIRM)
    done = gateway.run(confirm)
    assert (done.result, done.amount_captured_minor) == (Result.SUCCEEDED, 1099 if capture else 0)
    assert gateway.ask(confirm).result is Result.SUCCEEDED
    assert gateway.ask(op).result is Result.APPROVED


@pytest.mark.parametrize(
    ("press", "result"), [("complete", Result.APPROVED), ("fail", Result.DECLINED)]
)
def test_authentication(gateway: Gateway, press: str, result: Result) -> None:
    op = operation(return_url="https://shop.example/b")
    waiting = gateway.run(op, CHALLENGED)
    assert waiting.result is Result.ACTION_REQUIRED
    assert waiting.redirect_url is not None
    assert gateway.ask(op) == waiting
    status, _, headers = http("POST", f"{waiting.redirect_url}/{press}", {}, b"")
    assert (status, headers["location"].split("?")[0]) == (303, "https://shop.example/b")
    found = gateway.ask(op)
    assert found.result is result
    if result is Result.DECLINED:
        assert found.decline is not None
        assert found.decline.code == "authentication_failed"


def test_a_refund_that_takes_time(gateway: Gateway) -> None:
    op = operation()
    paid = gateway.run(op, "4000000000007726")
    refund = after(op, paid, REFUND, 100)
    assert gateway.run(refund).result is Result.PENDING
    headers = {"Authorization": f"Bearer {SANDBOX_SECRET}", "Content-Length": "0"}
    http("POST", f"{gateway.url}/control/advance", headers, b"")
    assert gateway.ask(refund).result is Result.SUCCEEDED


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong_amount", "echo_mismatch"),
        ("wrong_currency", "echo_mismatch"),
        ("garbage", "unparsable"),
        ("error=500", "http_500"),
        ("error_after=503", "http_503"),
        ("error_after=400", "internal_error"),
    ],
)
@pytest.mark.parametrize("kind", [OperationKind.AUTHORIZE, CAPTURE, REFUND])
def test_a_faulty_answer_proves_nothing(
    gateway: Gateway, kind: OperationKind, fault: str, reason: str
) -> None:
    op = operation(capture=kind is not CAPTURE)
    target = op
    if kind is not OperationKind.AUTHORIZE:
        target = after(op, gateway.run(op), kind, 500)
    outcome = gateway.run(target, fault=fault)
    assert outcome.result is Result.UNKNOWN
    assert outcome.raw_code == reason
    processed = not fault.startswith("error=")
    found = gateway.ask(target).result
    good = Result.APPROVED if kind is OperationKind.AUTHORIZE else Result.SUCCEEDED
    assert found is (good if processed else Result.NOT_FOUND)
    assert gateway.run(target).result is good
    assert gateway.control(f"/control/ledger?reference={target.id}")["duplicates"] == []


@pytest.mark.parametrize("fault", ["wrong_amount", "wrong_currency", "garbage", "error=500"])
def test_a_faulty_inquiry_proves_nothing(gateway: Gateway, fault: str) -> None:
    op = operation()
    gateway.run(op)
    assert gateway.ask(op, fault=fault).result is Result.UNKNOWN
    assert gateway.ask(op).result is Result.APPROVED


def test_lost_after_processing_is_found(gateway: Gateway) -> None:
    op = operation()
    with pytest.raises((OSError, HTTPException)):
        gateway.run(op, fault="reset_after")
    assert gateway.ask(op).result is Result.APPROVED
    lost = operation()
    with pytest.raises((OSError, HTTPException)):
        gateway.run(lost, fault="reset_before")
    assert gateway.ask(lost).result is Result.NOT_FOUND


def test_the_same_key_with_another_body_is_unknown(gateway: Gateway) -> None:
    op = operation()
    gateway.run(op)
    other = operation(id=op.id, payment_id=op.payment_id, minor=1)
    outcome = gateway.run(other)
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "idempotency_key_reused")


def test_a_wrong_key_is_ours_to_mend(gateway: Gateway) -> None:
    stranger = sandbox(gateway.url, secret="sbx_sk_other")
    op = operation()
    outcome = stranger.parse(op, send(stranger.build(op)))
    assert (outcome.result, outcome.raw_code) == (Result.RETRY, "unauthorized")


def test_its_webhooks_verify(gateway: Gateway) -> None:
    op = operation()
    done = gateway.run(op)
    while True:
        headers, body = gateway.events.get(timeout=10)
        event = gateway.connector.parse_webhook(headers, body, now=datetime.now(UTC))
        if event.operation_id == op.id:
            break
    assert (event.topic, event.gateway_reference) == ("payment", done.gateway_reference)
    assert event.type.startswith("charge.")


def test_a_verification_of_no_amount(gateway: Gateway) -> None:
    outcome = gateway.run(operation(minor=0, capture=False))
    assert (outcome.result, outcome.amount_captured_minor) == (Result.APPROVED, 0)
