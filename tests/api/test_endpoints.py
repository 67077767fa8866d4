"""Every route, over real HTTP: a stranger is 401, the wrong key 403, another merchant 404, and
each keyed route gives the same answer again for the same key.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgspec
import pytest

from strongroom.access import PUBLIC
from strongroom.api.endpoint import Endpoint
from strongroom.api.routes import ENDPOINTS
from tests.support.stack import Answer, Stack

CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123"}
GUARDED = [endpoint for endpoint in ENDPOINTS if endpoint.action != PUBLIC]
BY_ID = [e for e in GUARDED if e.parameters and not e.purposeful]  # those: test_reveal.py
FOR_SOME = [e for e in GUARDED if e.action != "client_key:read"]  # public keys are for every key
KEYED = [endpoint for endpoint in GUARDED if endpoint.keyed]


class World(msgspec.Struct):
    """Things of the stack's merchant that routes are called on."""

    payment: str
    token: str
    entry: str
    approval: str


def fresh() -> str:
    return str(uuid.uuid4())


def pay(stack: Stack, **changes: Any) -> Answer:
    body = {"amount": 1099, "currency": "EUR", "payment_method": {"card": CARD}, **changes}
    return stack.call("POST", "/v1/payments", body, idempotency_key=fresh())


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    assert pay(stack).status == 201
    payment = pay(stack, capture_method="manual").json
    token = stack.call("POST", "/v1/tokens", {"card": CARD}).json
    path = f"/v1/journal/entries?subject={payment['id']}"
    entries = stack.call("GET", path).json["data"]
    asked = {**BODIES["/v1/approvals"], "resource": payment["id"]}
    approval = stack.call("POST", "/v1/approvals", asked).json["id"]
    return World(
        payment=payment["id"], token=token["id"], entry=entries[0]["id"], approval=approval
    )


BODIES: dict[str, Any] = {
    "/v1/tokens": {"card": CARD},
    "/v1/tokens/batch": {"cards": [CARD]},
    "/v1/data-subjects/erase": {"data_subject": "nobody", "reason": "asked"},
    "/v1/tokens/{token_id}/reveal": {"purpose": "dispute_evidence"},
    "/v1/tokens/resolve": {"alias": "9111111111111112"},
    "/v1/tokens/reveal": {
        "tokens": ["tok_00000000000000000000000000"],
        "purpose": "dispute_evidence",
    },
    "/v1/approvals": {
        "action": "refund:create",
        "resource": "pay_00000000000000000000000000",
        "parameters": {"amount": 50},
        "reason": "goods came back",
    },
    "/v1/payments": {"amount": 1, "currency": "EUR", "payment_method": {"card": CARD}},
    "/v1/payments/{payment_id}/capture": {"amount": 100},
    "/v1/payments/{payment_id}/cancel": {},
    "/v1/payments/{payment_id}/review": {"decision": "approve"},
    "/v1/payments/{payment_id}/refunds": {"amount": 50},
}


def call(stack: Stack, world: World, endpoint: Endpoint, key: str | None, **more: Any) -> Answer:
    path = endpoint.path.format(
        payment_id=world.payment,
        token_id=world.token,
        entry_id=world.entry,
        approval_id=world.approval,
    )
    body = BODIES[endpoint.path] if endpoint.request is not None else None
    more.setdefault("idempotency_key", fresh() if endpoint.keyed else None)
    return stack.call(endpoint.method, path, body, key=key, **more)


def name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize("endpoint", GUARDED, ids=name)
def test_a_stranger_is_401(stack: Stack, world: World, endpoint: Endpoint) -> None:
    other_end = "1" if stack.secret_key.endswith("0") else "0"
    for key in (None, "sr_test_sk_x", stack.secret_key[:-1] + other_end):
        answer = call(stack, world, endpoint, key)
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("endpoint", FOR_SOME, ids=name)
def test_the_wrong_key_is_403(stack: Stack, world: World, endpoint: Endpoint) -> None:
    key, headers = stack.publishable_key, {}
    if endpoint.action == "token:create":
        key, headers = stack.operator_read_key, {"Strongroom-Merchant": stack.merchant}
    answer = call(stack, world, endpoint, key, headers=headers)
    assert_problem(answer, 403, "permission_denied")


