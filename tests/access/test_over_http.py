"""The matrix over real HTTP: every route of the OpenAPI document, two merchants, every kind of key.

No answer to one merchant's caller holds anything of another's, what is another's answers as what
is nowhere, and every change and refusal names the policies that decided in its journal entry.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from strongroom.api.endpoint import PATH_IDS
from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel.ids import new_id
from tests.support.pay import body, card, new_key, pay
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


def of_request(stack: Stack, answer: Answer, subject: str) -> list[dict[str, Any]]:
    request = answer.headers["request-id"]
    return [one for one in entries(stack, subject) if one["request"] == request]


def test_every_change_names_the_policies_that_let_it(stack: Stack) -> None:
    held = {**body(), "capture": "manual"} if "capture" in body() else {
        **body(), "capture_method": "manual"
    }  # fmt: skip

    def post(path: str, given: dict[str, Any], **more: Any) -> Answer:
        answer = stack.call("POST", path, given, idempotency_key=new_key(), **more)
        assert answer.status < 300, (path, answer.body)
        return answer

    done: list[tuple[str, Answer, str]] = []
    made = post("/v1/payments", held)
    payment = made.json["id"]
    done.append(("create", made, payment))
    for step, given in (("capture", {"amount": 300}), ("capture", {}), ("refunds", {"amount": 5})):
        done.append((step, post(f"/v1/payments/{payment}/{step}", given), payment))
    other = post("/v1/payments", held)
    where = f"/v1/payments/{other.json['id']}/cancel"
    done.append(("cancel", post(where, {}), other.json["id"]))
    saved = stack.call("POST", "/v1/tokens", {"card": card(), "save": True})
    done.append(("tokenize", saved, saved.json["id"]))
    deleted = stack.call("DELETE", f"/v1/tokens/{saved.json['id']}")
    done.append(("delete", deleted, saved.json["id"]))
    policy_sets = set()
    for step, answer, subject in done:
        found = of_request(stack, answer, subject)
        assert found, f"{step} left no entry"
        for entry in found:
            assert entry["facts"]["policy"] == "merchant-backend", (step, entry)
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


def test_a_reveal_names_the_policy_of_its_purpose(stack: Stack) -> None:
    saved = stack.call("POST", "/v1/tokens", {"card": card(), "save": True}).json["id"]
    answer = http(
        "POST",
        f"{stack.url}/v1/tokens/{saved}/reveal",
        {"purpose": "incident_response"},
        headers={
            "Authorization": f"Bearer {stack.operator_admin_key}",
            "Strongroom-Merchant": stack.merchant,
        },
    )
    assert answer.status == 200, answer.status
    (entry,) = [e for e in entries(stack, saved) if e["action"].endswith(":reveal")]
    assert entry["facts"]["policy"] == "operator-admin-reveal"


def test_what_a_merchant_reads_is_not_under_what_another_was_let(stack: Stack) -> None:
    """A connection that is used again hands nothing on: public routes stand under no decision."""
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    parts = urlsplit(stack.url)
    line = HTTPConnection(str(parts.hostname), parts.port)
    line.request("GET", "/v1/payments", headers={"Authorization": f"Bearer {stack.secret_key}"})
    assert line.getresponse().read()
    line.request("GET", "/v1/payments", headers={"Authorization": "Bearer sr_test_sk_x"})
    refused = line.getresponse()
    assert (refused.status, bool(refused.read())) == (401, True)
    line.close()
