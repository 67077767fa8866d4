"""What every connector's requests must be like, whichever gateway they go to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from strongroom.gateways import Connector, Operation, OperationKind
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.vault import OutboundRequest, Slot
from tests.gateways.connectors_support import (
    SANDBOX_SECRET,
    STRIPE_SECRET,
    SandboxShapes,
    StripeShapes,
    filled,
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


@pytest.mark.parametrize("kind", [AUTHORIZE, *FOLLOW_UPS])
def test_same_operation_same_bytes(
    shapes: Shapes, connector: Connector, kind: OperationKind
) -> None:
    op = op_for(shapes, kind)
    assert masked(connector.build(op)) == masked(connector.build(op))
    assert masked(shapes.connector().build(op)) == masked(connector.build(op))


def test_build_picks_the_named_builder(shapes: Shapes, connector: Connector) -> None:
    builders = {
        AUTHORIZE: connector.authorize,
        CAPTURE: connector.capture,
        VOID: connector.void,
        REFUND: connector.refund,
    }
    for kind, builder in builders.items():
        op = op_for(shapes, kind)
        assert masked(connector.build(op)) == masked(builder(op))


def test_idempotency_key_is_of_operation_and_kind_only(
    shapes: Shapes, connector: Connector
) -> None:
    seen = set()
    for kind in [AUTHORIZE, *FOLLOW_UPS]:
        op = op_for(shapes, kind)
        other = op_for(shapes, kind, id=op.id, minor=op.amount.minor + 1, reference="x")
        assert key_of(connector.build(op)) == key_of(connector.build(other))
        assert op.id in key_of(connector.build(op))
        seen.add(key_of(connector.build(op)).removeprefix(op.id))
    assert len(seen) == 4


def test_every_call_is_authorized_with_a_masked_secret(
    shapes: Shapes, connector: Connector
) -> None:
    for kind in [AUTHORIZE, *FOLLOW_UPS]:
        op = op_for(shapes, kind)
        for request in (connector.build(op), connector.inquire(op)):
            value = dict(request.headers)["Authorization"]
            assert isinstance(value, Secret)
            assert value.reveal().startswith("Bearer s")
            assert STRIPE_SECRET not in repr(request)
            assert SANDBOX_SECRET not in repr(request)


def test_requests_stay_on_the_account_origin(shapes: Shapes, connector: Connector) -> None:
    (origin,) = connector.capabilities.origins
    for kind in [AUTHORIZE, *FOLLOW_UPS]:
        op = op_for(shapes, kind)
        for request in (connector.build(op), connector.inquire(op)):
            parts = urlsplit(request.url)
            assert f"{parts.scheme}://{parts.netloc}" == origin


def test_card_data_has_slots_only_in_the_authorization(
    shapes: Shapes, connector: Connector
) -> None:
    slots = slots_of(connector.build(op_for(shapes, AUTHORIZE)))
    assert slots == {
        Slot.NUMBER: False,
        Slot.EXP_MONTH: False,
        Slot.EXP_YEAR: False,
        Slot.CVC: True,
        Slot.HOLDER_NAME: True,
    }
    for kind in FOLLOW_UPS:
        assert not slots_of(connector.build(op_for(shapes, kind)))
    for kind in [AUTHORIZE, *FOLLOW_UPS]:
        request = connector.inquire(op_for(shapes, kind))
        assert not request.body
        assert request.method == "GET"
        assert "Idempotency-Key" not in dict(request.headers)


def test_no_cvc_slot_without_a_cvc(shapes: Shapes, connector: Connector) -> None:
    request = connector.build(op_for(shapes, AUTHORIZE, has_cvc=False))
    assert Slot.CVC not in slots_of(request)


def test_absent_cvc_and_holder_leave_no_trace(shapes: Shapes, connector: Connector) -> None:
    request = connector.build(op_for(shapes, AUTHORIZE))
    card = {Slot.NUMBER: "4242424242424242", Slot.EXP_MONTH: "2", Slot.EXP_YEAR: "2031"}
    body = filled(request, card)
    assert b"cvc" not in body
    assert b"name" not in body


@pytest.mark.parametrize("text", ['"}&x=1', "a b+c%", "ключ", "\x00\r\nX: 1", "𝕏" * 300])
def test_free_text_cannot_break_out(shapes: Shapes, connector: Connector, text: str) -> None:
    plain = connector.build(op_for(shapes, AUTHORIZE, reference="R", description="D"))
    odd = connector.build(op_for(shapes, AUTHORIZE, reference=text, description=text))
    assert field_names(shapes, odd) == field_names(shapes, plain)


@pytest.mark.parametrize("kind", FOLLOW_UPS)
@pytest.mark.parametrize("reference", [None, "", "../x", "pi_1/capture", "pi_1?x", "é", "a" * 200])
def test_a_wrong_gateway_reference_never_reaches_a_url(
    shapes: Shapes, connector: Connector, kind: OperationKind, reference: str | None
) -> None:
    op = op_for(shapes, kind, gateway_reference=reference)
    with pytest.raises(StrongroomError, match="gateway_reference_invalid"):
        connector.build(op)


def test_a_foreign_operation_id_is_refused(shapes: Shapes, connector: Connector) -> None:
    op = op_for(shapes, AUTHORIZE, id="pay_01kc0000000000000000000000")
    with pytest.raises(StrongroomError, match="invalid_id"):
        connector.build(op)
    with pytest.raises(StrongroomError, match="invalid_id"):
        connector.inquire(op)


@pytest.mark.parametrize("kind", [AUTHORIZE, CAPTURE, REFUND])
@pytest.mark.parametrize("minor", [0, -1])
def test_no_money_is_not_an_amount(
    shapes: Shapes, connector: Connector, kind: OperationKind, minor: int
) -> None:
    with pytest.raises(StrongroomError, match="amount_not_supported"):
        connector.build(op_for(shapes, kind, minor=minor))


def masked(request: OutboundRequest) -> tuple[object, ...]:
    headers = [(name, str(value)) for name, value in request.headers]
    return request.method, request.url, headers, request.body, request.encoding


def key_of(request: OutboundRequest) -> str:
    value = dict(request.headers)["Idempotency-Key"]
    assert isinstance(value, str)
    return value


def slots_of(request: OutboundRequest) -> dict[Slot, bool]:
    """Return each slot with whether it may be left out."""
    found = {}
    for piece in request.body:
        if isinstance(piece, Slot):
            found[piece] = False
        elif isinstance(piece, tuple):
            found[piece[1]] = True
    return found


def field_names(shapes: Shapes, request: OutboundRequest) -> list[str]:
    body = filled(request)
    if shapes.name == "sandbox":
        return sorted(json.loads(body))
    return [name for name, _ in parse_qsl(body.decode(), strict_parsing=True)]