@pytest.mark.parametrize("endpoint", BY_ID, ids=name)
def test_another_merchant_is_404(stack: Stack, world: World, endpoint: Endpoint) -> None:
    answer = call(stack, world, endpoint, stack.other_secret_key)
    assert answer.status == 404, answer.body
    unknown = World(
        payment="pay_00000000000000000000000000",
        token="tok_00000000000000000000000000",
        entry="ent_00000000000000000000000000",
        approval="apr_00000000000000000000000000",
    )
    malformed = World(payment="pay_1", token="4242424242424242", entry="x", approval="pay_1")
    for nowhere in (unknown, malformed):
        same = call(stack, nowhere, endpoint, stack.secret_key)
        told = [{**a.json, "request_id": "", "instance": ""} for a in (answer, same)]
        assert told[0] == told[1], "a thing of another looks like no thing at all"


@pytest.mark.parametrize("path", ["/v1/payments", "/v1/ledger/balances", "/v1/journal/entries"])
def test_lists_hold_the_callers_own_things(stack: Stack, world: World, path: str) -> None:
    mine = stack.call("GET", path)
    other = stack.call("GET", path, key=stack.other_secret_key)
    assert mine.status == other.status == 200
    assert mine.json["data"] and world.payment.encode() not in other.body
    assert stack.merchant.encode() not in other.body


@pytest.mark.parametrize("endpoint", KEYED, ids=name)
def test_a_keyed_route_wants_a_key_and_replays_it(
    stack: Stack, world: World, endpoint: Endpoint
) -> None:
    assert_problem(
        call(stack, world, endpoint, stack.secret_key, idempotency_key=None),
        400, "idempotency_key_missing",
    )  # fmt: skip
    ready = ready_for(stack, world, endpoint)
    key = fresh()
    first = call(stack, ready, endpoint, stack.secret_key, idempotency_key=key)
    again = call(stack, ready, endpoint, stack.secret_key, idempotency_key=key)
    assert first.status in (200, 201, 202), first.body
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["request-id"] != first.headers["request-id"]
    other = stack.call(
        "POST",
        endpoint.path.format(payment_id=ready.payment),
        {**BODIES[endpoint.path], **OTHER_BODY.get(endpoint.path, {})},
        idempotency_key=key,
    )
    if endpoint.path in OTHER_BODY:
        assert_problem(other, 422, "idempotency_key_reused")


OTHER_BODY = {
    "/v1/payments": {"amount": 2},
    "/v1/payments/{payment_id}/capture": {"amount": 101},
    "/v1/payments/{payment_id}/refunds": {"amount": 51},
    "/v1/payments/{payment_id}/review": {"decision": "reject"},
}


def ready_for(stack: Stack, world: World, endpoint: Endpoint) -> World:
    """Return a world whose payment is in the state the route needs."""
    if endpoint.action == "payment:review":
        held = pay(stack, payment_method={"card": {**CARD, "number": "4000000000009235"}})
        assert held.json["status"] == "requires_review", held.body
        return msgspec.structs.replace(world, payment=held.json["id"])
    method = "automatic" if endpoint.action == "refund:create" else "manual"
    payment = pay(stack, capture_method=method).json
    return msgspec.structs.replace(world, payment=payment["id"])


