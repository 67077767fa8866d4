"""Webhooks are believed only when freshly signed with our secret; Stripe's SDK is the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe as sdk
from hypothesis import given
from hypothesis import strategies as st

from strongroom.gateways import Connector, GatewayEvent
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from tests.gateways.connectors_support import (
    WEBHOOK_SECRET,
    SandboxShapes,
    StripeShapes,
    operation,
)

Shapes = StripeShapes | SandboxShapes
T = 1_795_424_100
NOW = datetime.fromtimestamp(T, UTC)
signed = sdk.WebhookSignature.generate_signature_header


@pytest.fixture(params=[StripeShapes, SandboxShapes], ids=lambda shapes: shapes.name)
def shapes(request: pytest.FixtureRequest) -> Shapes:
    return request.param()


@pytest.fixture
def body(shapes: Shapes) -> bytes:
    return json.dumps(shapes.event(operation(gateway_reference=shapes.approved_reference))).encode()


def read(
    shapes: Shapes,
    body: bytes,
    header: str | None,
    *,
    secrets: list[Secret[str]] | None = None,
    now: datetime = NOW,
) -> GatewayEvent:
    headers = {"Content-Type": "application/json"}
    if header is not None:
        headers[shapes.signature_header] = header
    return shapes.connector().parse_webhook(headers, body, now=now, secrets=secrets)


def refused(act: Callable[[], object], code: str = "webhook_signature_invalid") -> None:
    with pytest.raises(StrongroomError) as caught:
        act()
    assert caught.value.code == code


def test_what_stripe_signs_we_read(shapes: Shapes, body: bytes) -> None:
    header = signed(body.decode(), WEBHOOK_SECRET, T)
    event = read(shapes, body, header)
    assert (event.gateway, event.id) == (shapes.name, "evt_3Abc")
    assert (event.topic, event.gateway_reference) == ("payment", shapes.approved_reference)
    assert event.operation_id is not None
    assert event.created_s == 1_795_424_038


def test_stripe_itself_reads_what_we_read() -> None:
    shapes = StripeShapes()
    body = json.dumps(shapes.event(operation())).encode()
    header = signed(body.decode(), WEBHOOK_SECRET)
    theirs = sdk.Webhook.construct_event(body, header, WEBHOOK_SECRET)
    ours = read(shapes, body, header, now=datetime.now(UTC))
    assert (theirs.id, theirs.type, theirs.created) == (ours.id, ours.type, ours.created_s)


@given(text=st.text(max_size=30), other=st.text(min_size=1, max_size=12))
def test_verdicts_agree_with_stripe(text: str, other: str) -> None:
    """For any body and secret our verdict on the signature is the SDK's."""
    header = signed(text, other, T)
    try:
        sdk.WebhookSignature.verify_header(text, header, WEBHOOK_SECRET)
        theirs = True
    except sdk.SignatureVerificationError:
        theirs = False
    try:
        read(StripeShapes(), text.encode(), header)
        code = ""
    except StrongroomError as error:
        code = error.code
    assert theirs is (code != "webhook_signature_invalid")


def test_header_name_in_any_case(shapes: Shapes, body: bytes) -> None:
    header = signed(body.decode(), WEBHOOK_SECRET, T)
    name = shapes.signature_header.lower()
    assert shapes.connector().parse_webhook({name: header}, body, now=NOW).id == "evt_3Abc"


def test_secrets_rotate(shapes: Shapes, body: bytes) -> None:
    both = [Secret("whsec_new"), Secret("whsec_old")]
    for secret in ("whsec_new", "whsec_old"):
        assert read(shapes, body, signed(body.decode(), secret, T), secrets=both)
    two = signed(body.decode(), "whsec_gone", T) + ",v1=" + signature("whsec_old", body)
    assert read(shapes, body, two, secrets=both)
    refused(lambda: read(shapes, body, signed(body.decode(), "whsec_gone", T), secrets=both))


@pytest.mark.parametrize("away_s", [-300, 0, 300])
def test_five_minutes_are_tolerated(shapes: Shapes, body: bytes, away_s: int) -> None:
    assert read(shapes, body, signed(body.decode(), WEBHOOK_SECRET, T + away_s))


@pytest.mark.parametrize("away_s", [-301, 301, -(10**9)])
def test_stale_and_early_are_refused(shapes: Shapes, body: bytes, away_s: int) -> None:
    header = signed(body.decode(), WEBHOOK_SECRET, T + away_s)
    refused(lambda: read(shapes, body, header))


def test_forged_is_refused(shapes: Shapes, body: bytes) -> None:
    good = signed(body.decode(), WEBHOOK_SECRET, T)
    refused(lambda: read(shapes, body + b" ", good))
    refused(lambda: read(shapes, body, signed(body.decode(), "whsec_other", T)))
    refused(lambda: read(shapes, body, good.replace(f"t={T}", f"t={T + 1}")))
    refused(lambda: read(shapes, body, good.replace("v1=", "v0=")))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=,v1=",
        f"t={T}",
        "v1=" + "0" * 64,
        f"t={T},v1=",
        f"t={T},v1=é",
        "t=x,v1=" + "0" * 64,
        "t=-1,v1=" + "0" * 64,
        "t=١٢٣,v1=" + "0" * 64,
        f"t={'9' * 400},v1={'0' * 64}",
        f"t={T},t={T},v1={'0' * 64}",
        f"t={T}" + ",v1=0" * 2000,
    ],
)
def test_odd_headers_are_refused(shapes: Shapes, body: bytes, header: str | None) -> None:
    refused(lambda: read(shapes, body, header))


