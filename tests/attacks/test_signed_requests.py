"""Signed requests over HTTP, by an independent client (http-message-signatures, requests)."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from strongroom.identity import Level
from strongroom.identity.signatures import SigningKeySpec
from tests.support.pay import body, new_key
from tests.support.signing import Signer, digest, fresh_nonce
from tests.support.stack import Answer, Stack, http


class _Keys(HTTPSignatureKeyResolver):  # type: ignore[misc]
    def __init__(self, signer: Signer) -> None:
        self.signer = signer

    def resolve_private_key(self, key_id: str) -> Any:
        return self.signer.private


@pytest.fixture(scope="module")
def signer(target: Stack) -> Signer:
    made = Signer()
    spec = SigningKeySpec(merchant=target.merchant, public_key=made.public, owner="attack")

    async def add(house: Any) -> str:
        return str((await house.signed.keys.add(spec, actor="system:test")).id)

    made.key_id = target.admin(add)
    return made


def prepared(stack: Stack, signer: Signer, **headers: str) -> requests.PreparedRequest:
    """Return a payment signed by the library."""
    sent = json.dumps(body()).encode()
    request = requests.Request(
        "POST",
        f"{stack.url}/v1/payments",
        data=sent,
        headers={
            "Content-Type": "application/json",
            "Idempotency-Key": new_key(),
            "Content-Digest": digest(sent),
            **headers,
        },
    ).prepare()
    now = datetime.now(UTC)
    HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Keys(signer)).sign(
        request,
        key_id=signer.key_id,
        created=now,
        expires=now + timedelta(seconds=60),
        nonce=fresh_nonce(),
        label="sig1",
        use_existing_digest=True,
        covered_component_ids=("@method", "@target-uri", "content-digest", "idempotency-key"),
    )
    return request


def sent(request: requests.PreparedRequest) -> Answer:
    data = request.body if isinstance(request.body, bytes) else None
    headers = {name: str(value) for name, value in request.headers.items()}
    return http(str(request.method), str(request.url), data, headers=headers)


def test_a_request_signed_by_a_library_pays_once(target: Stack, signer: Signer) -> None:
    request = prepared(target, signer)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: sent(request), range(50)))
    assert sorted(answer.status for answer in answers) == [201, *[401] * 49]
    told = {answer.json["detail"] for answer in answers if answer.status == 401}
    assert told == {"The signature is not valid."}


def test_what_was_signed_is_what_is_done(target: Stack, signer: Signer) -> None:
    def altered(**changes: Any) -> Answer:
        request = prepared(target, signer)
        for name, value in changes.items():
            setattr(request, name, value)
        return sent(request)

    other = prepared(target, signer)
    other.body = (other.body or b"").replace(b"1099", b"9099")  # type: ignore[arg-type]
    assert sent(other).json["code"] == "content_digest_mismatch"
    assert altered(url=f"{target.url}/v1/payments?x=1").status == 401
    for header, value in (("Idempotency-Key", new_key()), ("Strongroom-Merchant", target.merchant)):
        request = prepared(target, signer)
        request.headers[header] = value
        assert sent(request).status == 401
    request = prepared(target, signer)
    request.headers["Authorization"] = f"Bearer {target.secret_key}"
    assert sent(request).json["detail"] == "Send one kind of credential, not two."
    bare = signer.headers("GET", f"{target.url}/v1/payments", now=int(time.time()))
    assert http("GET", f"{target.url}/v1/payments", headers=bare).status == 200
    moved = signer.headers("GET", f"{target.url}/v1/payments", now=int(time.time()))
    assert http("GET", f"{target.url}/v1/ledger/balances", headers=moved).status == 401


def test_a_merchant_can_demand_signatures(target: Stack) -> None:
    merchant, key = target.add_merchant("Strict shop")

    def demand(level: Level) -> None:
        async def work(house: Any) -> None:
            await house.identity.set_level(merchant, level, actor="system:test", reason="test")

        target.admin(work)

    demand(Level.SIGNED_REQUEST)
    deadline = time.monotonic() + 5
    while (answer := target.call("GET", "/v1/payments", key=key)).status == 200:
        assert time.monotonic() < deadline
    assert (answer.status, answer.json["code"]) == (403, "level_too_low")


def test_a_leak_report_ends_a_key_in_every_process(target: Stack) -> None:
    _, key = target.add_merchant("Leaky shop")
    for _ in range(4):
        assert target.call("GET", "/v1/payments", key=key).status == 200
    strange = target.call("POST", "/v1/security/leaked-keys", [{"token": "x"}], key=None)
    report = [{"token": key, "type": "strongroom", "url": "https://a.example", "source": "commit"}]
    told = target.call("POST", "/v1/security/leaked-keys", report, key=None)
    at = time.monotonic()
    assert (told.status, told.body) == (strange.status, strange.body) == (200, strange.body)
    while time.monotonic() < at + 1:
        time.sleep(0.05)
    assert {target.call("GET", "/v1/payments", key=key).status for _ in range(8)} == {401}
    forged = {"Github-Public-Key-Identifier": "x", "Github-Public-Key-Signature": "AAAA"}
    answer = target.call("POST", "/v1/security/leaked-keys", report, key=None, headers=forged)
    assert (answer.status, answer.json["code"]) == (401, "leak_report_unsigned")
    answer = target.call("POST", "/v1/security/leaked-keys", report * 11, key=None)
    assert answer.json["code"] == "batch_too_large"
    assert target.call("POST", "/v1/security/leaked-keys", report * 11).status == 200
    assert target.call("POST", "/v1/security/leaked-keys", report, key=key).status == 401