def test_one_key_for_two_cards_is_refused_and_the_cvc_is_not_compared(stack: Stack) -> None:
    key = fresh()
    body = {"amount": 5, "currency": "EUR", "payment_method": {"card": CARD}}
    first = stack.call("POST", "/v1/payments", body, idempotency_key=key)
    body["payment_method"] = {"card": {**CARD, "cvc": "456"}}
    assert stack.call("POST", "/v1/payments", body, idempotency_key=key).body == first.body
    body["payment_method"] = {"card": {**CARD, "number": "5555555555554444"}}
    other = stack.call("POST", "/v1/payments", body, idempotency_key=key)
    assert_problem(other, 422, "idempotency_key_reused")


def test_a_payment_reads_as_documented(stack: Stack) -> None:
    made = pay(stack, reference="order-7", metadata={"cart": "c1"}, description="Zwölf Hüte")
    assert made.status == 201
    payment = made.json
    card = payment["payment_method"].pop("card")
    token = payment["payment_method"].pop("token")
    assert token.startswith("tok_") and card.pop("fingerprint").startswith("fp_")
    assert card == {"brand": "visa", "bin": "424242", "last4": "4242",
                    "exp_month": 12, "exp_year": 2031}  # fmt: skip
    assert payment.pop("gateway")["name"] and payment.pop("created") > 1_700_000_000
    assert payment == {
        "id": payment["id"], "object": "payment", "livemode": False, "merchant": stack.merchant,
        "amount": 1099, "currency": "EUR", "status": "captured", "amount_capturable": 0,
        "amount_captured": 1099, "amount_refunded": 0, "capture_method": "automatic",
        "reference": "order-7", "metadata": {"cart": "c1"}, "payment_method": {"type": "card"},
        "decline": None, "next_action": None,
    }  # fmt: skip
    assert stack.call("GET", f"/v1/payments/{payment['id']}").json == made.json
    assert list(made.json)[:9] == [
        "id", "object", "created", "livemode", "merchant", "amount", "currency", "status",
        "amount_capturable",
    ]  # fmt: skip


def test_a_decline_is_a_402_with_the_payment(stack: Stack) -> None:
    answer = pay(stack, payment_method={"card": {**CARD, "number": "4000000000009995"}})
    assert_problem(answer, 402, "card_declined")
    assert answer.json["decline_code"] == "insufficient_funds"
    assert answer.json["payment"]["status"] == "declined"
    assert answer.json["payment"]["decline"]["code"] == "insufficient_funds"
    shown = stack.call("GET", f"/v1/payments/{answer.json['payment']['id']}")
    assert shown.status == 200 and shown.json == answer.json["payment"]


def test_3ds_says_where_to_go(stack: Stack) -> None:
    answer = pay(
        stack,
        payment_method={"card": {**CARD, "number": "4000002760003184"}},
        return_url="https://shop.example/back?cart=1",
    )
    assert answer.status == 201 and answer.json["status"] == "requires_action", answer.body
    action = answer.json["next_action"]
    assert action["type"] == "redirect_to_url"
    assert action["redirect_to_url"]["url"].startswith("http")
    assert action["redirect_to_url"]["return_url"] == "https://shop.example/back?cart=1"
    path = f"/v1/return/{stack.merchant}/{answer.json['id']}?gateway=adds&these=too"
    back = stack.call("GET", path, key=None)
    assert back.status == 303
    assert back.headers["location"].startswith("https://shop.example/back?cart=1&payment=pay_")


def test_a_token_pays_and_shows_no_card(stack: Stack) -> None:
    made = stack.call("POST", "/v1/tokens", {"card": CARD}, key=stack.publishable_key)
    assert made.status == 201
    token = made.json
    assert token["object"] == "token" and token["saved"] is False and token["expires_at"]
    assert set(token["card"]) == {"brand", "bin", "last4", "exp_month", "exp_year", "fingerprint"}
    assert stack.call("GET", f"/v1/tokens/{token['id']}").json == token
    paid = pay(stack, payment_method={"token": token["id"], "cvc": "123"})
    assert paid.status == 201
    assert paid.json["payment_method"]["token"] == token["id"]
    gone = stack.call("DELETE", f"/v1/tokens/{token['id']}")
    assert (gone.status, gone.body) == (204, b"") and "content-length" not in gone.headers
    assert_problem(stack.call("GET", f"/v1/tokens/{token['id']}"), 404, "token_not_found")
    for answer in (made, paid):
        assert b"4242424242424242" not in answer.body and b'"123"' not in answer.body


