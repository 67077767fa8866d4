"""OpenAPI 3.1 from the same declarations that the routes run on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from strongroom import __version__
from strongroom.api import forms, headers, problems
from strongroom.api.endpoint import PATH_IDS, Endpoint, Owner
from strongroom.api.forms import OAuthRefusal
from strongroom.api.model import NoQuery, ProblemAnswer
from strongroom.kernel.limits import IDEMPOTENCY_KEY_MAX_CHARS
from strongroom.kernel.secret import Cvc, Pan

_REF = "#/components/schemas/{name}"
_ALWAYS = ("internal_error", "overloaded", "shutting_down", "request_timeout")
_CALLER = (
    "unauthenticated",
    "invalid_token",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "permission_denied",
    "unsupported_version",
    "storage_unavailable",
)
_BODY = (
    "invalid_json",
    "invalid_encoding",
    "duplicate_name",
    "json_too_deep",
    "number_not_integer",
    "number_not_safe",
    "text_not_printable",
    "missing_parameter",
    "unknown_parameter",
    "invalid_parameter",
    "body_too_large",
    "unsupported_media_type",
)
_MERCHANT_HEADER = {
    "name": "Strongroom-Merchant",
    "in": "header",
    "description": "Operators only: whose things are meant.",
    "schema": {"type": "string", "pattern": "^mer_[0-9a-z]{26}$"},
}
_VERSION_HEADER = {
    "name": "Strongroom-Version",
    "in": "header",
    "description": "Pins the version of the API; the current one when left out.",
    "schema": {"type": "string", "enum": list(headers.VERSIONS)},
}
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "A fresh random value for each new request; kept for seven days.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": IDEMPOTENCY_KEY_MAX_CHARS,
        "pattern": r"^[A-Za-z0-9._:-]+$",
    },
}


def document(endpoints: Sequence[Endpoint]) -> bytes:
    """Return the OpenAPI document as JSON."""
    types = _types(endpoints)
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=_secret_schema, ref_template=_REF
    )
    known = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, known)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Strongroom",
                "version": headers.VERSIONS[0],
                "description": f"Payments, tokens, ledger and journal. Server {__version__}.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def codes_of(endpoint: Endpoint) -> list[str]:
    """Return every error code a route can answer with, its own first."""
    codes = [*endpoint.errors, *_ALWAYS]
    if not endpoint.public:
        codes += _CALLER
        codes += ["merchant_required"] if endpoint.owner is Owner.MERCHANT else []
    if endpoint.request is not None:
        codes += _BODY
    elif endpoint.query is not NoQuery:
        codes += ["unknown_parameter", "invalid_parameter"]
    return list(dict.fromkeys(codes))


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    found: dict[str, Any] = {repr(ProblemAnswer): ProblemAnswer, repr(OAuthRefusal): OAuthRefusal}
    for endpoint in endpoints:
        for kind in (endpoint.request, endpoint.form, *endpoint.answers.values()):
            if kind is not None:
                found[repr(kind)] = kind
    return list(found.values())


def _operation(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "x-action": endpoint.action,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, known),
    }
    if not endpoint.public:
        made["security"] = [{"apiKey": []}]
    if endpoint.request is not None:
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known[repr(endpoint.request)]}},
        }
    elif endpoint.form is not None:
        made["requestBody"] = {
            "required": True,
            "content": {forms.MEDIA: {"schema": known[repr(endpoint.form)]}},
        }
    elif endpoint.raw:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    return made


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in endpoint.parameters:
        prefix = PATH_IDS[name][0]
        pattern = f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$" if prefix else "^[a-z0-9_-]{1,64}$"
        schema = {"type": "string", "pattern": pattern}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    found += _query_parameters(endpoint)
    if endpoint.keyed:
        found.append(_KEY_HEADER)
    if not endpoint.public:
        found.append(_VERSION_HEADER)
        if endpoint.owner is not Owner.INSTALLATION:
            found.append(_MERCHANT_HEADER)
    return found


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([endpoint.query], ref_template=_REF)
    properties = components[endpoint.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "schema": _without_null(kind)}
        for name, kind in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out, never null."""
    kept = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**kept[0], **rest} if len(kept) == 1 else rest


def _responses(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, kind in endpoint.answers.items():
        found[str(status)] = {"description": HTTPStatus(status).phrase}
        if kind is not None and status < 400:
            content = {"application/json": {"schema": known[repr(kind)]}}
            found[str(status)]["content"] = content
    by_status: dict[int, list[str]] = {}
    form = endpoint.form is not None
    for code in codes_of(endpoint):
        told = problems.status_of(code)
        by_status.setdefault(forms.STATUS.get(code, told) if form else told, []).append(code)
    refusal = known[repr(OAuthRefusal if form else ProblemAnswer)]
    media = "application/json" if form else "application/problem+json"
    for status, codes in sorted(by_status.items()):
        found[str(status)] = {
            "description": ", ".join(codes),
            "content": {media: {"schema": refusal}},
        }
    return found


def _secret_schema(kind: type) -> dict[str, Any]:
    if kind is Pan:
        return {"type": "string", "pattern": "^[0-9]{12,19}$", "writeOnly": True}
    if kind is Cvc:
        return {"type": "string", "pattern": "^[0-9]{3,4}$", "writeOnly": True}
    return {"type": "string", "minLength": 1, "maxLength": 100, "writeOnly": True}
