"""The sandbox gateway over real HTTP: cards, idempotency, 3DS, webhooks, settlement, faults."""

from __future__ import annotations

import csv
import hashlib
import hmac
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from strongroom.gateways.sandbox_server import Settings, running
from strongroom.gateways.sandbox_server.cards import BEHAVIORS, NUMBERS
from strongroom.gateways.sandbox_server.index import Index
from strongroom.kernel.secret import Secret, luhn_valid

KEY = "sbx_sk_test"
HOOK_SECRET = "whs_test"
OK = "4242424242424242"
_numbers = count(1)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, url: str) -> None:
        self.url = url
        self.timeout_s = 5.0

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        fault: str | None = None,
        bearer: str | None = KEY,
    ) -> Reply:
        link = http.client.HTTPConnection(
            urlsplit(self.url).netloc.split(":")[0], urlsplit(self.url).port, timeout=self.timeout_s
        )
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if fault is not None:
            headers["Sandbox-Fault"] = fault
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        try:
            link.request(method, path, data, headers)
            answer = link.getresponse()
            given = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, given, answer.read())
        finally:
            link.close()

    def get(self, path: str, **more: Any) -> Reply:
        return self.send("GET", path, **more)

    def charge(self, number: str = OK, *, key: str | None = None, fault: str | None = None,
               **fields: Any) -> Reply:  # fmt: skip
        body = charge_body(number, **fields)
        return self.send("POST", "/v1/charges", body, key=key or body["reference"], fault=fault)

    def follow(self, charge: str, verb: str, *, key: str | None = None, fault: str | None = None,
               **fields: Any) -> Reply:  # fmt: skip
        body = {"reference": new_reference(), **fields}
        path = f"/v1/charges/{charge}/{verb}"
        return self.send("POST", path, body, key=key or body["reference"], fault=fault)

    def ledger(self, query: str = "") -> Any:
        return self.get(f"/control/ledger{query}").json

    def control(self, path: str, **body: Any) -> Reply:
        return self.send("POST", f"/control/{path}", body or None)


def new_reference() -> str:
    return f"op_{next(_numbers):026d}"


def charge_body(number: str = OK, **fields: Any) -> dict[str, Any]:
    cvc = "1234" if number.startswith(("34", "37")) else "123"
    card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": cvc}
    card |= fields.pop("card", {})
    return {"amount": 1099, "currency": "EUR", "reference": new_reference(), **fields,
            "card": {k: v for k, v in card.items() if v is not None}}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(Settings(secret=Secret(KEY), late_s=60.0)) as url:
        yield url


@pytest.fixture
def gateway(server: str) -> Client:
    client = Client(server)
    assert client.control("reset").status == 200
    assert client.control("webhook", url=None).status == 200
    return client


# --- edge


def test_only_the_configured_key_is_let_in(gateway: Client) -> None:
    assert gateway.get("/v1/charges/ch_x", bearer=None).status == 401
    assert gateway.get("/control/ledger", bearer="sbx_sk_tesu").status == 401
    assert gateway.get("/health", bearer=None).json == {"status": "ok"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"amount": "1099"}, "amount"),
        ({"amount": 10.5}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EUR\n"}, "currency"),
        ({"reference": "a b"}, "reference"),
        ({"card": {"number": "4242 4242 4242 4242"}}, "card.number"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"return_url": "https://u@shop.example/"}, "return_url"),
        ({"unknown": 1}, None),
    ],
)
def test_malformed_charges_are_refused_and_leave_nothing(
    gateway: Client, change: dict[str, Any], param: str | None
) -> None:
    reply = gateway.charge(key="k", **change)
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_request")
    assert reply.json["error"]["param"] == param
    assert OK not in reply.body.decode()
    assert gateway.ledger()["charges"] == 0