def test_saved_tokens_stay(stack: Stack) -> None:
    token = stack.call("POST", "/v1/tokens", {"card": CARD, "save": True}).json
    assert token["saved"] is True and token["expires_at"] is None


def test_a_batch_is_all_or_none(stack: Stack) -> None:
    path = "/v1/tokens/batch"
    cards = [CARD, {**CARD, "number": "5555555555554444"}]
    made = stack.call("POST", path, {"cards": cards})
    assert made.status == 201
    assert [token["card"]["brand"] for token in made.json["data"]] == ["visa", "mastercard"]
    bad = stack.call("POST", path, {"cards": [*cards, {**CARD, "number": "4242424242424241"}]})
    assert_problem(bad, 422, "incorrect_number")
    assert bad.json["param"] == "cards[2].number"
    full = stack.call("POST", path, {"cards": [{**CARD, "holder_name": "A" * 100}] * 1000})
    assert full.status == 201 and len(full.json["data"]) == 1000
    assert_problem(stack.call("POST", path, {"cards": [CARD] * 1001}), 422, "invalid_parameter")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"currency": "XTS"}, "currency_not_supported", "currency"),
        ({"amount": 0}, "amount_not_positive", "amount"),
        ({"amount": 100_000_000_000}, "amount_too_large", "amount"),
        ({"payment_method": {}}, "conflicting_parameters", "payment_method.card"),
        ({"payment_method": {"card": CARD, "cvc": "123"}}, "invalid_parameter",
         "payment_method.cvc"),
        ({"payment_method": {"card": {**CARD, "number": "4242424242424241"}}},
         "incorrect_number", "payment_method.card.number"),
        ({"payment_method": {"card": {**CARD, "exp_year": 2020}}}, "expired_card",
         "payment_method.card.exp_year"),
        ({"payment_method": {"card": {**CARD, "cvc": "1234"}}}, "invalid_cvc",
         "payment_method.card.cvc"),
        ({"return_url": "http://shop.example/"}, "invalid_parameter", "return_url"),
        ({"return_url": "https://a:b@shop.example/"}, "invalid_parameter", "return_url"),
        ({"return_url": "https://@shop.example/"}, "invalid_parameter", "return_url"),
        ({"return_url": "javascript:alert(1)"}, "invalid_parameter", "return_url"),
        ({"return_url": "https://"}, "invalid_parameter", "return_url"),
        ({"return_url": "https://shop.example\\@evil.example/"}, "invalid_parameter",
         "return_url"),
        ({"return_url": "https://shop.example:99999/"}, "invalid_parameter", "return_url"),
        ({"return_url": "https://shop.example/" + "x" * 2048}, "invalid_parameter", "return_url"),
        ({"description": "card 4242 4242 4242 4242"}, "card_number_in_text", "description"),
        ({"reference": "4242424242424242"}, "card_number_in_text", "reference"),
        ({"metadata": {"a": "4242424242424242"}}, "card_number_in_text", "metadata"),
    ],
)  # fmt: skip
def test_bad_fields_are_named_and_never_echoed(
    stack: Stack, change: dict[str, Any], code: str, param: str
) -> None:
    answer = pay(stack, **change)
    assert_problem(answer, 422, code)
    assert answer.json["param"] == param
    for sent in (b"4242424242424242", b"4242424242424241", b"evil.example"):
        assert sent not in answer.body


def test_a_token_that_is_not_there_is_named(stack: Stack) -> None:
    nothing = {"token": "tok_00000000000000000000000000"}
    answer = pay(stack, payment_method=nothing)
    assert_problem(answer, 404, "token_not_found")
    assert answer.json["param"] == "payment_method.token"


