"""The sandbox gateway through real HTTP: charges, what follows them, inquiry, 3DS."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from strongroom.gateways.sandbox_server.cards import BEHAVIORS, NUMBERS
from strongroom.kernel.secret import luhn_valid
from tests.gateways.sandbox_support import (
    OK,
    Client,
    charge_body,
)

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