def test_protocol_errors_have_codes(gateway: Client) -> None:
    assert gateway.send("POST", "/v1/charges", charge_body()).json["error"]["code"] == (
        "idempotency_key_missing"
    )
    assert gateway.send("POST", "/v1/charges", b"{", key="k").status == 400
    assert gateway.send("POST", "/v1/charges", b"x" * 70_000, key="k").status == 413
    assert gateway.send("GET", "/v1/charges").status == 405
    assert gateway.get("/v1/charges/ch_nothere").json["error"]["code"] == "charge_not_found"
    assert gateway.get("/nowhere").status == 404


# --- cards


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        (OK, "visa"), ("4000056655665556", "visa"), ("4012888888881881", "visa"),
        ("5555555555554444", "mastercard"), ("5200828282828210", "mastercard"),
        ("5105105105105100", "mastercard"), ("378282246310005", "amex"),
        ("371449635398431", "amex"), ("6011111111111117", "discover"),
        ("30569309025904", "diners"), ("3530111333300000", "jcb"),
        ("6200000000000005", "unionpay"), ("2223003122003222", "mastercard"),
    ],
)  # fmt: skip
def test_good_cards_are_approved_and_captured(gateway: Client, number: str, brand: str) -> None:
    charge = gateway.charge(number, merchant_reference="order-7").json
    assert (charge["status"], charge["captured_amount"]) == ("approved", 1099)
    assert charge["card"] == {"brand": brand, "last4": number[-4:]}
    assert charge["checks"] == {"cvc": "pass", "avs": "unchecked"}
    assert (charge["outcome"], charge["merchant_reference"]) == ("authorized", "order-7")
    assert len(charge["network_transaction_id"]) == 15
    assert gateway.get(f"/v1/charges/{charge['id']}").json == charge


@pytest.mark.parametrize(
    ("number", "code"),
    [(n, b.decline) for n, name in NUMBERS.items()
     if (b := BEHAVIORS[name]).decline and b.authentication == "none"]
    + [("4242424242424241", "incorrect_number")],
)  # fmt: skip
def test_declining_cards_say_their_code(gateway: Client, number: str, code: str) -> None:
    reply = gateway.charge(number)
    assert (reply.status, reply.json["status"]) == (200, "declined")
    assert reply.json["decline"]["code"] == code
    assert reply.json["decline"]["network_code"]
    assert (reply.json["captured_amount"], reply.json["capturable_amount"]) == (0, 0)


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"exp_year": 2020}, "expired_card"),
        ({"exp_month": 13}, "invalid_expiry_month"),
        ({"exp_year": 26}, "invalid_expiry_year"),
        ({"cvc": "1234"}, "incorrect_cvc"),
        ({"number": "378282246310005", "cvc": "123"}, "incorrect_cvc"),
    ],
)
def test_wrong_card_data_is_declined(gateway: Client, card: dict[str, Any], code: str) -> None:
    assert gateway.charge(card=card).json["decline"]["code"] == code


def test_the_month_of_expiry_is_still_good(gateway: Client) -> None:
    now = datetime.now(UTC)
    charge = gateway.charge(card={"exp_month": now.month, "exp_year": now.year}).json
    assert charge["status"] == "approved"


@pytest.mark.parametrize(
    ("number", "checks"),
    [
        ("4000000000000010", {"cvc": "pass", "avs": "no_match"}),
        ("4000000000000028", {"cvc": "pass", "avs": "line1_mismatch"}),
        ("4000000000000036", {"cvc": "pass", "avs": "postal_mismatch"}),
        ("4000000000000101", {"cvc": "fail", "avs": "unchecked"}),
    ],
)
def test_failed_checks_do_not_decline(gateway: Client, number: str, checks: dict[str, str]) -> None:
    charge = gateway.charge(number).json
    assert (charge["status"], charge["checks"]) == ("approved", checks)
    without = gateway.charge(card={"cvc": None, "billing": {"line1": "a"}}).json
    assert without["checks"] == {"cvc": "unchecked", "avs": "match"}