def test_http_on_this_machine_is_fine_in_test_mode(stack: Stack) -> None:
    assert pay(stack, return_url="http://localhost:3000/back").status == 201


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"amount":1,"amount":2}', {}, 400, "duplicate_name"),
        (b'{"amount":10.5}', {}, 400, "number_not_integer"),
        (b"\xff", {}, 400, "invalid_encoding"),
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 422, "invalid_parameter"),
        (b"", {}, 422, "missing_parameter"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b" " * 16_385, {}, 413, "body_too_large"),
        (b"{}", {"Strongroom-Version": "2019-01-01"}, 400, "unsupported_version"),
    ],
)
def test_the_edge_is_strict(
    stack: Stack, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = stack.call("POST", "/v1/payments", body, idempotency_key=fresh(), headers=headers)
    assert_problem(answer, status, code)


def test_operators_name_the_merchant(stack: Stack, world: World) -> None:
    path, key = f"/v1/payments/{world.payment}", stack.operator_read_key
    assert_problem(stack.call("GET", path, key=key), 400, "merchant_required")
    headers = {"Strongroom-Merchant": stack.merchant}
    assert stack.call("GET", path, key=key, headers=headers).status == 200
    headers = {"Strongroom-Merchant": stack.other_merchant}
    answer = stack.call("GET", path, key=key, headers=headers)
    assert_problem(answer, 404, "payment_not_found")
    own = stack.call("GET", "/v1/journal/entries", key=key)
    assert own.status == 200
    assert {entry["merchant"] for entry in own.json["data"]} <= {None}


def test_payments_are_paged_newest_first(stack: Stack) -> None:
    reference = f"page-{fresh()}"
    made = [pay(stack, reference=reference).json["id"] for _ in range(5)]
    base = f"/v1/payments?reference={reference}"
    first = stack.call("GET", f"{base}&limit=2").json
    assert first["object"] == "list" and first["url"] == "/v1/payments"
    assert [p["id"] for p in first["data"]] == made[:2:-1] and first["has_more"]
    second = stack.call("GET", f"{base}&limit=3&starting_after={made[3]}").json
    assert [p["id"] for p in second["data"]] == made[2::-1] and not second["has_more"]
    before = stack.call("GET", f"{base}&limit=2&ending_before={made[1]}").json
    assert [p["id"] for p in before["data"]] == [made[3], made[2]] and before["has_more"]
    captured = stack.call("GET", f"{base}&status=captured").json
    assert len(captured["data"]) == 5
    assert stack.call("GET", f"{base}&status=declined").json["data"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_parameter"),
        ("limit=101", "invalid_parameter"),
        ("limit=1e1", "invalid_parameter"),
        ("limit=5&limit=5", "invalid_parameter"),
        ("limit", "invalid_parameter"),
        ("starting_after=x", "invalid_parameter"),
        ("status=paid", "invalid_parameter"),
        ("reference=a%00b", "text_not_printable"),
        ("reference=%ff", "invalid_parameter"),
        ("colour=red", "unknown_parameter"),
        ("starting_after=pay_00000000000000000000000000"
         "&ending_before=pay_00000000000000000000000000", "conflicting_parameters"),
    ],
)  # fmt: skip
def test_bad_queries_are_refused(stack: Stack, query: str, code: str) -> None:
    answer = stack.call("GET", f"/v1/payments?{query}")
    assert answer.json["code"] == code, answer.body
    assert answer.status in (400, 422)


