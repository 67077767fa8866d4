"""The OpenAPI document is valid, complete, and true of what is really answered."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from msgspec import inspect

from strongroom.api import model, openapi
from strongroom.api.routes import ENDPOINTS
from tests.support.stack import Stack

SPEC: dict[str, Any] = json.loads(openapi.document(ENDPOINTS))
CLASSES = {"public", "internal", "confidential", "personal", "cardholder", "sad", "secret"}
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def validator(schema: dict[str, Any]) -> Any:
    whole = {**schema, "components": SPEC["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def test_every_route_is_in_the_document_once() -> None:
    assert {(method, path) for method, path, _ in operations()} == {
        (endpoint.method, endpoint.path) for endpoint in ENDPOINTS
    }
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_schemas_are_valid_and_references_resolve() -> None:
    for schema in SPEC["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema",
                                     **schema})  # fmt: skip
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(SPEC)))
    assert wanted <= set(SPEC["components"]["schemas"])


def test_path_parameters_keys_and_security_are_told() -> None:
    for endpoint in ENDPOINTS:
        operation = SPEC["paths"][endpoint.path][endpoint.method.lower()]
        given = {(p["in"], p["name"]) for p in operation["parameters"]}
        assert {("path", name) for name in endpoint.parameters} <= given
        assert (("header", "Idempotency-Key") in given) == endpoint.keyed
        assert ("security" in operation) != endpoint.public
        assert operation["x-action"] == endpoint.action
        assert "500" in operation["responses"]
        assert ("401" in operation["responses"]) or endpoint.public


def wire_types() -> list[type[msgspec.Struct]]:
    return [
        kind
        for kind in model.Wire.__subclasses__()
        if kind.__module__.startswith("strongroom.") and "[" not in kind.__name__
    ]


@pytest.mark.parametrize("kind", wire_types(), ids=lambda kind: kind.__name__)
def test_every_wire_field_is_on_the_data_map(kind: type[msgspec.Struct]) -> None:
    concrete = kind[model.CardView] if kind is model.ListAnswer else kind  # type: ignore[index]
    info = inspect.type_info(concrete)
    assert isinstance(info, inspect.StructType) and info.forbid_unknown_fields
    assert kind.__struct_config__.frozen
    for field in info.fields:
        assert classes(field.type) <= CLASSES, field.name
        assert classes(field.type) or holds_bodies(field.type), f"{field.name} has no data class"


def classes(kind: inspect.Type) -> set[str]:
    if isinstance(kind, inspect.Metadata):
        mark = (kind.extra or {}).get("class")
        return {mark} if mark else classes(kind.type)
    if isinstance(kind, inspect.UnionType):
        return set().union(*(classes(part) for part in kind.types))
    return set()


def holds_bodies(kind: inspect.Type) -> bool:
    """Whether a field only holds other bodies, whose fields are on the map themselves."""
    if isinstance(kind, inspect.Metadata):
        return holds_bodies(kind.type)
    if isinstance(kind, inspect.UnionType):
        parts = [part for part in kind.types if not isinstance(part, inspect.NoneType)]
        return all(holds_bodies(part) for part in parts)
    if isinstance(kind, inspect.ListType):
        return holds_bodies(kind.item_type)
    return isinstance(kind, inspect.StructType)


def test_card_data_is_marked_as_what_it_is() -> None:
    card = SPEC["components"]["schemas"]["CardBody"]["properties"]
    assert card["number"]["x-data-class"] == "cardholder" and card["number"]["writeOnly"]
    assert card["cvc"]["x-data-class"] == "sad"
    assert card["holder_name"]["x-data-class"] == "personal"
    shown = json.dumps([SPEC["components"]["schemas"][n] for n in ("PaymentAnswer", "CardView")])
    assert "sad" not in shown and "number" not in shown


def test_real_answers_are_as_documented(stack: Stack) -> None:
    payment = stack.call(
        "POST",
        "/v1/payments",
        {"amount": 1099, "currency": "EUR", "payment_method": {"card": CARD}},
        idempotency_key=str(uuid.uuid4()),
    ).json
    token = payment["payment_method"]["token"]
    entry = stack.call("GET", f"/v1/journal/entries?subject={payment['id']}").json["data"][0]["id"]
    refunds = f"/v1/payments/{payment['id']}/refunds"
    stack.call("POST", refunds, {"amount": 1}, idempotency_key=str(uuid.uuid4()))
    asked = {
        "action": "refund:create", "resource": payment["id"], "parameters": {"amount": 1},
        "reason": "goods came back",
    }  # fmt: skip
    approval = stack.call("POST", "/v1/approvals", asked).json["id"]
    ids = {
        "payment_id": payment["id"], "token_id": token, "entry_id": entry,
        "approval_id": approval,
    }  # fmt: skip
    for endpoint in ENDPOINTS:
        told = endpoint.answers.get(200)
        if endpoint.method != "GET" or told is None:
            continue
        key = None if endpoint.public else stack.secret_key
        answer = stack.call("GET", endpoint.path.format(**ids), key=key)
        assert answer.status == 200, (endpoint.path, answer.body)
        operation = SPEC["paths"][endpoint.path]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        validator(schema).validate(answer.json)
    problem = stack.call("GET", "/v1/payments/pay_1").json
    validator({"$ref": "#/components/schemas/ProblemAnswer"}).validate(problem)