def test_highest_risk_is_blocked_and_elevated_risk_is_held(gateway: Client) -> None:
    blocked = gateway.charge("4100000000000019").json
    assert (blocked["status"], blocked["decline"]["code"]) == ("declined", "fraudulent")
    assert (blocked["risk"]["level"], blocked["outcome"]) == ("highest", "blocked")
    held = gateway.charge("4000000000009235").json
    assert (held["status"], held["captured_amount"], held["capturable_amount"]) == ("held", 0, 1099)
    assert (held["risk"]["level"], held["outcome"]) == ("elevated", "manual_review")
    released = gateway.follow(held["id"], "release").json
    assert (released["charge"]["status"], released["charge"]["captured_amount"]) == (
        "approved", 1099,
    )  # fmt: skip
    assert gateway.follow(held["id"], "release").json["error"]["code"] == "charge_not_held"


def test_a_card_can_be_verified_without_money(gateway: Client) -> None:
    charge = gateway.charge("4000000000000341", amount=0, capture=False).json
    assert (charge["status"], charge["outcome"]) == ("approved", "verified")
    assert gateway.charge("4000000000000341").json["status"] == "declined"


def test_every_magic_number_passes_luhn() -> None:
    assert all(luhn_valid(number) for number in NUMBERS)


# --- capture, void, refund


def test_partial_captures_and_refunds_add_up(gateway: Client) -> None:
    charge = gateway.charge(capture=False).json
    assert (charge["captured_amount"], charge["capturable_amount"]) == (0, 1099)
    assert gateway.follow(charge["id"], "refunds").json["error"]["code"] == "charge_not_captured"
    first = gateway.follow(charge["id"], "capture", amount=400).json
    assert first["operation"]["kind"] == "capture"
    assert (first["operation"]["status"], first["operation"]["amount"]) == ("succeeded", 400)
    assert first["charge"]["capturable_amount"] == 699
    too_much = gateway.follow(charge["id"], "capture", amount=700)
    assert (too_much.status, too_much.json["error"]["code"]) == (400, "amount_too_large")
    assert gateway.follow(charge["id"], "capture").json["operation"]["amount"] == 699
    done = gateway.follow(charge["id"], "capture")
    assert done.json["error"]["code"] == "charge_already_captured"
    for amount in (99, 500):
        gateway.follow(charge["id"], "refunds", amount=amount)
    assert gateway.follow(charge["id"], "refunds", amount=501).status == 400
    last = gateway.follow(charge["id"], "refunds").json
    assert (last["operation"]["amount"], last["charge"]["refunded_amount"]) == (500, 1099)
    again = gateway.follow(charge["id"], "refunds")
    assert again.json["error"]["code"] == "charge_already_refunded"
    ledger = gateway.ledger()
    assert (ledger["captured_minor"], ledger["refunded_minor"]) == (1099, 1099)
    assert (ledger["charges"], ledger["captures"], ledger["refunds"]) == (1, 2, 3)


def test_voids(gateway: Client) -> None:
    charge = gateway.charge(capture=False).json
    voided = gateway.follow(charge["id"], "void").json["charge"]
    assert (voided["status"], voided["voided_amount"]) == ("voided", 1099)
    for verb in ("void", "capture"):
        reply = gateway.follow(charge["id"], verb)
        assert reply.json["error"]["code"] == "charge_already_voided"
    captured = gateway.charge().json
    reply = gateway.follow(captured["id"], "void")
    assert reply.json["error"]["code"] == "charge_already_captured"
    partly = gateway.charge(capture=False).json["id"]
    gateway.follow(partly, "capture", amount=99)
    rest = gateway.follow(partly, "void").json
    assert (rest["operation"]["amount"], rest["charge"]["status"]) == (1000, "approved")
    assert rest["charge"]["capturable_amount"] == 0
    declined = gateway.charge("4000000000000002").json["id"]
    assert gateway.follow(declined, "capture").json["error"]["code"] == "charge_not_approved"


