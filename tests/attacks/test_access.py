"""Who may call what: every route of the OpenAPI document against every kind of key.

The table below is written by hand. A route that is missing in it fails, so does a key that gets
further than it says.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.identity import KeyKind, KeySpec
from strongroom.identity.keytext import generate
from tests.attacks.swarm import lines
from tests.support.pay import body, card, get, new_key, pay
from tests.support.stack import Answer, Stack, http

# s the merchant's secret key, p its publishable key, r operator-read, a operator-admin,
# * everybody, also without a key.
MAY: dict[tuple[str, str], str] = {
    ("post", "/v1/tokens"): "sp",
    ("post", "/v1/tokens/batch"): "sp",
    ("get", "/v1/tokens/{token_id}"): "sra",
    ("delete", "/v1/tokens/{token_id}"): "s",
    ("post", "/v1/tokens/resolve"): "sra",
    ("post", "/v1/tokens/reveal"): "a",
    ("post", "/v1/tokens/{token_id}/reveal"): "a",
    ("get", "/v1/vault/keys"): "spra",
    ("post", "/v1/data-subjects/erase"): "sa",
    ("post", "/v1/payments"): "s",
    ("get", "/v1/payments"): "sra",
    ("get", "/v1/payments/{payment_id}"): "sra",
    ("post", "/v1/payments/{payment_id}/capture"): "s",
    ("post", "/v1/payments/{payment_id}/cancel"): "s",
    ("post", "/v1/payments/{payment_id}/review"): "sa",
    ("post", "/v1/payments/{payment_id}/refunds"): "s",
    ("get", "/v1/payments/{payment_id}/refunds"): "sra",
    ("get", "/v1/payments/{payment_id}/postings"): "sra",
    ("get", "/v1/ledger/balances"): "sra",
    ("get", "/v1/journal/entries"): "sra",
    ("get", "/v1/journal/entries/{entry_id}"): "sra",
    ("get", "/v1/journal/entries/{entry_id}/proof"): "sra",
    ("get", "/v1/journal/checkpoint"): "sra",
    ("post", "/v1/approvals"): "sa",
    ("get", "/v1/approvals"): "sra",
    ("get", "/v1/approvals/{approval_id}"): "sra",
    ("get", "/metrics"): "ra",
    ("get", "/v1/return/{merchant_id}/{payment_id}"): "*",
    ("post", "/v1/gateways/{gateway}/events"): "*",
    ("post", "/v1/security/leaked-keys"): "*",
    ("post", "/oauth/token"): "*",
    ("post", "/oauth/introspect"): "*",
    ("post", "/oauth/revoke"): "*",
    ("get", "/oauth/jwks"): "*",
    ("get", "/.well-known/oauth-authorization-server"): "*",
    ("get", "/health/live"): "*",
    ("get", "/health/ready"): "*",
    ("get", "/openapi.json"): "*",
    ("get", "/docs"): "*",
    ("get", "/docs.css"): "*",
}
ROUTES = sorted(MAY)
GUARDED = [route for route in ROUTES if MAY[route] != "*"]
ROLES = ("s", "p", "r", "a")
NOTHING = "00000000000000000000000000"
IDS = {
    "payment_id": f"pay_{NOTHING}",
    "token_id": f"tok_{NOTHING}",
    "entry_id": f"ent_{NOTHING}",
    "merchant_id": f"mer_{NOTHING}",
    "approval_id": f"apr_{NOTHING}",
    "gateway": "nobody",
}
NEVER_SEEN = {"unknown_field": 1}
"""A body that is refused once the caller has got past the guards, so that nothing happens."""


class Cast(dict[str, str | None]):
    """Authorization header values by who sends them; never shown."""

    def __repr__(self) -> str:
        return "Cast(…)"


async def _make_keys(house: Any, merchant: str) -> dict[str, str]:
    made = {}
    soon = datetime.now(UTC) + timedelta(seconds=2)
    for name, expires in (("revoked", None), ("expired", soon)):
        spec = KeySpec(
            merchant=merchant,
            kind=KeyKind.SECRET,
            role="merchant-backend",
            owner="attack",
            expires_at=expires,
        )
        view, secret = await house.identity.create_key(spec, actor="system:test")
        made[name] = secret.reveal()
        if name == "revoked":
            await house.identity.revoke_key(merchant, view.id, actor="system:test", reason="test")
    return made


@pytest.fixture(scope="module")
def cast(target: Stack) -> Cast:
    made = target.admin(lambda house: _make_keys(house, target.merchant))
    key = target.secret_key
    live = generate(mode="live", kind=KeyKind.SECRET, random_bytes=lambda size: bytes(range(size)))
    unknown = generate(mode="test", kind=KeyKind.SECRET, random_bytes=lambda n: bytes(range(n)))
    other_case = key[:-1] + key[-1].swapcase() if key[-1].isalpha() else key[:-1] + "x"
    time.sleep(2.2)  # the one key expires
    return Cast(
        {
            "nobody": None,
            "empty": "",
            "scheme only": "Bearer",
            "nothing": "Bearer ",
            "other scheme": f"Basic {key}",
            "no scheme": key,
            "malformed": "Bearer sr_test_sk_x",
            "bad checksum": f"Bearer {other_case}",
            "cut": f"Bearer {key[:-1]}",
            "longer": f"Bearer {key}0",
            "spaces": f"Bearer          {key}",
            "tab": f"Bearer\t{key}",
            "two": f"Bearer {key}, Bearer {key}",
            "other kind": f"Bearer {key.replace('_sk_', '_rk_')}",
            "other mode": f"Bearer {key.replace('_test_', '_live_')}",
            "live": f"Bearer {live}",
            "unknown": f"Bearer {unknown}",
            "revoked": f"Bearer {made['revoked']}",
            "expired": f"Bearer {made['expired']}",
            "gateway": f"Bearer {target.sandbox_key}",
            "injection": "Bearer ' OR 1=1 --",
        }
    )


STRANGERS = (
    "nobody", "empty", "scheme only", "nothing", "other scheme", "no scheme", "malformed",
    "bad checksum", "cut", "longer", "spaces", "tab", "two", "other kind", "other mode", "live",
    "unknown", "revoked", "expired", "gateway", "injection",
)  # fmt: skip


def call(stack: Stack, route: tuple[str, str], authorization: str | None, **more: Any) -> Answer:
    """Call a route on things that do not exist, with a body that nobody takes."""
    method, path = route
    headers = {**more.pop("headers", {})}
    if authorization is not None:
        headers["Authorization"] = authorization
    ids = {**IDS, **more.pop("ids", {})}
    given = more.pop("body", NEVER_SEEN if method == "post" else None)
    where = stack.url + path.format(**ids)
    return http(method.upper(), where, given, idempotency_key=new_key(), headers=headers)


def said(answer: Answer) -> dict[str, Any]:
    """The answer without what differs from request to request."""
    return {**answer.json, "request_id": "", "instance": ""}


def test_the_table_names_every_route(target: Stack) -> None:
    document = target.call("GET", "/openapi.json", key=None).json
    told = {
        (method, path)
        for path, item in document["paths"].items()
        for method in item
        if method in {"get", "post", "put", "patch", "delete", "head", "options"}
    }
    assert told == set(MAY)


def test_the_document_says_which_routes_need_a_key(target: Stack) -> None:
    document = target.call("GET", "/openapi.json", key=None).json
    for method, path in ROUTES:
        operation = document["paths"][path][method]
        needs = bool(operation.get("security", document.get("security")))
        assert needs is (MAY[method, path] != "*"), path


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_gets_the_same_401_everywhere(target: Stack, cast: Cast, stranger: str) -> None:
    assert set(STRANGERS) == set(cast)
    told = set()
    for route in GUARDED:
        answer = call(target, route, cast[stranger])
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated"), route
        assert answer.headers["www-authenticate"] == "Bearer"
        told.add(str(said(answer)))
    assert len(told) == 1
    if stranger in ("revoked", "expired"):
        reference = call(target, GUARDED[0], cast["unknown"])
        assert told == {str(said(reference))}, "revoked, expired and invented keys look alike"


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_what_the_table_says(target: Stack, role: str) -> None:
    key = {
        "s": target.secret_key,
        "p": target.publishable_key,
        "r": target.operator_read_key,
        "a": target.operator_admin_key,
    }[role]
    names = {"Strongroom-Merchant": target.merchant} if role in "ra" else {}
    wrong = []
    for route in GUARDED:
        answer = call(target, route, f"Bearer {key}", headers=names)
        permitted = (answer.status, answer.json.get("code") if answer.status >= 400 else "") != (
            403,
            "permission_denied",
        )
        assert answer.status in (200, 403, 404, 422), (route, answer.body[:200])
        if permitted is not (role in MAY[route]):
            wrong.append((route, answer.status))
    assert wrong == []


@pytest.mark.parametrize("role", ["s", "p"])
def test_a_merchants_key_names_no_other_merchant(target: Stack, role: str) -> None:
    key = target.secret_key if role == "s" else target.publishable_key
    for other in (target.other_merchant, IDS["merchant_id"], "mer_x", "", "*", "../x"):
        for route in (("get", "/v1/payments"), ("post", "/v1/tokens")):
            given = {"card": card()} if route[0] == "post" else None
            answer = call(
                target, route, f"Bearer {key}", body=given, headers={"Strongroom-Merchant": other}
            )
            assert answer.status in (400, 401, 403, 404), (other, answer.body)


def test_operators_must_name_a_merchant_that_exists(target: Stack) -> None:
    for key in (target.operator_read_key, target.operator_admin_key):
        bearer = f"Bearer {key}"
        nameless = call(target, ("get", "/v1/payments"), bearer)
        assert (nameless.status, nameless.json["code"]) == (400, "merchant_required")
        for name in (IDS["merchant_id"], "mer_x", "' OR 1=1 --", target.merchant.upper()):
            answer = call(
                target, ("get", "/v1/payments"), bearer, headers={"Strongroom-Merchant": name}
            )
            assert (answer.status, answer.json["code"]) == (404, "merchant_not_found")


def test_a_publishable_key_makes_tokens_and_learns_nothing_else(target: Stack) -> None:
    made = target.call("POST", "/v1/tokens", {"card": card()}, key=target.publishable_key)
    assert made.status == 201
    read = target.call("GET", f"/v1/tokens/{made.json['id']}", key=target.publishable_key)
    assert read.status == 403
    paid = target.call(
        "POST",
        "/v1/payments",
        {**body(), "payment_method": {"token": made.json["id"]}},
        key=target.publishable_key,
        idempotency_key=new_key(),
    )
    assert paid.status == 403


BY_ID = [route for route in GUARDED if "_id}" in route[1] and "s" in MAY[route]]
BODIES: dict[str, Any] = {
    "capture": {"amount": 1},
    "cancel": {},
    "refunds": {"amount": 1},
    "review": {"decision": "approve"},
}


@pytest.fixture(scope="module")
def theirs(target: Stack) -> dict[str, str]:
    """Things of the first merchant, which the other merchant knows the ids of."""
    made = pay(target, capture_method="manual").json
    token = target.call("POST", "/v1/tokens", {"card": card(), "save": True}).json["id"]
    path = f"/v1/journal/entries?subject={made['id']}"
    entry = target.call("GET", path).json["data"][0]["id"]
    return {"payment_id": made["id"], "token_id": token, "entry_id": entry}


@pytest.mark.parametrize("route", BY_ID, ids=lambda route: f"{route[0]} {route[1]}")
def test_anothers_thing_looks_like_no_thing(
    target: Stack, theirs: dict[str, str], route: tuple[str, str]
) -> None:
    given = BODIES[route[1].rsplit("/", 1)[1]] if route[0] == "post" else None
    bearer = f"Bearer {target.other_secret_key}"
    before = get(target, theirs["payment_id"])
    for _ in range(2):
        found = call(target, route, bearer, ids=theirs, body=given)
        nothing = call(target, route, bearer, body=given)
        assert found.status == nothing.status == 404
        assert said(found) == said(nothing)
        assert set(found.headers) == set(nothing.headers)
    assert get(target, theirs["payment_id"]) == before
    still = target.call("GET", f"/v1/tokens/{theirs['token_id']}")
    assert still.status == 200


def test_another_merchant_sees_no_trace_in_lists(target: Stack, theirs: dict[str, str]) -> None:
    for path in (
        "/v1/payments?limit=100",
        f"/v1/payments?starting_after={theirs['payment_id']}",
        f"/v1/payments?ending_before={theirs['payment_id']}",
        "/v1/journal/entries?limit=100",
        f"/v1/journal/entries?subject={theirs['payment_id']}",
        f"/v1/journal/entries?subject={target.merchant}",
        f"/v1/journal/entries?starting_after={theirs['entry_id']}",
        "/v1/ledger/balances",
    ):
        answer = target.call("GET", path, key=target.other_secret_key)
        assert answer.status in (200, 404), path
        shown = answer.body.replace(path.encode(), b"").decode()
        for name in (*theirs.values(), target.merchant):
            assert name not in shown, path


def test_anothers_token_cannot_be_paid_with(target: Stack, theirs: dict[str, str]) -> None:
    for token in (theirs["token_id"], IDS["token_id"]):
        answer = target.call(
            "POST",
            "/v1/payments",
            {**body(), "payment_method": {"token": token, "cvc": "973"}},
            key=target.other_secret_key,
            idempotency_key=new_key(),
        )
        assert (answer.status, answer.json["code"]) == (404, "token_not_found")


def test_a_revocation_is_seen_by_every_process_within_a_second(target: Stack) -> None:
    async def make(house: Any) -> tuple[str, str]:
        spec = KeySpec(
            merchant=target.merchant, kind=KeyKind.SECRET, role="merchant-backend", owner="attack"
        )
        view, secret = await house.identity.create_key(spec, actor="system:test")
        return view.id, secret.reveal()

    key_id, key = target.admin(make)
    revoked_at = 0.0

    async def revoke(house: Any) -> None:
        nonlocal revoked_at
        with_key = [line.call("GET", "/v1/ledger/balances", key=key) for line in taking]
        assert {answer.status for answer in with_key} == {200}, "both processes know it by now"
        await house.identity.revoke_key(
            target.merchant, key_id, actor="system:test", reason="leaked"
        )
        revoked_at = time.monotonic()

    with lines(target, 1) as taking:
        target.admin(revoke)
        for line in taking:
            while line.call("GET", "/v1/ledger/balances", key=key).status == 200:
                assert time.monotonic() - revoked_at < 1.0, "still let in after a second"
                time.sleep(0.02)
        for line in taking * 5:
            assert line.call("GET", "/v1/ledger/balances", key=key).status == 401