def test_a_second_time_does_not_count(shapes: Shapes, body: bytes) -> None:
    old = signed(body.decode(), WEBHOOK_SECRET, T - 9_000)
    refused(lambda: read(shapes, body, f"t={T},{old}"))
    refused(lambda: read(shapes, body, f"{old},t={T}"))
    good = signed(body.decode(), WEBHOOK_SECRET, T)
    refused(lambda: read(shapes, body, f"{good},t={T}"))


def test_an_empty_secret_never_verifies(shapes: Shapes, body: bytes) -> None:
    header = signed(body.decode(), "", T)
    refused(lambda: read(shapes, body, header, secrets=[Secret("")]))
    refused(lambda: read(shapes, body, header, secrets=[Secret(WEBHOOK_SECRET), Secret("")]))
    refused(lambda: read(shapes, body, header, secrets=[]))


def test_repeated_signature_headers_are_refused(shapes: Shapes, body: bytes) -> None:
    header = signed(body.decode(), WEBHOOK_SECRET, T)
    name = shapes.signature_header
    twice = {name: header, name.lower(): header}
    refused(lambda: shapes.connector().parse_webhook(twice, body, now=NOW))


def test_a_huge_body_is_refused(shapes: Shapes) -> None:
    body = b'{"a":"' + b"x" * 70_000 + b'"}'
    refused(lambda: read(shapes, body, signed(body.decode(), WEBHOOK_SECRET, T)))


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "evt/../1"},
        {"type": "a" * 500},
        {"type": "<b>"},
        {"created": "now"},
        {"data": {}},
        {"data": None},
    ],
)
def test_signed_but_not_understood(shapes: Shapes, change: dict[str, Any]) -> None:
    body = json.dumps(shapes.event(operation()) | change).encode()
    header = signed(body.decode(), WEBHOOK_SECRET, T)
    refused(lambda: read(shapes, body, header), "webhook_malformed")


@pytest.mark.parametrize("body", ["", "[]", "nul", "{}", "[" * 5000, '{"id":"evt_1"}'])
def test_signed_garbage(shapes: Shapes, body: str) -> None:
    header = signed(body, WEBHOOK_SECRET, T)
    refused(lambda: read(shapes, body.encode(), header), "webhook_malformed")


def test_an_event_of_the_other_mode_is_refused() -> None:
    body = json.dumps(StripeShapes().event(operation()) | {"livemode": True}).encode()
    header = signed(body.decode(), WEBHOOK_SECRET, T)
    refused(lambda: read(StripeShapes(), body, header), "webhook_malformed")


@pytest.mark.parametrize(
    ("about", "topic", "reference"),
    [
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, "payment", "pi_1"),
        ({"object": "refund", "id": "re_1", "payment_intent": "pi_1"}, "refund", "pi_1"),
        ({"object": "dispute", "id": "dp_1", "payment_intent": "pi_1"}, "dispute", "pi_1"),
        (
            {"object": "radar.early_fraud_warning", "id": "issfr_1", "payment_intent": "pi_1"},
            "fraud_warning",
            "pi_1",
        ),
        ({"object": "review", "id": "prv_1", "payment_intent": {"id": "pi_1"}}, "payment", "pi_1"),
        ({"object": "balance"}, "other", None),
    ],
)
def test_stripe_topics(about: dict[str, Any], topic: str, reference: str | None) -> None:
    event = StripeShapes().event(operation()) | {"data": {"object": about}}
    body = json.dumps(event).encode()
    found = read(StripeShapes(), body, signed(body.decode(), WEBHOOK_SECRET, T))
    assert (found.topic, found.gateway_reference, found.operation_id) == (topic, reference, None)


def test_a_foreign_operation_id_is_dropped() -> None:
    event = StripeShapes().event(operation())
    event["data"]["object"]["metadata"]["strongroom_operation"] = "op_'; DROP TABLE"
    body = json.dumps(event).encode()
    found = read(StripeShapes(), body, signed(body.decode(), WEBHOOK_SECRET, T))
    assert found.operation_id is None


def signature(secret: str, body: bytes) -> str:
    return signed(body.decode(), secret, T).partition("v1=")[2]


def test_the_default_secrets_are_the_accounts(shapes: Shapes, body: bytes) -> None:
    connector: Connector = shapes.connector()
    headers = {shapes.signature_header: signed(body.decode(), WEBHOOK_SECRET, T)}
    assert connector.parse_webhook(headers, body, now=NOW).id == "evt_3Abc"
    refused(
        lambda: connector.parse_webhook(headers, body, now=NOW, secrets=[Secret("whsec_other")])
    )