def test_refunds_that_end_later(gateway: Client) -> None:
    late = gateway.charge("4000000000007726").json["id"]
    pending = gateway.follow(late, "refunds", reference="op_late").json
    assert pending["operation"]["status"] == "pending"
    failing = gateway.charge("4000000000005126").json["id"]
    first = gateway.follow(failing, "refunds", reference="op_fails").json
    assert (first["operation"]["status"], first["charge"]["refunded_amount"]) == (
        "succeeded", 1099,
    )  # fmt: skip
    assert gateway.control("advance").json["steps"] == 2
    ended = gateway.get("/v1/operations?reference=op_late").json
    assert ended["operation"]["status"] == "succeeded"
    failed = gateway.get("/v1/operations?reference=op_fails").json
    assert (failed["operation"]["status"], failed["charge"]["refunded_amount"]) == ("failed", 0)
    assert failed["operation"]["failure"]["code"] == "refund_failed"


# --- inquiry and idempotency


def test_an_inquiry_tells_what_became_of_a_reference(gateway: Client) -> None:
    missing = gateway.get("/v1/operations?reference=op_never")
    assert (missing.status, missing.json["error"]["code"]) == (404, "operation_not_found")
    charge = gateway.charge(reference="op_a").json
    found = gateway.get("/v1/operations?reference=op_a").json
    assert found["charge"] == charge
    assert (found["operation"]["kind"], found["operation"]["status"]) == ("charge", "succeeded")
    refund = gateway.follow(charge["id"], "refunds", reference="op_b", amount=5).json
    assert gateway.get("/v1/operations?reference=op_b&kind=refund").json == refund
    assert gateway.get("/v1/operations?reference=op_b&kind=charge").status == 404
    gateway.charge("4000000000009995", reference="op_c")
    declined = gateway.get("/v1/operations?reference=op_c").json["operation"]
    assert (declined["status"], declined["failure"]["code"]) == ("failed", "insufficient_funds")
    assert gateway.get("/v1/operations").status == 400


def test_the_same_key_gives_the_first_answer_byte_for_byte(gateway: Client) -> None:
    body = charge_body(capture=False)
    first = gateway.send("POST", "/v1/charges", body, key="k1")
    charge = first.json["id"]
    capture = {"reference": "op_cap", "amount": 100}
    path = f"/v1/charges/{charge}/capture"
    captured = gateway.send("POST", path, capture, key="k2")
    gateway.follow(charge, "capture")
    reordered = json.dumps(dict(reversed(body.items())), indent=1).encode()
    again = gateway.send("POST", "/v1/charges", reordered, key="k1")
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    assert "idempotent-replayed" not in first.headers
    assert gateway.send("POST", path, capture, key="k2").body == captured.body
    assert (gateway.ledger()["charges"], gateway.ledger()["captures"]) == (1, 2)


def test_the_same_key_for_something_else_is_refused(gateway: Client) -> None:
    body = charge_body()
    charge = gateway.send("POST", "/v1/charges", body, key="k").json["id"]
    other = gateway.send("POST", "/v1/charges", {**body, "amount": 1}, key="k")
    assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert gateway.follow(charge, "refunds", key="k").status == 422
    assert gateway.ledger()["refunded_minor"] == 0


def test_a_key_still_running_is_refused(gateway: Client) -> None:
    body = charge_body()
    slow = threading.Thread(
        target=lambda: gateway.send("POST", "/v1/charges", body, key="k", fault="slow=600")
    )
    slow.start()
    time.sleep(0.2)
    running_still = gateway.send("POST", "/v1/charges", body, key="k")
    assert (running_still.status, running_still.headers["retry-after"]) == (409, "1")
    slow.join()
    done = gateway.send("POST", "/v1/charges", body, key="k")
    assert (done.status, done.headers["idempotent-replayed"]) == (200, "true")
    assert gateway.ledger()["charges"] == 1