def test_journal_pages_and_proofs(stack: Stack, world: World) -> None:
    first = stack.call("GET", "/v1/journal/entries?limit=1").json
    assert first["has_more"] and len(first["data"]) == 1
    after = first["data"][0]["id"]
    rest = stack.call("GET", f"/v1/journal/entries?limit=100&starting_after={after}").json
    assert after not in {entry["id"] for entry in rest["data"]}
    proof = stack.call("GET", f"/v1/journal/entries/{world.entry}/proof").json
    assert proof["object"] == "journal_proof" and proof["index"] < proof["size"]
    entry = stack.call("GET", f"/v1/journal/entries/{world.entry}").json
    assert entry.pop("object") == "journal_entry"
    assert json.loads(proof["entry"]) == entry
    checkpoint = stack.call("GET", "/v1/journal/checkpoint").json
    assert checkpoint["size"] >= proof["size"] and checkpoint["note"].count("\n") >= 4


def test_postings_sum_to_zero(stack: Stack) -> None:
    made = pay(stack)
    assert (made.status, made.json["status"]) == (201, "captured"), made.body
    payment = made.json["id"]
    postings = stack.call("GET", f"/v1/payments/{payment}/postings").json["data"]
    assert len(postings) == 2 and sum(line["amount"] for line in postings) == 0
    assert all(line["payment"] == payment for line in postings)
    balances = stack.call("GET", "/v1/ledger/balances").json["data"]
    assert sum(line["balance"] for line in balances if line["currency"] == "EUR") == 0
    assert all(line["debit"] - line["credit"] == line["balance"] for line in balances)


def test_refunds_are_listed(stack: Stack) -> None:
    payment = pay(stack).json["id"]
    path = f"/v1/payments/{payment}/refunds"
    made = stack.call("POST", path, {"amount": 99, "reason": "late"}, idempotency_key=fresh())
    assert made.status == 201 and made.json["object"] == "refund"
    assert made.json["payment"] == payment and made.json["reason"] == "late"
    too_much = stack.call("POST", path, {"amount": 1001}, idempotency_key=fresh())
    assert_problem(too_much, 422, "amount_exceeds_refundable")
    assert stack.call("GET", path).json["data"] == [made.json]


def test_a_gateway_event_needs_its_signature(stack: Stack) -> None:
    path = "/v1/gateways/sandbox/events"
    answer = stack.call("POST", path, {"id": "evt_1"}, key=None)
    assert answer.status in (400, 401)
    assert answer.json["code"] in ("webhook_signature_invalid", "webhook_malformed")
    nowhere = stack.call("POST", "/v1/gateways/nobody/events", {}, key=None)
    assert_problem(nowhere, 404, "gateway_not_found")
    large = stack.call("POST", path, b" " * 70_000, key=None)
    assert_problem(large, 413, "body_too_large")


def test_metrics_are_for_operators_and_hold_no_ids(stack: Stack, world: World) -> None:
    assert_problem(stack.call("GET", "/metrics", key=stack.secret_key), 403, "permission_denied")
    answer = stack.call("GET", "/metrics", key=stack.operator_read_key)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    for wanted in (
        'strongroom_http_requests_total{method="POST",route="/v1/payments",status="201"}',
        'strongroom_payments_total{status="captured"}',
        "strongroom_commit_queue_depth",
        "strongroom_journal_lag_seconds",
    ):
        assert wanted in text, wanted
    named = "\n".join(line.rpartition(" ")[0] for line in text.splitlines())
    for hidden in (stack.merchant, world.payment, world.token, "4242", "tok_", "key_0"):
        assert hidden not in named


def test_health_needs_no_key(stack: Stack) -> None:
    live = stack.call("GET", "/health/live", key=None)
    assert (live.status, live.json["status"]) == (200, "ok")
    ready = stack.call("GET", "/health/ready", key=None)
    assert ready.status == 200 and all(check["ok"] for check in ready.json["checks"])


def test_documents_are_ours_alone(stack: Stack) -> None:
    spec = stack.call("GET", "/openapi.json", key=None)
    assert spec.json["openapi"] == "3.1.0"
    page = stack.call("GET", "/docs", key=None)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "style-src 'self'" in page.headers["content-security-policy"]
    assert b"<script" not in page.body and b"://" not in page.body
    assert stack.call("GET", "/docs.css", key=None).headers["content-type"].startswith("text/css")
