"""Schemathesis reads the OpenAPI document and sends what fits it and what does not: never a 5xx."""

from __future__ import annotations

import itertools
import json
import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from strongroom.api import openapi
from strongroom.api.routes import ENDPOINTS
from tests.support.stack import Stack

schema = schemathesis.openapi.from_dict(json.loads(openapi.document(ENDPOINTS)))
TURNS = itertools.count()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schema.parametrize()
@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20")),
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_is_answered_as_documented(case: Any, stack: Stack) -> None:
    """As the merchant and, every other time, as an operator who names the merchant."""
    operator = next(TURNS) % 2 == 1
    key = stack.operator_admin_key if operator else stack.secret_key
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
    case.headers.pop("Strongroom-Merchant", None)
    if operator:
        case.headers["Strongroom-Merchant"] = stack.merchant
    response = case.call(base_url=stack.url)
    case.validate_response(response, checks=CHECKS)
    assert "request-id" in response.headers
    assert response.headers["x-content-type-options"] == ["nosniff"]


def test_the_document_has_operations() -> None:
    assert len(list(schema.get_all_operations())) == len(ENDPOINTS)