def test_the_ledger_shows_a_reference_charged_twice(gateway: Client) -> None:
    for key in ("k1", "k2"):
        gateway.charge(key=key, reference="op_twice")
    ledger = gateway.ledger("?reference=op_twice")
    assert ledger["duplicates"] == ["op_twice"]
    assert [entry["kind"] for entry in ledger["operations"]] == ["charge", "charge"]
    assert ledger["captured_minor"] == 2198
    assert OK not in json.dumps(ledger)


# --- 3DS


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        ("4000002500003155", "approved", None),
        ("4000002760003184", "approved", None),
        ("4000008260003178", "declined", "insufficient_funds"),
        ("4000000000003220", "approved", None),
        ("4000000000003063", "approved", None),
        ("4000008400001629", "declined", "generic_decline"),
    ],
)
def test_3ds_completed(gateway: Client, number: str, status: str, code: str | None) -> None:
    first = gateway.charge(number, return_url="https://shop.example/back?a=1&b=%26").json
    assert (first["status"], first["outcome"]) == ("action_required", "pending")
    page = urlsplit(first["action"]["redirect_url"]).path
    pressed = gateway.send("POST", f"{page}/complete", bearer=None)
    assert (pressed.status, pressed.headers["location"]) == (
        303, f"https://shop.example/back?a=1&b=%26&charge={first['id']}&result=complete",
    )  # fmt: skip
    charge = gateway.get(f"/v1/charges/{first['id']}").json
    assert (charge["status"], charge["action"]) == (status, None)
    assert charge["authentication"] == {"status": "succeeded"}
    assert charge["captured_amount"] == (1099 if status == "approved" else 0)
    assert (charge["decline"] or {"code": None})["code"] == code


def test_3ds_failed_stays_failed(gateway: Client) -> None:
    first = gateway.charge("4000002760003184").json
    page = urlsplit(first["action"]["redirect_url"]).path
    shown = gateway.get(page, bearer=None)
    assert b"Complete" in shown.body
    assert b"<script" not in shown.body
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert gateway.send("POST", f"{page}/fail", bearer=None).status == 200
    assert gateway.send("POST", f"{page}/complete", bearer=None).status == 200
    charge = gateway.get(f"/v1/charges/{first['id']}").json
    assert (charge["status"], charge["decline"]["code"]) == ("declined", "authentication_failed")


def test_3ds_page_is_only_for_who_was_sent_there(gateway: Client) -> None:
    first = gateway.charge("4000002760003184", return_url="https://shop.example:8443/x").json
    page = urlsplit(first["action"]["redirect_url"]).path
    assert gateway.get(page[:-1] + ("0" if page[-1] != "0" else "1"), bearer=None).status == 404
    assert gateway.get(f"{page}/complete", bearer=None).status == 405
    policy = gateway.get(page, bearer=None).headers["content-security-policy"]
    assert "form-action 'self' https://shop.example:8443;" in policy
    voided = gateway.follow(first["id"], "void").json["charge"]
    assert voided["status"] == "voided"
    gateway.send("POST", f"{page}/complete", bearer=None)
    assert gateway.get(f"/v1/charges/{first['id']}").json["status"] == "voided"


def test_3ds_without_the_card_holder(gateway: Client) -> None:
    assert gateway.charge("4000002500003155", off_session=True).json["status"] == "approved"
    needs = gateway.charge("4000002760003184", off_session=True).json
    assert needs["decline"]["code"] == "authentication_required"
    assert gateway.charge("4000000000003055").json["status"] == "approved"
    asked = gateway.charge("4000000000003055", request_3ds=True).json
    assert asked["status"] == "action_required"


# --- webhooks


