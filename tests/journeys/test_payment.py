"""Whole payments over real HTTP: every way a payment can go, and what the books say after."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.pay import (
    BLOCKED,
    CHALLENGED,
    HELD,
    arm,
    await_status,
    body,
    card,
    get,
    new_key,
    operate,
    pay,
)
from tests.support.stack import Answer, Stack, http


def postings(stack: Stack, payment: str) -> list[tuple[str, int]]:
    data = stack.call("GET", f"/v1/payments/{payment}/postings").json["data"]
    assert sum(line["amount"] for line in data) == 0
    return [(line["account"], line["amount"]) for line in data]


def test_automatic_capture(stack: Stack) -> None:
    answer = pay(stack, reference="order-1", metadata={"cart": "7"})
    assert answer.status == 201
    payment = answer.json
    assert payment["status"] == "captured"
    assert (payment["amount_captured"], payment["amount_capturable"]) == (1099, 0)
    shown = payment["payment_method"]["card"]
    assert (shown["brand"], shown["bin"], shown["last4"]) == ("visa", "424242", "4242")
    assert payment["gateway"]["name"] == "sandbox"
    assert payment["metadata"] == {"cart": "7"}
    assert get(stack, payment["id"]) == payment
    assert postings(stack, payment["id"]) == [
        ("gateway_receivable", 1099),
        ("merchant_payable", -1099),
    ]


def test_manual_captures_then_release_then_refunds(stack: Stack) -> None:
    payment = pay(stack, amount=1000, capture_method="manual").json
    identity = payment["id"]
    assert (payment["status"], payment["amount_capturable"]) == ("authorized", 1000)
    assert postings(stack, identity) == []
    first = operate(stack, identity, "capture", {"amount": 300})
    assert (first.status, first.json["status"]) == (200, "partially_captured")
    second = operate(stack, identity, "capture", {"amount": 200})
    assert second.json["amount_captured"] == 500
    too_much = operate(stack, identity, "capture", {"amount": 501})
    assert (too_much.status, too_much.json["code"]) == (422, "amount_exceeds_capturable")
    released = operate(stack, identity, "cancel")
    assert (released.json["status"], released.json["amount_capturable"]) == ("captured", 0)
    refund = operate(stack, identity, "refunds", {"amount": 120, "reason": "customer_request"})
    assert (refund.status, refund.json["status"], refund.json["amount"]) == (201, "succeeded", 120)
    rest = operate(stack, identity, "refunds")
    assert rest.json["amount"] == 380
    none_left = operate(stack, identity, "refunds")
    assert none_left.json["code"] == "payment_not_refundable"
    final = get(stack, identity)
    assert (final["amount_captured"], final["amount_refunded"]) == (500, 500)
    amounts = [amount for _, amount in postings(stack, identity)]
    assert amounts == [300, -300, 200, -200, 120, -120, 380, -380]


def test_cancel_releases_an_authorization(stack: Stack) -> None:
    payment = pay(stack, capture_method="manual").json["id"]
    canceled = operate(stack, payment, "cancel")
    assert (canceled.status, canceled.json["status"]) == (200, "canceled")
    assert operate(stack, payment, "capture").json["code"] == "payment_not_capturable"
    assert operate(stack, payment, "cancel").json["code"] == "payment_not_cancelable"
    assert operate(stack, payment, "refunds").json["code"] == "payment_not_refundable"
    assert postings(stack, payment) == []


@pytest.mark.parametrize(
    ("number", "decline_code"),
    [
        ("4000000000000002", "generic_decline"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000009987", "lost_card"),
        ("4000000000009979", "stolen_card"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000119", "processing_error"),
    ],
)
def test_declines_are_told_and_stored(stack: Stack, number: str, decline_code: str) -> None:
    answer = pay(stack, number)
    problem = answer.json
    assert answer.status == 402
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["decline_code"]) == ("card_declined", decline_code)
    payment = problem["payment"]
    assert (payment["status"], payment["decline"]["code"]) == ("declined", decline_code)
    assert get(stack, payment["id"]) == payment
    assert postings(stack, payment["id"]) == []


@pytest.mark.parametrize("number", ["4000000000009987", "4000000000009979"])
def test_a_thief_is_not_told_why(stack: Stack, number: str) -> None:
    ordinary = pay(stack, "4000000000000002").json["payment"]["decline"]["message"]
    assert pay(stack, number).json["payment"]["decline"]["message"] == ordinary


def test_a_blocked_payment(stack: Stack) -> None:
    answer = pay(stack, BLOCKED)
    assert answer.status == 402
    assert answer.json["payment"]["status"] == "blocked"


def authenticate(payment: dict[str, Any], verb: str) -> Answer:
    assert payment["status"] == "requires_action"
    action = payment["next_action"]
    assert action["type"] == "redirect_to_url"
    page = http("GET", action["redirect_to_url"]["url"])
    assert page.status == 200
    return http("POST", f"{action['redirect_to_url']['url']}/{verb}", b"", headers=FORM)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("verb", "capture_method", "status"),
    [
        ("complete", "automatic", "captured"),
        ("complete", "manual", "authorized"),
        ("fail", "automatic", "declined"),
    ],
)
def test_3ds_completed_by_return(stack: Stack, verb: str, capture_method: str, status: str) -> None:
    answer = pay(
        stack,
        CHALLENGED,
        capture_method=capture_method,
        return_url="https://shop.example/back?cart=7",
    )
    assert answer.status == 201
    payment = answer.json
    sent_back = authenticate(payment, verb)
    assert sent_back.status == 303
    ours = sent_back.headers["location"]
    assert ours.startswith(f"{stack.url}/v1/return/")
    returned = http("GET", ours)
    assert returned.status == 303
    expected = f"https://shop.example/back?cart=7&payment={payment['id']}&status={status}"
    assert returned.headers["location"] == expected
    assert get(stack, payment["id"])["status"] == status
    assert get(stack, payment["id"])["next_action"] is None


def test_3ds_completed_by_gateway_event(stack: Stack) -> None:
    payment = pay(stack, CHALLENGED, return_url="https://shop.example/back").json
    authenticate(payment, "complete")
    assert await_status(stack, payment["id"], "captured") == "captured"


def test_3ds_that_nobody_finishes_can_be_canceled(stack: Stack) -> None:
    payment = pay(stack, CHALLENGED, return_url="https://shop.example/back").json["id"]
    canceled = operate(stack, payment, "cancel")
    assert (canceled.status, canceled.json["status"]) == (200, "canceled")
    assert postings(stack, payment) == []


def test_3ds_without_a_return_url_is_completed_by_the_event_alone(stack: Stack) -> None:
    payment = pay(stack, CHALLENGED).json
    assert authenticate(payment, "complete").status == 200
    assert await_status(stack, payment["id"], "captured") == "captured"


@pytest.mark.parametrize(
    ("capture_method", "after"), [("automatic", "captured"), ("manual", "authorized")]
)
def test_review_approved(stack: Stack, capture_method: str, after: str) -> None:
    payment = pay(stack, HELD, capture_method=capture_method).json
    assert payment["status"] == "requires_review"
    assert postings(stack, payment["id"]) == []
    captured = operate(stack, payment["id"], "capture")
    assert captured.json["code"] == "payment_not_capturable"
    approved = stack.call(
        "POST",
        f"/v1/payments/{payment['id']}/review",
        {"decision": "approve"},
        key=stack.operator_admin_key,
        idempotency_key=new_key(),
        headers={"Strongroom-Merchant": stack.merchant},
    )
    assert approved.status == 200, approved.body
    assert approved.json["status"] == after
    assert get(stack, payment["id"])["status"] == after


def test_review_rejected(stack: Stack) -> None:
    payment = pay(stack, HELD).json
    rejected = stack.call(
        "POST",
        f"/v1/payments/{payment['id']}/review",
        {"decision": "reject"},
        key=stack.operator_admin_key,
        idempotency_key=new_key(),
        headers={"Strongroom-Merchant": stack.merchant},
    )
    assert rejected.json["status"] == "canceled"


def test_pay_with_a_token_from_a_browser(stack: Stack) -> None:
    made = stack.call("POST", "/v1/tokens", {"card": card(cvc=None)}, key=stack.publishable_key)
    assert made.status == 201
    token = made.json["id"]
    answer = stack.call(
        "POST",
        "/v1/payments",
        {
            "amount": 500,
            "currency": "JPY",
            "payment_method": {"token": token, "cvc": "973"},
        },
        idempotency_key=new_key(),
    )
    assert answer.status == 201
    assert answer.json["payment_method"]["token"] == token
    foreign = stack.call(
        "POST",
        "/v1/payments",
        {"amount": 500, "currency": "JPY", "payment_method": {"token": token}},
        key=stack.other_secret_key,
        idempotency_key=new_key(),
    )
    assert (foreign.status, foreign.json["code"]) == (404, "token_not_found")


def test_same_key_same_answer_byte_for_byte(stack: Stack) -> None:
    for number in ("4242424242424242", "4000000000009995"):
        key, given = new_key(), body(number)
        first = stack.call("POST", "/v1/payments", given, idempotency_key=key)
        again = stack.call("POST", "/v1/payments", given, idempotency_key=key)
        assert again.body == first.body
        assert again.status == first.status
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        other = stack.call("POST", "/v1/payments", body(number, 1100), idempotency_key=key)
        assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
        other_card = stack.call(
            "POST", "/v1/payments", body("5555555555554444"), idempotency_key=key
        )
        assert other_card.status == 422


def test_keys_belong_to_a_merchant_and_an_endpoint(stack: Stack) -> None:
    key = new_key()
    mine = stack.call("POST", "/v1/payments", body(), idempotency_key=key)
    theirs = stack.call(
        "POST", "/v1/payments", body(), key=stack.other_secret_key, idempotency_key=key
    )
    assert mine.status == theirs.status == 201
    assert mine.json["id"] != theirs.json["id"]
    refund = stack.call("POST", f"/v1/payments/{mine.json['id']}/refunds", {}, idempotency_key=key)
    assert refund.status == 201


def test_lists_page_through_everything_once(stack: Stack) -> None:
    reference = f"page-{new_key()}"
    made = [pay(stack, reference=reference).json["id"] for _ in range(7)]
    seen: list[str] = []
    after = ""
    while True:
        page = stack.call("GET", f"/v1/payments?limit=3&reference={reference}{after}").json
        seen += [payment["id"] for payment in page["data"]]
        if not page["has_more"]:
            break
        after = f"&starting_after={seen[-1]}"
    assert seen == made[::-1]
    before = stack.call(
        "GET", f"/v1/payments?limit=2&reference={reference}&ending_before={made[3]}"
    ).json
    assert [payment["id"] for payment in before["data"]] == [made[5], made[4]]
    assert before["has_more"]
    declined = stack.call("GET", "/v1/payments?status=declined&limit=1").json["data"]
    assert all(payment["status"] == "declined" for payment in declined)


def test_every_step_is_in_the_journal_with_a_proof(stack: Stack) -> None:
    payment = pay(stack, capture_method="manual").json["id"]
    operate(stack, payment, "capture")
    entries = stack.call("GET", f"/v1/journal/entries?subject={payment}").json["data"]
    told = {(entry["action"], entry["outcome"]) for entry in entries}
    assert told == {
        ("payments:payment:authorize", "requested"),
        ("payments:payment:authorize", "authorized"),
        ("payments:payment:capture", "requested"),
        ("payments:payment:capture", "succeeded"),
    }
    for entry in entries:
        proof = stack.call("GET", f"/v1/journal/entries/{entry['id']}/proof")
        assert proof.status == 200


def test_a_client_that_hangs_up_does_not_stop_its_payment(stack: Stack) -> None:
    reference = f"gone-{new_key()}"
    listed = f"/v1/payments?reference={reference}"
    arm(stack, "charge", "slow=500")
    parts = urlsplit(stack.url)
    connection = HTTPConnection(str(parts.hostname), parts.port)
    connection.request(
        "POST",
        "/v1/payments",
        json.dumps(body(reference=reference)),
        {
            "Authorization": f"Bearer {stack.secret_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": f'"{new_key()}"',
        },
    )
    deadline = time.monotonic() + 20
    while not stack.call("GET", listed).json["data"]:
        assert time.monotonic() < deadline, "the payment did not begin"
    connection.close()
    while stack.call("GET", listed).json["data"][0]["status"] != "captured":
        assert time.monotonic() < deadline, "the payment did not end"


def test_metrics_count_payments_and_gateway_calls_without_ids(stack: Stack) -> None:
    payment = pay(stack).json["id"]
    shown = stack.call("GET", "/metrics", key=stack.operator_read_key)
    assert shown.status == 200
    text = shown.body.decode()
    assert 'gateway="sandbox",operation="authorize",result="approved"' in text
    assert "strongroom_journal_lag_seconds" in text
    assert "strongroom_payments_unsettled 0.0" in text
    assert payment not in text
    assert stack.merchant not in text
