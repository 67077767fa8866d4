"""Stripe's official SDK as the oracle: it writes and reads the same things as our connector."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import stripe as sdk
from stripe._api_version import _ApiVersion
from stripe._encode import _api_encode

from strongroom.gateways import GatewayAccount, Operation, OperationKind, Result, registry
from strongroom.gateways.declines import DATA, HARD, SOFT, VAGUE
from strongroom.gateways.stripe.amounts import LAST_DIGIT_ZERO, from_stripe, to_stripe
from strongroom.gateways.stripe.wire import API_VERSION
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.money import Money, exponent
from strongroom.kernel.secret import Secret
from strongroom.vault import GatewayAnswer, OutboundRequest
from tests.gateways.connectors_support import (
    StripeShapes,
    answer,
    filled,
    operation,
    stripe,
)

SHAPES = StripeShapes()
KINDS = [
    OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND,
]  # fmt: skip
PARAMS = {
    OperationKind.AUTHORIZE: sdk.params.PaymentIntentCreateParams,
    OperationKind.CAPTURE: sdk.params.PaymentIntentCaptureParams,
    OperationKind.VOID: sdk.params.PaymentIntentCancelParams,
    OperationKind.REFUND: sdk.params.RefundCreateParams,
}


def test_the_pinned_version_is_the_sdks() -> None:
    assert API_VERSION == _ApiVersion.CURRENT


def test_the_authorization_is_what_the_sdk_would_send() -> None:
    op = operation(
        reference="Ä & 7", description="d", return_url="https://a.example/?b=1", request_3ds=True
    )
    theirs: dict[str, Any] = {
        "amount": 1099,
        "currency": "eur",
        "confirm": True,
        "capture_method": "automatic",
        "allowed_payment_method_types": ["card"],
        "metadata": {
            "strongroom_operation": op.id,
            "strongroom_payment": op.payment_id,
            "reference": "Ä & 7",
        },
        "expand": ["latest_charge"],
        "description": "d",
        "return_url": "https://a.example/?b=1",
        "payment_method_options": {"card": {"request_three_d_secure": "any"}},
        "payment_method_data": {
            "type": "card",
            "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123"},
            "billing_details": {"name": "Ada & Søn"},
        },
    }
    assert form(stripe().build(op)) == sorted((k, str(v)) for k, v in _api_encode(theirs))


@pytest.mark.parametrize("kind", KINDS)
def test_the_sdk_knows_every_parameter(kind: OperationKind) -> None:
    known = set(get_hints(PARAMS[kind]))
    op = operation(kind, reference="r", description="d", request_3ds=True)
    used = {name.partition("[")[0] for name, _ in form(stripe().build(op))}
    assert used <= known


def test_the_sdk_knows_the_inquiry_parameters() -> None:
    for op, params in (
        (operation(), sdk.params.PaymentIntentListParams),
        (operation(OperationKind.REFUND), sdk.params.RefundListParams),
        (operation(OperationKind.VOID), sdk.params.PaymentIntentRetrieveParams),
    ):
        request = stripe().inquire(op, cursor="pi_9")
        used = {name.partition("[")[0] for name, _ in parse_qsl(urlsplit(request.url).query)}
        assert used <= set(get_hints(params))


@pytest.mark.parametrize("capture", [True, False])
def test_the_sdk_reads_the_shapes_we_test_with(capture: bool) -> None:
    op = operation(capture=capture)
    shape = SHAPES.approved(op)
    theirs = sdk.PaymentIntent.construct_from(shape, "sk_test_1")
    ours = stripe().parse(op, answer(200, shape))
    charge = theirs.latest_charge
    assert isinstance(charge, sdk.Charge)
    assert charge.outcome is not None
    assert charge.payment_method_details is not None
    assert charge.payment_method_details.card is not None
    assert ours.gateway_reference == theirs.id
    assert ours.raw_code == theirs.status
    assert ours.amount_captured_minor == theirs.amount_received
    assert ours.risk == charge.outcome.risk_level
    assert ours.network_transaction_id == charge.payment_method_details.card.network_transaction_id
    for key in shape:
        assert key in get_hints(sdk.PaymentIntent), key


def test_the_sdk_reads_our_decline_as_we_do() -> None:
    op = operation()
    status, shape = SHAPES.declined(op, "insufficient_funds")
    theirs = sdk.ErrorObject.construct_from(shape["error"], "sk_test_1")
    ours = stripe().parse(op, answer(status, shape)).decline
    assert ours is not None
    assert (theirs.decline_code, theirs.code) == (ours.code, "card_declined")
    assert isinstance(theirs.payment_intent, sdk.PaymentIntent)


# Statuses and errors of a payment intent


def parsed(op: Operation, **changes: Any) -> Any:
    return stripe().parse(op, answer(200, SHAPES.approved(op, **changes)))


def test_processing_is_pending() -> None:
    assert parsed(operation(), status="processing").result is Result.PENDING


def test_canceled_is_declined() -> None:
    outcome = parsed(operation(), status="canceled", amount_received=0)
    assert (outcome.result, outcome.decline.code) == (Result.DECLINED, "authorization_voided")


def test_a_failed_authentication_found_later_is_a_decline() -> None:
    op = operation(gateway_reference="pi_3Abc")
    error = {"type": "invalid_request_error", "code": "payment_intent_authentication_failure"}
    shape = SHAPES.approved(
        op, status="requires_payment_method", amount_received=0, last_payment_error=error
    )
    outcome = stripe().parse_inquiry(op, answer(200, shape))
    assert outcome.result is Result.DECLINED
    assert outcome.decline is not None
    assert outcome.decline.code == "authentication_failed"


def test_no_card_and_no_error_is_unknown() -> None:
    outcome = parsed(operation(), status="requires_payment_method", amount_received=0)
    assert outcome.raw_code == "status_requires_payment_method"


def test_the_other_mode_is_unknown() -> None:
    assert parsed(operation(), livemode=True).raw_code == "mode_mismatch"


def test_a_live_account_believes_live_answers_only() -> None:
    account = GatewayAccount(
        name="stripe",
        connector="stripe",
        base_url="https://api.stripe.com",
        secret=Secret("sk_live_1"),
        live=True,
    )
    live, op = registry([account])["stripe"], operation()
    assert live.parse(op, answer(200, SHAPES.approved(op))).raw_code == "mode_mismatch"
    told = answer(200, SHAPES.approved(op, livemode=True))
    assert live.parse(op, told).result is Result.APPROVED


def test_a_review_after_capture_is_an_approval_with_risk() -> None:
    op = operation()
    outcome = stripe().parse(op, answer(200, SHAPES.held(op)))
    assert (outcome.result, outcome.risk) == (Result.APPROVED, "elevated")
    assert outcome.amount_captured_minor == 1099


def test_a_redirect_over_plain_http_is_unknown() -> None:
    op = operation()
    shape = SHAPES.action(op, "http://hooks.example.com/3ds")
    assert stripe().parse(op, answer(200, shape)).raw_code == "redirect_url_invalid"


def test_an_sdk_action_cannot_be_shown() -> None:
    step = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    outcome = parsed(operation(), status="requires_action", next_action=step)
    assert outcome.raw_code == "redirect_url_invalid"


@pytest.mark.parametrize(
    ("status", "error", "result", "code"),
    [
        (402, {"code": "expired_card"}, Result.DECLINED, "expired_card"),
        (402, {"code": "card_declined"}, Result.DECLINED, "generic_decline"),
        (
            402,
            {"code": "card_declined", "decline_code": "fraudulent"},
            Result.BLOCKED,
            "fraudulent",
        ),
        (402, {"code": "authentication_required"}, Result.DECLINED, "authentication_required"),
        (400, {"code": "incorrect_number"}, Result.DECLINED, "incorrect_number"),
        (400, {"code": "amount_too_small"}, Result.REJECTED, "invalid_amount"),
        (400, {"code": "parameter_unknown"}, Result.REJECTED, "gateway_refused"),
        (404, {"code": "resource_missing"}, Result.REJECTED, "payment_not_found"),
        (400, {"code": "lock_timeout"}, Result.RETRY, None),
        (400, {"type": "idempotency_error"}, Result.UNKNOWN, None),
        (400, {"type": "api_error"}, Result.UNKNOWN, None),
        (400, {"type": None}, Result.UNKNOWN, None),
    ],
)
def test_errors(status: int, error: dict[str, Any], result: Result, code: str | None) -> None:
    kind = "card_error" if status == 402 else "invalid_request_error"
    outcome = stripe().parse(operation(), answer(status, {"error": {"type": kind} | error}))
    assert outcome.result is result
    assert (outcome.decline.code if outcome.decline else None) == code


@pytest.mark.parametrize("wrong", ["amount", "metadata", "currency"])
def test_a_decline_of_another_payment_is_unknown(wrong: str) -> None:
    op = operation()
    status, shape = SHAPES.declined(op, "generic_decline")
    value = {"amount": 5, "metadata": {}, "currency": "usd"}[wrong]
    shape["error"]["payment_intent"][wrong] = value
    assert stripe().parse(op, answer(status, shape)).raw_code == "echo_mismatch"


@pytest.mark.parametrize(
    ("advice", "retry"),
    [
        ("do_not_try_again", "never"),
        ("confirm_card_data", "fix_data"),
        ("try_again_later", "later"),
    ],
)
def test_the_issuers_advice_outranks_the_table(advice: str, retry: str) -> None:
    error = {"type": "card_error", "code": "card_declined", "decline_code": "do_not_honor"}
    body = {"error": error | {"advice_code": advice, "network_decline_code": "05"}}
    decline = stripe().parse(operation(), answer(402, body)).decline
    assert decline is not None
    assert (decline.retry, decline.network_code) == (retry, "05")


def test_radar_blocks_by_outcome() -> None:
    op = operation()
    status, shape = SHAPES.declined(op, "generic_decline")
    shape["error"]["payment_intent"]["latest_charge"] = SHAPES.charge(type="blocked")
    assert stripe().parse(op, answer(status, shape)).result is Result.BLOCKED


# Inquiries


def page(*intents: dict[str, Any], more: bool = False) -> GatewayAnswer:
    return answer(200, {"object": "list", "data": list(intents), "has_more": more})


def test_the_list_is_searched_page_by_page() -> None:
    op, other = operation(), operation()
    outcome = stripe().parse_inquiry(op, page(SHAPES.approved(other, id="pi_7"), more=True))
    assert (outcome.result, outcome.cursor) == (Result.MORE, "pi_7")
    second = stripe().inquire(op, cursor=outcome.cursor)
    assert dict(parse_qsl(urlsplit(second.url).query))["starting_after"] == "pi_7"
    found = stripe().parse_inquiry(op, page(SHAPES.approved(other), SHAPES.approved(op)))
    assert found.result is Result.APPROVED
    assert stripe().parse_inquiry(op, page(more=True)).raw_code == "empty_page"


def test_a_double_charge_is_reported_not_chosen_from() -> None:
    op = operation()
    twice = page(SHAPES.approved(op), SHAPES.approved(op, id="pi_other"))
    assert stripe().parse_inquiry(op, twice).raw_code == "duplicate_operation"
    refund = operation(OperationKind.REFUND)
    both = page(SHAPES.done(refund), SHAPES.done(refund, id="re_other"))
    assert stripe().parse_inquiry(refund, both).raw_code == "duplicate_operation"


def test_the_window_covers_sending_and_skew() -> None:
    op = operation()
    query = dict(parse_qsl(urlsplit(stripe().inquire(op).url).query))
    width = int(query["created[lte]"]) - int(query["created[gte]"])
    assert width == stripe().capabilities.send_within_s + 3 * 60


def test_a_later_look_tells_what_was_captured_since() -> None:
    op = operation(capture=False, gateway_reference="pi_3Abc")
    shape = SHAPES.approved(op, status="succeeded", amount_received=400, amount_capturable=0)
    outcome = stripe().parse_inquiry(op, answer(200, shape))
    assert (outcome.result, outcome.amount_captured_minor) == (Result.APPROVED, 400)


@pytest.mark.parametrize(
    ("kind", "status", "result"),
    [
        (OperationKind.CAPTURE, "requires_capture", Result.NOT_FOUND),
        (OperationKind.CAPTURE, "canceled", Result.REJECTED),
        (OperationKind.VOID, "requires_capture", Result.NOT_FOUND),
        (OperationKind.VOID, "succeeded", Result.REJECTED),
        (OperationKind.VOID, "brand_new", Result.UNKNOWN),
    ],
)
def test_follow_ups_by_the_state_of_the_intent(
    kind: OperationKind, status: str, result: Result
) -> None:
    op = operation(kind)
    shape = SHAPES.done(op, status=status, amount_received=0)
    assert stripe().parse_inquiry(op, answer(200, shape)).result is result
    direct = stripe().parse(op, answer(200, shape)).result
    assert direct is (Result.UNKNOWN if result is Result.NOT_FOUND else result)


def test_there_is_nothing_to_confirm() -> None:
    op = operation(OperationKind.CONFIRM)
    with pytest.raises(StrongroomError, match="operation_not_supported"):
        stripe().build(op)
    outcome = stripe().parse(op, answer(200, SHAPES.approved(op)))
    assert outcome.raw_code == "operation_not_supported"


# Amounts and declines


@pytest.mark.parametrize(
    ("minor", "currency", "sent"),
    [
        (1099, "EUR", 1099),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (7, "UGX", 700),
        (700, "MGA", 7),
        (5120, "KWD", 5120),
        (1045, "HUF", 1045),
        (99_999_999_999, "ISK", 9_999_999_999_900),
    ],
)
def test_amounts(minor: int, currency: str, sent: int) -> None:
    assert to_stripe(Money(minor, currency)) == sent
    assert from_stripe(sent, currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency"), [(5124, "KWD"), (701, "MGA"), (10, "IQD"), (10, "UYI"), (0, "EUR")]
)
def test_amounts_that_cannot_be_said_exactly(minor: int, currency: str) -> None:
    with pytest.raises(StrongroomError, match="amount_not_supported"):
        to_stripe(Money(minor, currency))


def test_a_fraction_of_a_krona_is_no_echo() -> None:
    op = operation(minor=5, currency="ISK")
    assert parsed(op, amount=501, amount_received=501).raw_code == "echo_mismatch"


def test_tables_do_not_contradict_each_other() -> None:
    tables = [SOFT, DATA, HARD, VAGUE]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert all(exponent(currency) == 3 for currency in LAST_DIGIT_ZERO)


def form(request: OutboundRequest) -> list[tuple[str, str]]:
    body = filled(request).decode()
    pairs = parse_qsl(body, strict_parsing=True) if body else []
    return sorted(pairs)


def get_hints(kind: type) -> dict[str, Any]:
    """Annotations of an SDK class and its bases, unresolved."""
    names: dict[str, Any] = {}
    for base in [*getattr(kind, "__mro__", []), *getattr(kind, "__orig_bases__", [])]:
        names |= getattr(base, "__annotations__", {})
    return names