class Receiver:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.refuse = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(body, self.headers["sandbox-signature"])
                status = 500 if outer.refuse > 0 else 204
                outer.refuse -= 1
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def take(self, body: bytes, signature: str) -> None:
        stamp, _, given = signature.removeprefix("t=").partition(",v1=")
        digest = hmac.new(HOOK_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        assert hmac.compare_digest(digest.hexdigest(), given)
        assert abs(time.time() - int(stamp)) < 5
        self.events.append(json.loads(body))

    def wait(self, number: int, timeout_s: float = 5.0) -> list[Any]:
        deadline = time.monotonic() + timeout_s
        while len(self.events) < number and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(self.events) == number, [event["type"] for event in self.events]
        return self.events

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver(gateway: Client) -> Iterator[Receiver]:
    receiver = Receiver()
    gateway.control("webhook", url=receiver.url, secret=HOOK_SECRET)
    yield receiver
    gateway.control("webhook", url=None)
    receiver.close()


def kinds(events: list[Any]) -> list[str]:
    return sorted(event["type"] for event in events)


def test_events_are_signed_and_tell_charge_and_operation(
    gateway: Client, receiver: Receiver
) -> None:
    charge = gateway.charge(capture=False).json
    captured = gateway.follow(charge["id"], "capture").json
    refunded = gateway.follow(charge["id"], "refunds").json
    events = receiver.wait(3)
    assert kinds(events) == ["charge.approved", "charge.captured", "refund.succeeded"]
    by_type = {event["type"]: event["data"] for event in events}
    assert by_type["charge.approved"]["charge"] == charge
    assert by_type["charge.captured"]["operation"] == captured["operation"]
    assert by_type["refund.succeeded"]["charge"] == refunded["charge"]
    assert len({event["id"] for event in events}) == 3


def test_a_refused_event_comes_again(gateway: Client, receiver: Receiver) -> None:
    receiver.refuse = 1
    gateway.charge("4000000000000002")
    first, second = receiver.wait(2)
    assert first == second
    assert gateway.get("/control/events").json["delivered"] >= 1


def test_events_of_what_happens_later(gateway: Client, receiver: Receiver) -> None:
    gateway.control("webhook", url=receiver.url, secret=HOOK_SECRET, events="async")
    for number in ("4000000000000259", "4000000000001976", "4000000000005423"):
        gateway.charge(number)
    failing = gateway.charge("4000000000005126").json["id"]
    gateway.follow(failing, "refunds")
    waiting = gateway.charge("4000002760003184").json
    gateway.send("POST", urlsplit(waiting["action"]["redirect_url"]).path + "/complete")
    gateway.control("advance")
    events = receiver.wait(6)
    assert kinds(events) == [
        "charge.approved", "charge.captured", "dispute.opened", "dispute.opened",
        "fraud_warning.created", "refund.failed",
    ]  # fmt: skip
    disputes = {e["data"]["dispute"]["status"] for e in events if e["type"] == "dispute.opened"}
    assert disputes == {"needs_response", "inquiry"}


def test_duplicate_and_reordered_events(gateway: Client, receiver: Receiver) -> None:
    gateway.charge("4000000000000002", fault="duplicate_webhook")
    first, second = receiver.wait(2)
    assert first["id"] == second["id"]
    receiver.events.clear()
    gateway.charge("4000990000000343", reference="op_first")
    gateway.charge("4000000000000002", reference="op_second")
    events = receiver.wait(3)
    assert events[0]["data"]["charge"]["reference"] == "op_second"
    assert kinds(events[1:]) == ["charge.approved", "charge.captured"]


# --- settlement


def test_the_settlement_file_adds_up(gateway: Client) -> None:
    before = datetime.now(UTC).date()
    charge = gateway.charge(amount=10_000, merchant_reference='a,"b').json["id"]
    gateway.follow(charge, "refunds", amount=2_500)
    manual = gateway.charge(amount=1_000, capture=False, currency="USD").json["id"]
    gateway.follow(manual, "capture", amount=300)
    gateway.charge("4000000000000002")
    day = datetime.now(UTC).date()
    if day != before:
        pytest.skip("midnight")
    reply = gateway.get(f"/v1/settlements/{day}.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(reply.body.decode())))
    money = [(line["type"], line["currency"], int(line["gross_minor"]), int(line["fee_minor"]))
             for line in lines]  # fmt: skip
    assert money == [("capture", "EUR", 10_000, 165), ("refund", "EUR", -2_500, 0),
                     ("capture", "USD", 300, 29), ("total", "EUR", 7_500, 165),
                     ("total", "USD", 300, 29)]  # fmt: skip
    assert lines[0]["merchant_reference"] == 'a,"b'
    assert lines[3]["net_minor"] == "7335"
    assert len(gateway.get("/v1/settlements/2001-01-01.csv").body.splitlines()) == 1
    assert gateway.get("/v1/settlements/2001-13-01.csv").status == 404


# --- faults


def is_processed(gateway: Client, reference: str) -> bool:
    return gateway.get(f"/v1/operations?reference={reference}").status == 200


@pytest.mark.parametrize(("fault", "processed"), [("reset_before", False), ("reset_after", True)])
def test_resets(gateway: Client, fault: str, processed: bool) -> None:
    with pytest.raises(ConnectionResetError) as broken:
        gateway.charge(reference="op_r", fault=fault)
    assert broken.type is ConnectionResetError  # not RemoteDisconnected: that is a plain end
    assert is_processed(gateway, "op_r") is processed
    assert gateway.ledger()["charges"] == int(processed)


@pytest.mark.parametrize(("fault", "processed"), [("error=503", False), ("error_after=502", True)])
def test_server_errors(gateway: Client, fault: str, processed: bool) -> None:
    reply = gateway.charge(reference="op_e", fault=fault)
    assert reply.status == int(fault[-3:])
    assert is_processed(gateway, "op_e") is processed


def test_slow_and_silent(gateway: Client) -> None:
    began = time.monotonic()
    assert gateway.charge(fault="slow=300").status == 200
    assert time.monotonic() - began >= 0.3
    gateway.timeout_s = 0.3
    with pytest.raises(TimeoutError):
        gateway.charge(reference="op_t", fault="timeout_after")
    assert is_processed(gateway, "op_t")
    gateway.timeout_s = 5
    with pytest.raises(http.client.RemoteDisconnected):
        gateway.charge(reference="op_u", fault="timeout_after=100")


def test_broken_bodies(gateway: Client) -> None:
    with pytest.raises(ValueError, match=r"utf-8|Expecting|codec"):
        _ = gateway.charge(fault="garbage").json
    with pytest.raises(http.client.IncompleteRead):
        gateway.charge(fault="truncated")
    huge = gateway.charge(fault="huge")
    assert len(huge.body) > 10 * 1024 * 1024
    assert huge.json["status"] == "approved"
    began = time.monotonic()
    assert gateway.charge(fault="slow_drip=1").json["status"] == "approved"
    assert time.monotonic() - began > 0.4
    assert gateway.ledger()["charges"] == 4


def test_twisted_answers(gateway: Client) -> None:
    charge = gateway.charge(capture=False, fault="wrong_amount").json
    assert charge["amount"] == 1100
    assert gateway.charge(fault="wrong_currency").json["currency"] == "USD"
    captured = gateway.follow(charge["id"], "capture", amount=5, fault="wrong_amount").json
    assert (captured["operation"]["amount"], captured["charge"]["captured_amount"]) == (6, 6)
    assert gateway.get(f"/v1/charges/{charge['id']}").json["captured_amount"] == 5


def test_armed_faults_strike_so_many_calls_of_one_operation(gateway: Client) -> None:
    gateway.control("faults", operation="refund", fault="error=500", times=2)
    gateway.control("faults", operation="any", fault="error=503")
    charge = gateway.charge()
    assert charge.status == 503
    charge_id = gateway.charge().json["id"]
    statuses = [gateway.follow(charge_id, "refunds", amount=1).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    gateway.control("faults", operation="inquiry", fault="error=500")
    assert gateway.get(f"/v1/charges/{charge_id}").status == 500
    assert gateway.control("faults", operation="any", fault="nonsense").status == 400
    assert gateway.charge(fault="error=200").status == 400


def test_fault_cards_strike_once_when_the_charge_was_processed(gateway: Client) -> None:
    body = charge_body("4000990000000251")
    with pytest.raises(ConnectionResetError):
        gateway.send("POST", "/v1/charges", body, key="k")
    again = gateway.send("POST", "/v1/charges", body, key="k")
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    refunding = gateway.charge("4000990000000384").json["id"]
    assert gateway.follow(refunding, "refunds").status == 500
    assert gateway.charge("4000990000000210").status == 500
    assert gateway.ledger()["charges"] == 2


# --- the program


class Program:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ready = folder / "ready.json"
        command = [sys.executable, "-m", "strongroom.gateways.sandbox_server",
                   "--ready-file", str(self.ready), *arguments]  # fmt: skip
        source = Path(__file__).parents[2] / "src"
        env = {**os.environ, "PYTHONPATH": str(source), "STRONGROOM_SANDBOX_SECRET": KEY}
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not self.ready.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.client = Client(json.loads(self.ready.read_bytes())["url"])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, bytes]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=10)
        return self.process.returncode, out


def test_the_state_file_survives_a_kill_and_has_no_card_numbers(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    program = Program(tmp_path, "--state", str(state))
    assert program.ready.stat().st_mode & 0o777 == 0o600
    body = charge_body(reference="op_s")
    first = program.client.send("POST", "/v1/charges", body, key="k")
    charge_id = first.json["id"]
    program.client.follow(charge_id, "refunds", amount=9)
    program.stop(signal.SIGKILL)
    with state.open("ab") as out:
        out.write(b'[2,["o",torn')
    program.ready.unlink()
    program = Program(tmp_path, "--state", str(state))
    assert program.client.send("POST", "/v1/charges", body, key="k").body == first.body
    assert program.client.get(f"/v1/charges/{charge_id}").json["refunded_amount"] == 9
    assert program.client.follow(charge_id, "refunds", amount=1).status == 200
    ledger = program.client.ledger()
    assert (ledger["charges"], ledger["refunded_minor"], ledger["duplicates"]) == (1, 10, [])
    code, out = program.stop()
    assert code == 0
    written = state.read_bytes() + out
    assert OK.encode() not in written
    assert b'"123"' not in written
    assert not program.ready.exists()


def test_a_stop_finishes_the_answers_under_way(tmp_path: Path) -> None:
    program = Program(tmp_path)
    replies: list[Reply] = []
    slow = threading.Thread(target=lambda: replies.append(program.client.charge(fault="slow=700")))
    slow.start()
    time.sleep(0.2)
    code, _ = program.stop()
    slow.join()
    assert (code, replies[0].status, replies[0].headers["connection"]) == (0, 200, "close")


def test_old_operations_are_forgotten_when_there_are_too_many() -> None:
    with running(Settings(secret=Secret(KEY), rows_max=20)) as url:
        client = Client(url)
        link = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=5)
        headers = {"Authorization": f"Bearer {KEY}"}
        for number in range(60):
            body = json.dumps(charge_body(reference=f"op_{number}"))
            link.request("POST", "/v1/charges", body, {**headers, "Idempotency-Key": f"{number}"})
            answer = link.getresponse()
            assert answer.status == 200
            answer.read()
        link.close()
        assert not is_processed(client, "op_29")
        assert is_processed(client, "op_40")
        assert is_processed(client, "op_59")
        assert client.ledger()["charges"] == 60


def test_the_index_finds_every_row_again() -> None:
    index = Index()
    hashes = [hash(f"op_{n}") & 0xFFFF_FFFF_FFFF_FFFF for n in range(20_000)]
    for row, hashed in enumerate(hashes):
        index.add(hashed, row)
    assert all(row in index.find(hashed) for row, hashed in enumerate(hashes))
    index.forget_below(15_000)
    assert 0 not in index.find(hashes[0])
    assert 19_999 in index.find(hashes[-1])
