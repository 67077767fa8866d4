"""How every connector must read answers and inquiries, whichever gateway they come from."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.gateways import Connector, Operation, OperationKind, Result
from strongroom.vault import GatewayAnswer
from tests.gateways.connectors_support import (
    SandboxShapes,
    StripeShapes,
    answer,
    operation,
)

Shapes = StripeShapes | SandboxShapes
AUTHORIZE, CAPTURE = OperationKind.AUTHORIZE, OperationKind.CAPTURE
VOID, REFUND = OperationKind.VOID, OperationKind.REFUND
FOLLOW_UPS = [CAPTURE, VOID, REFUND]


@pytest.fixture(params=[StripeShapes, SandboxShapes], ids=lambda shapes: shapes.name)
def shapes(request: pytest.FixtureRequest) -> Shapes:
    return request.param()


@pytest.fixture
def connector(shapes: Shapes) -> Connector:
    return shapes.connector()


def op_for(shapes: Shapes, kind: OperationKind, **more: Any) -> Operation:
    return operation(kind, stripe=shapes.name == "stripe", **more)


# Answers to an authorization


def test_approved_and_captured(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(200, shapes.approved(op)))
    assert outcome.result is Result.APPROVED
    assert outcome.gateway_reference == shapes.approved_reference
    assert outcome.amount_authorized_minor == 1099
    assert outcome.amount_captured_minor == 1099
    assert outcome.risk == "normal"
    assert outcome.network_transaction_id == "016150703802094"
    assert outcome.decline is None


def test_approved_without_capture(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    outcome = connector.parse(op, answer(200, shapes.approved(op)))
    assert outcome.result is Result.APPROVED
    assert (outcome.amount_authorized_minor, outcome.amount_captured_minor) == (1099, 0)


def test_captured_though_we_asked_to_wait_is_unknown(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    eager = shapes.approved(op_for(shapes, AUTHORIZE, id=op.id, payment_id=op.payment_id))
    assert connector.parse(op, answer(200, eager)).raw_code == "capture_mismatch"


def test_not_captured_though_asked_is_unknown(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    lazy = shapes.approved(
        op_for(shapes, AUTHORIZE, id=op.id, payment_id=op.payment_id, capture=False)
    )
    assert connector.parse(op, answer(200, lazy)).raw_code == "capture_mismatch"


def test_some_captured_though_we_asked_to_wait_is_unknown(
    shapes: Shapes, connector: Connector
) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    key = "amount_received" if shapes.name == "stripe" else "captured_amount"
    outcome = connector.parse(op, answer(200, shapes.approved(op, **{key: 5})))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "capture_mismatch")


def test_authorized_for_less_is_unknown(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    less = {"amount_capturable": 500} if shapes.name == "stripe" else {"capturable_amount": 500}
    outcome = connector.parse(op, answer(200, shapes.approved(op, **less)))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "capture_mismatch")


def test_another_payment_found_for_a_known_one_is_unknown(
    shapes: Shapes, connector: Connector
) -> None:
    op = op_for(shapes, AUTHORIZE, gateway_reference=shapes.approved_reference)
    other = shapes.approved(op, id="x_other")
    for outcome in (
        connector.parse(op, answer(200, other)),
        connector.parse_inquiry(op, answer(*shapes.inquiry(op, other))),
    ):
        assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "echo_mismatch")


def test_a_sandbox_result_of_two_charges_is_unknown() -> None:
    shapes = SandboxShapes()
    op = op_for(shapes, CAPTURE)
    state = shapes.done(op, charge="ch_other")
    assert shapes.connector().parse(op, answer(200, state)).raw_code == "echo_mismatch"


def test_held_but_captured_is_no_hold(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    key = "amount_received" if shapes.name == "stripe" else "captured_amount"
    outcome = connector.parse(op, answer(200, shapes.held(op) | {key: 100}))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "capture_mismatch")


def test_captured_more_than_authorized_is_unknown(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False, gateway_reference=shapes.approved_reference)
    key = "amount_received" if shapes.name == "stripe" else "captured_amount"
    status = {"status": "succeeded"} if shapes.name == "stripe" else {}
    more = shapes.approved(op, **{key: 1100}, **status)
    outcome = connector.parse_inquiry(op, answer(*shapes.inquiry(op, more)))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "capture_mismatch")


def test_held_for_review(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, capture=False)
    outcome = connector.parse(op, answer(200, shapes.held(op)))
    assert (outcome.result, outcome.risk) == (Result.HELD, "elevated")
    assert outcome.amount_captured_minor == 0


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        ("insufficient_funds", "later"),
        ("incorrect_cvc", "fix_data"),
        ("lost_card", "never"),
        ("do_not_honor", "later"),
        ("card_not_supported", "never"),
        ("authentication_required", "after_authentication"),
    ],
)
def test_declined(shapes: Shapes, connector: Connector, code: str, retry: str) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(*shapes.declined(op, code)))
    assert outcome.result is Result.DECLINED
    assert outcome.decline is not None
    assert (outcome.decline.code, outcome.decline.retry) == (code, retry)
    assert outcome.gateway_reference == shapes.approved_reference
    assert outcome.amount_captured_minor == 0


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "made_up_code", "fraudulent"])
def test_a_thief_learns_nothing(shapes: Shapes, connector: Connector, code: str) -> None:
    op = op_for(shapes, AUTHORIZE)
    plain = connector.parse(op, answer(*shapes.declined(op, "generic_decline"))).decline
    shown = connector.parse(op, answer(*shapes.declined(op, code))).decline
    assert plain is not None
    assert shown is not None
    assert shown.message == plain.message


def test_an_unknown_decline_code_is_generic_and_kept_raw(
    shapes: Shapes, connector: Connector
) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(*shapes.declined(op, "made_up_code")))
    assert outcome.result is Result.DECLINED
    assert outcome.raw_code == "made_up_code"


def test_blocked_by_the_gateway(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(*shapes.blocked(op)))
    assert outcome.result is Result.BLOCKED
    assert outcome.decline is not None
    assert outcome.decline.code == "fraudulent"


def test_action_required(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    url = "https://hooks.example.com/3ds/a?b=c"
    outcome = connector.parse(op, answer(200, shapes.action(op, url)))
    assert (outcome.result, outcome.redirect_url) == (Result.ACTION_REQUIRED, url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//evil.example",
        "https://user@evil.example/",
        "https://",
        "data:text/html,x",
        "https://a.example/\r\nSet-Cookie: x",
        "https://[::1",
        "https://a.example/" + "a" * 3000,
    ],
)
def test_no_browser_is_sent_to_a_bad_url(shapes: Shapes, connector: Connector, url: str) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(200, shapes.action(op, url)))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "redirect_url_invalid")


@pytest.mark.parametrize("wrong", ["amount", "currency", "reference"])
@pytest.mark.parametrize("capture", [True, False])
def test_never_approved_on_a_wrong_echo(
    shapes: Shapes, connector: Connector, wrong: str, capture: bool
) -> None:
    op = op_for(shapes, AUTHORIZE, capture=capture)
    changed = {
        "amount": op_for(shapes, AUTHORIZE, id=op.id, minor=1100, capture=capture),
        "currency": op_for(shapes, AUTHORIZE, id=op.id, currency="USD", capture=capture),
        "reference": op_for(shapes, AUTHORIZE, capture=capture),
    }[wrong]
    other = Operation(
        id=changed.id, kind=op.kind, payment_id=op.payment_id, amount=changed.amount,
        capture=capture,
    )  # fmt: skip
    echo = shapes.approved(other)
    for outcome in (
        connector.parse(op, answer(200, echo)),
        connector.parse_inquiry(op, answer(*shapes.inquiry(op, echo))),
    ):
        assert outcome.result in (Result.UNKNOWN, Result.NOT_FOUND)
        assert outcome.raw_code in ("echo_mismatch", "not_listed")


def test_an_unknown_status_is_quarantined(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(200, shapes.approved(op, status="brand_new")))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "status_brand_new")


# Answers that are no answers


@pytest.mark.parametrize("kind", [AUTHORIZE, *FOLLOW_UPS])
@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.UNKNOWN),
        (201, Result.UNKNOWN),
        (302, Result.UNKNOWN),
        (400, Result.UNKNOWN),
        (401, Result.RETRY),
        (402, Result.UNKNOWN),
        (408, Result.UNKNOWN),
        (409, Result.PENDING),
        (429, Result.RETRY),
        (500, Result.UNKNOWN),
        (503, Result.UNKNOWN),
        (-1, Result.UNKNOWN),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"null", b'{"error":{}}'])
def test_status_without_a_body_we_know(
    shapes: Shapes,
    connector: Connector,
    kind: OperationKind,
    status: int,
    result: Result,
    body: bytes,
) -> None:
    op = op_for(shapes, kind)
    assert connector.parse(op, GatewayAnswer(status, body)).result is result
    asked = connector.parse_inquiry(op, GatewayAnswer(status, body)).result
    assert asked is Result.UNKNOWN


@pytest.mark.parametrize(("told", "wait"), [(7, 7), (None, 1), (-3, 1), (10**9, 3600)])
def test_retry_after_is_kept_and_bounded(
    shapes: Shapes, connector: Connector, told: int | None, wait: int
) -> None:
    op = op_for(shapes, AUTHORIZE)
    assert connector.parse(op, GatewayAnswer(429, b"", told)).retry_after_s == wait


def test_ten_megabytes_are_not_parsed(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE)
    huge = answer(200, shapes.approved(op, padding="x" * 300_000))
    assert connector.parse(op, huge).raw_code == "unparsable"
    deep = GatewayAnswer(200, b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    assert connector.parse(op, deep).raw_code == "unparsable"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "pi/../x"),
        ("id", 7),
        ("amount", "1099"),
        ("amount", 1099.0),
        ("amount", True),
        ("amount", 1e400),
        ("amount", None),
        ("currency", None),
        ("status", None),
    ],
)
def test_types_are_strict(shapes: Shapes, connector: Connector, field: str, value: object) -> None:
    op = op_for(shapes, AUTHORIZE)
    outcome = connector.parse(op, answer(200, shapes.approved(op, **{field: value})))
    assert outcome.result is Result.UNKNOWN


# Captures, voids, refunds


@pytest.mark.parametrize("kind", FOLLOW_UPS)
def test_follow_ups_succeed(shapes: Shapes, connector: Connector, kind: OperationKind) -> None:
    op = op_for(shapes, kind)
    state = shapes.done(op)
    for outcome in (
        connector.parse(op, answer(200, state)),
        connector.parse_inquiry(op, answer(*shapes.inquiry(op, state))),
    ):
        assert outcome.result is Result.SUCCEEDED
        assert outcome.gateway_reference is not None
        is_refund = outcome.gateway_reference.startswith(("re_", "sop_"))
        assert is_refund is (kind is REFUND)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(kind, wrong) for kind in FOLLOW_UPS for wrong in ("currency", "payment", "operation")]
    + [(CAPTURE, "amount"), (REFUND, "amount")],
)
def test_follow_ups_never_succeed_on_a_wrong_echo(
    shapes: Shapes, connector: Connector, kind: OperationKind, wrong: str
) -> None:
    op = op_for(shapes, kind)
    same = {"id": op.id, "payment_id": op.payment_id}
    other = {
        "amount": lambda: op_for(shapes, kind, minor=1100, **same),
        "currency": lambda: op_for(shapes, kind, currency="USD", **same),
        "payment": lambda: op_for(shapes, kind, gateway_reference="pi_9", **same),
        "operation": lambda: op_for(shapes, kind),
    }[wrong]()
    state = shapes.done(other)
    if wrong == "payment" and shapes.name == "sandbox":
        state["charge"]["id"] = state["operation"]["charge"] = "ch_other"
    outcome = connector.parse(op, answer(200, state))
    assert (outcome.result, outcome.raw_code) == (Result.UNKNOWN, "echo_mismatch")


@pytest.mark.parametrize(
    ("status", "result"), [("pending", Result.PENDING), ("failed", Result.REJECTED)]
)
def test_refunds_may_take_time_or_fail(
    shapes: Shapes, connector: Connector, status: str, result: Result
) -> None:
    op = op_for(shapes, REFUND)
    state = shapes.refund(op, status)
    for outcome in (
        connector.parse(op, answer(200, state)),
        connector.parse_inquiry(op, answer(*shapes.inquiry(op, state))),
    ):
        assert outcome.result is result
        assert outcome.gateway_reference is not None
    assert status == "pending" or outcome.decline is not None


@pytest.mark.parametrize(("kind", "code"), [(CAPTURE, "captured"), (REFUND, "refunded")])
def test_refused_for_good(
    shapes: Shapes, connector: Connector, kind: OperationKind, code: str
) -> None:
    outcome = connector.parse(op_for(shapes, kind), answer(*shapes.refused(code)))
    assert outcome.result is Result.REJECTED
    assert outcome.decline is not None
    assert outcome.decline.code == f"already_{code}"


# Inquiries


@pytest.mark.parametrize("capture", [True, False])
def test_inquiry_finds_an_approval(shapes: Shapes, connector: Connector, capture: bool) -> None:
    op = op_for(shapes, AUTHORIZE, capture=capture)
    found = connector.parse_inquiry(op, answer(*shapes.inquiry(op, shapes.approved(op))))
    assert found.result is Result.APPROVED
    assert found.amount_captured_minor == (1099 if capture else 0)


@pytest.mark.parametrize("kind", [AUTHORIZE, *FOLLOW_UPS])
def test_inquiry_finds_nothing(shapes: Shapes, connector: Connector, kind: OperationKind) -> None:
    op = op_for(shapes, kind)
    outcome = connector.parse_inquiry(op, answer(*shapes.absent(op)))
    assert outcome.result is Result.NOT_FOUND


def test_not_found_needs_time_to_be_final(shapes: Shapes, connector: Connector) -> None:
    able = connector.capabilities
    longest_ms = connector.build(op_for(shapes, AUTHORIZE)).timeout_ms
    assert able.not_found_final_after_s * 1000 > longest_ms
    assert able.send_within_s < able.idempotency_window_s
