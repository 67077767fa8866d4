"""The matrix over real HTTP: every route of the OpenAPI document, two merchants, every kind of key.

No answer to one merchant's caller holds anything of another's, what is another's answers as what
is nowhere, and every change and refusal names the policies that decided in its journal entry.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from strongroom.api import ENDPOINTS
from strongroom.api.endpoint import PATH_IDS
from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel.ids import new_id
from tests.support.pay import HELD, body, card, new_key, pay
from tests.support.stack import Answer, Stack, http

_SET = re.compile(r"[a-p]{24}")
NOWHERE = {name: new_id(prefix) if prefix else "nobody" for name, (prefix, *_) in PATH_IDS.items()}
KNOWN_BODIES: dict[str, dict[str, Any]] = {
    "/v1/tokens/resolve": {"tokens": ["{token_id}"]},
    "/v1/tokens/reveal": {"tokens": ["{token_id}"], "purpose": "incident_response"},
    "/v1/tokens/{token_id}/reveal": {"purpose": "incident_response"},
    "/v1/payments/{payment_id}/capture": {},
    "/v1/payments/{payment_id}/cancel": {},
    "/v1/payments/{payment_id}/refunds": {},
    "/v1/payments/{payment_id}/review": {"decision": "reject"},
}
"""Bodies that get past the edge, so that the thing itself is looked for."""


async def _keys(house: Any, merchant: str, other: str) -> dict[str, str]:
    async def make(kind: KeyKind, role: str, owner: str, scopes: frozenset[str] | None) -> str:
        spec = KeySpec(merchant=owner, kind=kind, role=role, owner="matrix", scopes=scopes)
        _, secret = await house.identity.create_key(spec, actor="system:test")
        return str(secret.reveal())

    reveal = frozenset({"token:reveal", "token:reveal_batch"})
    return {
        "publishable": await make(KeyKind.PUBLISHABLE, "merchant-publishable", other, None),
        "reveal": await make(KeyKind.RESTRICTED, "service-reveal", other, reveal),
        "scoped": await make(
            KeyKind.RESTRICTED,
            "merchant-backend",
            other,
            frozenset({"payment:read", "token:read", "journal:read"}),
        ),
    }


@pytest.fixture(scope="module")
def callers(stack: Stack) -> dict[str, tuple[str, str | None]]:
    """Everybody who can call for the other merchant: a key, and the merchant an operator names."""
    made = stack.admin(lambda house: _keys(house, stack.merchant, stack.other_merchant))
    return {
        "backend": (stack.other_secret_key, None),
        **{name: (key, None) for name, key in made.items()},
        "operator-read": (stack.operator_read_key, stack.other_merchant),
        "operator-admin": (stack.operator_admin_key, stack.other_merchant),
        "operator-read of none": (stack.operator_read_key, None),
        "operator-admin of none": (stack.operator_admin_key, None),
    }


@pytest.fixture(scope="module")
def unasked(stack: Stack) -> set[str]:
    """Names of the first merchant that no request mentions: whoever shows one had it from us."""
    paid = pay(stack).json
    entries = stack.call("GET", f"/v1/journal/entries?subject={paid['id']}").json["data"]
    token = paid["payment_method"]["token"]
    return {stack.merchant, paid["id"], token, *(entry["id"] for entry in entries)}


@pytest.fixture(scope="module")
def mine(stack: Stack) -> dict[str, str]:
    """Things of the first merchant, by the names they have in paths."""
    paid = pay(stack).json
    entries = stack.call("GET", f"/v1/journal/entries?subject={paid['id']}").json["data"]
    saved = stack.call("POST", "/v1/tokens", {"card": card(), "save": True}).json
    return {
        **{name: new_id(prefix) for name, (prefix, *_) in PATH_IDS.items() if prefix},
        "payment_id": paid["id"],
        "token_id": saved["id"],
        "entry_id": entries[0]["id"],
        "merchant_id": stack.merchant,
        "gateway": "nobody",
    }


def ask(
    stack: Stack, method: str, path: str, ids: dict[str, str], key: str, merchant: str | None
) -> Answer:
    given = None
    if method == "POST":
        known = KNOWN_BODIES.get(path, {"unknown_field": 1})
        given = {
            name: [item.format(**ids) for item in value] if isinstance(value, list) else value
            for name, value in known.items()
        }
    headers = {"Authorization": f"Bearer {key}"}
    if merchant is not None:
        headers["Strongroom-Merchant"] = merchant
    where = stack.url + path.format(**ids)
    return http(method, where, given, idempotency_key=new_key(), headers=headers)


def said(answer: Answer, ids: dict[str, str]) -> tuple[int, str]:
    """What an answer says, without what differs from request to request or echoes the request."""
    text = answer.body.decode("utf-8", "replace")
    for value in ids.values():
        text = text.replace(value, "…")
    text = re.sub(r"req_[0-9a-z]{26}", "…", text)
    return answer.status, text if answer.status >= 400 else ""


def test_no_route_shows_or_tells_apart_what_is_anothers(
    stack: Stack,
    callers: dict[str, tuple[str, str | None]],
    mine: dict[str, str],
    unasked: set[str],
) -> None:
    document = stack.call("GET", "/openapi.json", key=None).json
    leaks, asked = [], 0
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            operation = item.get(method)
            if operation is None or not operation.get("security", document.get("security")):
                continue
            for name, (key, merchant) in callers.items():
                asked += 1
                theirs = ask(stack, method.upper(), path, mine, key, merchant)
                assert theirs.status < 500, (name, method, path)
                shown = theirs.body.decode("utf-8", "replace")
                if any(value in shown for value in unasked):
                    leaks.append((name, method, path, "shows"))
                if "{" in path or path in KNOWN_BODIES:
                    nowhere = ask(stack, method.upper(), path, NOWHERE, key, merchant)
                    if said(theirs, mine) != said(nowhere, NOWHERE):
                        leaks.append((name, method, path, "tells apart"))
                    elif "_id}" in path and theirs.status < 400:
                        leaks.append((name, method, path, "answers"))
    assert leaks == []
    assert asked >= 8 * 20
    untouched = stack.call("GET", f"/v1/payments/{mine['payment_id']}").json
    assert untouched["status"] == "captured" and untouched["amount_refunded"] == 0
    assert stack.call("GET", f"/v1/tokens/{mine['token_id']}").status == 200


# --- decisions in the journal ---------------------------------------------------------------------


def entries(stack: Stack, subject: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.call(
        "GET", f"/v1/journal/entries?subject={subject}&limit=100"
    ).json["data"]
    return found


Step = tuple[tuple[str, str], Answer, str]
"""The route that was called, its answer, and the policy that is to be named."""


def caused_by(stack: Stack, answer: Answer) -> list[dict[str, Any]]:
    """Return every entry of the installation that a request caused."""
    request = answer.headers["request-id"]

    async def read(house: Any) -> list[dict[str, Any]]:
        rows = await house.database.fetch(
            "SELECT body FROM journal.entry WHERE position(convert_to($1, 'UTF8') IN body) > 0",
            request,
        )
        return [json.loads(row["body"]) for row in rows]

    found: list[dict[str, Any]] = stack.admin(read)
    return found


def _money(stack: Stack) -> list[Step]:
    """Take, capture, give back, cancel and review payments, each by its route."""
    mine = "merchant-backend"
    manual = {**body(), "capture_method": "manual"}
    paid = _post(stack, "/v1/payments", manual)
    other = _post(stack, "/v1/payments", manual).json["id"]
    held = pay(stack, HELD).json["id"]
    one = f"/v1/payments/{paid.json['id']}"
    return [
        (("POST", "/v1/payments"), paid, mine),
        (("POST", "/v1/payments/{payment_id}/capture"), _post(stack, f"{one}/capture", {}), mine),
        (
            ("POST", "/v1/payments/{payment_id}/refunds"),
            _post(stack, f"{one}/refunds", {"amount": 5}),
            mine,
        ),
        (
            ("POST", "/v1/payments/{payment_id}/cancel"),
            _post(stack, f"/v1/payments/{other}/cancel", {}),
            mine,
        ),
        (
            ("POST", "/v1/payments/{payment_id}/review"),
            _post(stack, f"/v1/payments/{held}/review", {"decision": "reject"}, operator=True),
            "operator-admin",
        ),
    ]


def _cards(stack: Stack) -> list[Step]:
    """Keep, show, erase and delete cards, each by its route."""
    mine, shows = "merchant-backend", "operator-admin-reveal"
    kept = {"card": card(), "save": True}
    saved = _post(stack, "/v1/tokens", kept)
    token, who = saved.json["id"], f"person-{new_key()[:8]}"
    _post(stack, "/v1/tokens", {"card": {**card(), "data_subject": who}, "save": True})
    why = {"purpose": "incident_response"}
    path = f"/v1/tokens/{token}"
    return [
        (("POST", "/v1/tokens"), saved, mine),
        (
            ("POST", "/v1/tokens/batch"),
            _post(stack, "/v1/tokens/batch", {"cards": [card(cvc=None)]}),
            mine,
        ),
        (
            ("POST", "/v1/tokens/{token_id}/reveal"),
            _post(stack, f"{path}/reveal", why, operator=True),
            shows,
        ),
        (
            ("POST", "/v1/tokens/reveal"),
            _post(stack, "/v1/tokens/reveal", {"tokens": [token], **why}, operator=True),
            shows,
        ),
        (
            ("POST", "/v1/data-subjects/erase"),
            _post(stack, "/v1/data-subjects/erase", {"data_subject": who, "reason": "asked"}),
            mine,
        ),
        (
            ("POST", "/v1/approvals"),
            _post(
                stack,
                "/v1/approvals",
                {
                    "action": "token:reveal",
                    "resource": token,
                    "parameters": why,
                    "reason": "case 4711",
                },
                operator=True,
            ),
            shows,  # what is to be approved must be permitted too, and is asked last
        ),
        (("DELETE", "/v1/tokens/{token_id}"), stack.call("DELETE", path), mine),
    ]


def _post(stack: Stack, path: str, given: dict[str, Any], *, operator: bool = False) -> Answer:
    key = stack.operator_admin_key if operator else stack.secret_key
    named = {"Strongroom-Merchant": stack.merchant} if operator else {}
    answer = stack.call("POST", path, given, key=key, idempotency_key=new_key(), headers=named)
    assert answer.status < 300, (path, answer.status, answer.json.get("code"))
    return answer


READS = {("POST", "/v1/tokens/resolve")}
"""What is asked with a body and changes nothing."""


def test_every_route_that_changes_something_names_the_policies_that_let_it(stack: Stack) -> None:
    steps = [*_money(stack), *_cards(stack)]
    changing = {(e.method, e.path) for e in ENDPOINTS if e.method != "GET" and not e.public}
    assert {route for route, *_ in steps} == changing - READS
    policy_sets = set()
    for route, answer, policy in steps:
        found = caused_by(stack, answer)
        assert found, f"{route} left no entry"
        for entry in found:
            assert entry["facts"]["policy"] == policy, (route, entry["action"])
            policy_sets.add(entry["facts"]["policy_set"])
    assert len(policy_sets) == 1
    assert _SET.fullmatch(policy_sets.pop())


def test_a_refusal_names_the_policies_under_which_it_was_asked(stack: Stack) -> None:
    payment = pay(stack).json["id"]
    answer = stack.call("POST", f"/v1/payments/{payment}/capture", {}, idempotency_key=new_key())
    assert answer.status == 409, answer.body
    (entry,) = [e for e in entries(stack, payment) if e["outcome"] == "refused"]
    assert entry["facts"]["policy"] == "merchant-backend"
    assert _SET.fullmatch(entry["facts"]["policy_set"])
