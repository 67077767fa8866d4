"""Whatever bytes come back, a connector answers with an outcome, and approves only a true echo."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.gateways import OperationKind, Outcome, Result
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.money import CURRENCIES, Money
from strongroom.vault import GatewayAnswer
from tests.gateways.connectors_support import (
    SandboxShapes,
    StripeShapes,
    operation,
)

Shapes = StripeShapes | SandboxShapes
SHAPES = [StripeShapes(), SandboxShapes()]
IDS = [shapes.name for shapes in SHAPES]
KINDS = st.sampled_from(list(OperationKind))
STATUSES = st.sampled_from([200, 400, 402, 404, 422]) | st.integers(-5, 999)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
GOOD = {Result.APPROVED, Result.HELD, Result.SUCCEEDED}


@pytest.mark.parametrize("shapes", SHAPES, ids=IDS)
@given(kind=KINDS, status=STATUSES, body=st.binary(max_size=300), wait=st.none() | st.integers())
def test_bytes_never_raise_and_never_approve(
    shapes: Shapes, kind: OperationKind, status: int, body: bytes, wait: int | None
) -> None:
    for outcome in both(shapes, kind, GatewayAnswer(status, body, wait)):
        assert outcome.result not in GOOD
        assert outcome.raw_code


@pytest.mark.parametrize("shapes", SHAPES, ids=IDS)
@given(kind=KINDS, status=STATUSES, body=JSON)
def test_json_never_raises_and_never_approves(
    shapes: Shapes, kind: OperationKind, status: int, body: object
) -> None:
    for outcome in both(shapes, kind, GatewayAnswer(status, dumped(body))):
        assert outcome.result not in GOOD


@pytest.mark.parametrize("shapes", SHAPES, ids=IDS)
@settings(max_examples=300)
@given(data=st.data(), capture=st.booleans(), held=st.booleans())
def test_a_damaged_approval_is_believed_only_if_it_still_echoes(
    shapes: Shapes, data: st.DataObject, capture: bool, held: bool
) -> None:
    op = operation(capture=capture)
    state = shapes.held(op) if held and not capture else shapes.approved(op)
    for _ in range(data.draw(st.integers(1, 3))):
        damage(state, data)
    outcome = shapes.connector().parse(op, GatewayAnswer(200, dumped(state)))
    if outcome.result in GOOD:
        assert echo_of(shapes, state) == (1099, shapes.currency_text("EUR"), op.id)
        assert outcome.amount_authorized_minor == 1099
        assert outcome.amount_captured_minor == (1099 if capture else 0)
    assert outcome.redirect_url is None or outcome.redirect_url.startswith("https://")


@pytest.mark.parametrize("shapes", SHAPES, ids=IDS)
@given(data=st.data())
def test_a_damaged_follow_up_is_believed_only_if_it_still_echoes(
    shapes: Shapes, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from([OperationKind.CAPTURE, OperationKind.REFUND]))
    op = operation(kind, stripe=shapes.name == "stripe")
    state = shapes.done(op)
    damage(state, data)
    outcome = shapes.connector().parse(op, GatewayAnswer(200, dumped(state)))
    if outcome.result is not Result.SUCCEEDED:
        return
    text = dumped(state).decode()
    assert str(op.amount.minor) in text
    assert f'"{shapes.currency_text("EUR")}"' in text
    assert (op.payment_id if shapes.name == "stripe" else op.id) in text


@pytest.mark.parametrize("shapes", SHAPES, ids=IDS)
@given(minor=st.integers(1, 99_999_999_999), currency=st.sampled_from(sorted(CURRENCIES)))
def test_every_amount_comes_back_as_it_went_out(shapes: Shapes, minor: int, currency: str) -> None:
    """An amount is either refused when built or found again, exactly, in the gateway's words."""
    op = operation(minor=minor, currency=currency)
    try:
        request = shapes.connector().build(op)
    except StrongroomError as refused:
        code = refused.code
    else:
        code = ""
    if code:
        assert code == "amount_not_supported"
        return
    head = request.body[0]
    assert isinstance(head, str)
    sent = int(head.partition("amount=")[2].partition("&")[0]) if shapes.name == "stripe" else minor
    state = shapes.approved(op, amount=sent)
    key = "amount_received" if shapes.name == "stripe" else "captured_amount"
    outcome = shapes.connector().parse(op, GatewayAnswer(200, dumped(state | {key: sent})))
    assert outcome.result is Result.APPROVED
    assert outcome.amount_captured_minor == minor
    wrong = shapes.approved(op, amount=sent + 1)
    assert shapes.connector().parse(op, GatewayAnswer(200, dumped(wrong))).result is Result.UNKNOWN
    assert op.amount == Money(minor, currency)


def both(shapes: Shapes, kind: OperationKind, answer: GatewayAnswer) -> list[Outcome]:
    connector = shapes.connector()
    known = operation(kind, stripe=shapes.name == "stripe")
    found = [connector.parse(known, answer), connector.parse_inquiry(known, answer)]
    if kind is OperationKind.AUTHORIZE:
        later = operation(kind, gateway_reference=shapes.approved_reference)
        found.append(connector.parse_inquiry(later, answer))
    assert all(outcome.result is not Result.RETRY for outcome in found[1:])
    return found


def damage(state: dict[str, Any], data: st.DataObject) -> None:
    """Change, remove or add one value somewhere in the answer."""
    place: Any = state
    key = data.draw(st.sampled_from(sorted(place)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        near = [1100, 1098, 0, -1, 109900, "succeeded", "approved", "EUR", "usd", "", True, [], {}]
        place[key] = data.draw(st.sampled_from(near) | LEAVES)
    else:
        del place[key]
        place.setdefault("padding", 1)


def echo_of(shapes: Shapes, state: dict[str, Any]) -> tuple[object, object, object]:
    if shapes.name == "stripe":
        reference = state["metadata"]["strongroom_operation"]
    else:
        reference = state["reference"]
    return state["amount"], state["currency"], reference


def dumped(body: object) -> bytes:
    return json.dumps(body).encode()
