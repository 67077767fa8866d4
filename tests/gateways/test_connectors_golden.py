"""Requests are exactly the recorded ones: a change of the wire is a change of a golden file.

`STRONGROOM_GOLDEN=write` records them anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strongroom.gateways import Connector, Operation, OperationKind
from strongroom.kernel.money import Money
from strongroom.kernel.secret import Secret
from strongroom.vault import OutboundRequest, Slot
from tests.gateways.connectors_support import sandbox, stripe

GOLDEN = Path(__file__).parent / "golden"
OP = "op_01k2r5rxg0f1s8t0zkzq5h7c2m"
PAY = "pay_01k2r5rxg0e1s8t0zkzq5h7c2m"
AUTHORIZE = OperationKind.AUTHORIZE


def op(kind: OperationKind, minor: int = 1099, currency: str = "EUR", **more: object) -> Operation:
    return Operation(
        id=OP,
        kind=kind,
        payment_id=PAY,
        amount=Money(minor, currency),
        **more,  # type: ignore[arg-type]
    )


FULL = op(
    AUTHORIZE,
    capture=False,
    reference='order 7/ä&b="c"',
    description="Two tickets",
    return_url="https://shop.example/back?a=1&b=2",
    request_3ds=True,
)
CASES = {
    "authorize": op(AUTHORIZE),
    "authorize_full": FULL,
    "authorize_without_cvc": op(AUTHORIZE, has_cvc=False),
    "authorize_jpy": op(AUTHORIZE, 500, "JPY"),
    "capture": op(OperationKind.CAPTURE, gateway_reference="{id}"),
    "void": op(OperationKind.VOID, gateway_reference="{id}"),
    "refund": op(OperationKind.REFUND, 300, gateway_reference="{id}"),
}
CONNECTORS = {"stripe": (stripe, "pi_3Abc"), "sandbox": (sandbox, "ch_3Abc")}


@pytest.mark.parametrize("gateway", CONNECTORS)
@pytest.mark.parametrize("case", CASES)
def test_request(gateway: str, case: str) -> None:
    connector, operation = prepared(gateway, case)
    compare(gateway, case, text_of(connector.build(operation)))


@pytest.mark.parametrize("gateway", CONNECTORS)
@pytest.mark.parametrize("case", ["authorize", "capture", "void", "refund"])
def test_inquiry(gateway: str, case: str) -> None:
    connector, operation = prepared(gateway, case)
    compare(gateway, f"inquire_{case}", text_of(connector.inquire(operation)))


def test_stripe_inquiry_by_id_and_next_page() -> None:
    known = op(AUTHORIZE, gateway_reference="pi_3Abc")
    compare("stripe", "inquire_authorize_known", text_of(stripe().inquire(known)))
    page = stripe().inquire(op(AUTHORIZE), cursor="pi_9")
    compare("stripe", "inquire_authorize_page_2", text_of(page))


def test_sandbox_confirm() -> None:
    request = sandbox().build(op(OperationKind.CONFIRM, gateway_reference="ch_3Abc"))
    compare("sandbox", "confirm", text_of(request))


def test_no_golden_file_is_forgotten() -> None:
    follow = {f"inquire_{case}" for case in ("authorize", "capture", "void", "refund")}
    used = {
        "stripe": set(CASES) | follow | {"inquire_authorize_known", "inquire_authorize_page_2"},
        "sandbox": set(CASES) | follow | {"confirm"},
    }
    for gateway, names in used.items():
        assert {path.stem for path in (GOLDEN / gateway).glob("*.http")} == names


def prepared(gateway: str, case: str) -> tuple[Connector, Operation]:
    make, payment = CONNECTORS[gateway]
    chosen = CASES[case]
    if chosen.gateway_reference:
        chosen = op(chosen.kind, chosen.amount.minor, gateway_reference=payment)
    return make(), chosen


def text_of(request: OutboundRequest) -> str:
    lines = [f"{request.method} {request.url}"]
    lines += [f"{name}: {_header(value)}" for name, value in request.headers]
    lines += [f"({request.encoding.value}, {'' if request.repeatable else 'not '}repeatable)", ""]
    body = []
    for piece in request.body:
        if isinstance(piece, str):
            body.append(piece)
        elif isinstance(piece, Slot):
            body.append(f"«{piece.value}»")
        else:
            body.append(f"[{piece[0]}«{piece[1].value}»]")
    return "\n".join([*lines, "".join(body)]).rstrip("\n") + "\n"


def compare(gateway: str, name: str, text: str) -> None:
    path = GOLDEN / gateway / f"{name}.http"
    if os.environ.get("STRONGROOM_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def _header(value: str | Secret[str]) -> str:
    return "«secret»" if isinstance(value, Secret) else value
