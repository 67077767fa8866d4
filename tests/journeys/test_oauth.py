"""OAuth over real HTTP with clients of others, and the page of the documentation as printed.

The vault is apart: no process that speaks HTTP has the key that signs tokens.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from jwcrypto import jwk, jwt
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session as RequestsOAuthSession

from strongroom.identity.oauth import ClientSpec
from tests.identity.oauth_support import Wallet, jwks, new_key, public
from tests.support.pay import body
from tests.support.pay import new_key as new_word
from tests.support.runbook import ROOT, blocks, programs, walk
from tests.support.stack import Answer, Stack, http

PAGE = "docs/oauth.md"
REGISTER, USE, CHANGE, SIGNING_KEY = blocks(PAGE)
CLIENT = re.compile(r"^<!-- client: oauth_client.py -->\n```python\n(.*?)^```", re.M | re.S)
SCOPES = frozenset({"payment:create", "payment:read", "payment:list"})
pytestmark = pytest.mark.timeout(180)


class Now:
    """The clock of a client's own machine."""

    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("oauth"), split=True).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def wallet(stack: Stack) -> Wallet:
    return register(stack, stack.merchant)


def register(stack: Stack, merchant: str, **fields: Any) -> Wallet:
    made = Wallet(Now())  # type: ignore[arg-type]
    given = {
        "merchant": merchant, "role": "merchant-backend", "scopes": SCOPES, "owner": "test",
        "jwks": jwks(made.key), **fields,
    }  # fmt: skip

    async def add(house: Any) -> str:
        view = await house.oauth.clients.add(ClientSpec(**given), actor="local:test")
        return str(view.id)

    made.id = stack.admin(add)
    return made


def assertion(stack: Stack, wallet: Wallet, **claims: Any) -> str:
    """Return an assertion made by jwcrypto's JWT."""
    now = int(time.time())
    made = {"iss": wallet.id, "sub": wallet.id, "aud": stack.url, "iat": now, "exp": now + 60,
            "jti": secrets.token_urlsafe(16), **claims}  # fmt: skip
    token = jwt.JWT(header={"alg": "ES256"}, claims=made)
    token.make_signed_token(wallet.key)
    return str(token.serialize())


def ask(stack: Stack, path: str, fields: dict[str, str], *proofs: str) -> Answer:
    from urllib.parse import urlencode

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if proofs:
        headers["DPoP"] = proofs[0]
    return http("POST", stack.url + path, urlencode(fields).encode(), headers=headers)


def form(stack: Stack, wallet: Wallet, **more: str) -> dict[str, str]:
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(stack, wallet),
        **more,
    }


def token_of(stack: Stack, wallet: Wallet) -> str:
    fields = form(stack, wallet, grant_type="client_credentials")
    proof = wallet.proof(f"{stack.url}/oauth/token")
    answer = ask(stack, "/oauth/token", fields, proof)
    assert answer.status == 200, answer.body
    assert answer.json["token_type"] == "DPoP" and answer.json["expires_in"] == 300
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json["access_token"])


def call(
    stack: Stack, wallet: Wallet, token: str, method: str, path: str, given: Any = None, **more: Any
) -> Answer:
    proof = wallet.proof(stack.url + path, method=method, token=token, **more)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    return http(method, stack.url + path, given, headers=headers, idempotency_key=new_word())


def test_authlib_gets_a_token_and_pays_with_proofs_by_jwcrypto(
    stack: Stack, wallet: Wallet
) -> None:
    found = http("GET", f"{stack.url}/.well-known/oauth-authorization-server").json
    assert found["issuer"] == stack.url
    session = OAuth2Session(
        wallet.id,
        ECKey.import_key(wallet.key.export(as_dict=True)),
        token_endpoint_auth_method="private_key_jwt",
        scope="payment:create payment:list",
    )
    claims = {"aud": found["issuer"], "exp": int(time.time()) + 60}
    session.register_client_auth_method(
        PrivateKeyJWT(found["token_endpoint"], claims=claims, alg="ES256")
    )
    token = session.fetch_token(
        found["token_endpoint"],
        grant_type="client_credentials",
        headers={"DPoP": wallet.proof(found["token_endpoint"]), "Accept": "application/json",
                 "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert token["token_type"] == "DPoP" and token["scope"] == "payment:create payment:list"
    access = token["access_token"]
    keys = jwk.JWKSet.from_json(json.dumps(http("GET", found["jwks_uri"]).json))
    read = jwt.JWT(jwt=access, key=keys, expected_type="JWS", algs=["ES256"])
    assert json.loads(read.claims)["cnf"] == {"jkt": wallet.proof_key.thumbprint()}
    paid = call(stack, wallet, access, "POST", "/v1/payments", body())
    assert (paid.status, paid.json["status"]) == (201, "captured"), paid.body
    entries = stack.call("GET", "/v1/journal/entries?limit=100").json["data"]
    assert wallet.id in {entry["actor"] for entry in entries}
    refund = f"/v1/payments/{paid.json['id']}/refunds"
    refused = call(stack, wallet, access, "POST", refund, {})
    assert (refused.status, refused.json["code"]) == (403, "permission_denied")


def test_requests_oauthlib_gets_a_token_and_reads_the_standards_refusals(
    stack: Stack, wallet: Wallet
) -> None:
    url = f"{stack.url}/oauth/token"

    def fetch(**more: Any) -> dict[str, Any]:
        session = RequestsOAuthSession(client=BackendApplicationClient(client_id=wallet.id))
        fields: dict[str, Any] = {
            "include_client_id": True,
            "client_assertion_type": form(stack, wallet)["client_assertion_type"],
            "client_assertion": assertion(stack, wallet),
            "headers": {"DPoP": wallet.proof(url), "Accept": "application/json",
                        "Content-Type": "application/x-www-form-urlencoded"},
            **more,
        }  # fmt: skip
        made: dict[str, Any] = session.fetch_token(url, **fields)
        return made

    import os

    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    try:
        made = fetch()
        assert made["token_type"] == "DPoP"
        answer = call(stack, wallet, made["access_token"], "GET", "/v1/payments")
        assert answer.status == 200, answer.body
        for code, more in (
            ("invalid_client", {"client_assertion": assertion(stack, wallet, aud=url)}),
            ("invalid_client", {"client_assertion": "x.y.z"}),
            ("invalid_scope", {"scope": "ledger:read"}),
            ("invalid_request", {"client_secret": "x"}),
            ("invalid_target", {"resource": "https://elsewhere.example"}),
        ):
            with pytest.raises(OAuth2Error) as caught:
                fetch(**more)
            assert caught.value.error == code
    finally:
        del os.environ["OAUTHLIB_INSECURE_TRANSPORT"]


def test_refusals_of_the_api_say_how_to_prove_the_key(stack: Stack, wallet: Wallet) -> None:
    token = token_of(stack, wallet)
    bearer = http("GET", f"{stack.url}/v1/payments", key=token)
    assert (bearer.status, bearer.json["code"]) == (401, "invalid_token")
    challenge = bearer.headers["www-authenticate"]
    assert challenge.startswith('DPoP error="invalid_token", algs="ES256 EdDSA Ed25519 PS256"')
    stolen = call(stack, wallet, token, "GET", "/v1/payments", key=new_key())
    assert (stolen.status, stolen.json["code"]) == (401, "invalid_token")
    other = call(stack, wallet, token, "GET", "/v1/payments", htm="POST")
    assert (other.status, other.json["code"]) == (401, "invalid_dpop_proof")
    assert other.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')
    as_token = call(stack, wallet, assertion(stack, wallet), "GET", "/v1/payments")
    assert (as_token.status, as_token.json["code"]) == (401, "invalid_token")
    for text in (token, other.body.decode()[:40]):
        assert text not in stack.log()


def test_forms_are_read_strictly(stack: Stack, wallet: Wallet) -> None:
    proof = wallet.proof(f"{stack.url}/oauth/token")
    good = form(stack, wallet, grant_type="client_credentials")
    from urllib.parse import urlencode

    whole = urlencode(good)
    media = "application/x-www-form-urlencoded"
    for given, kind in (
        (whole + "&grant_type=client_credentials", media),
        (whole + "&grant_type=", media),
        (whole + "&%67rant_type=x", media),
        (whole + "&x=%zz", media),
        (whole + "&x=%ff", media),
        (whole + "&x=%00", media),
        (whole + "&x", media),
        (whole + "&x=\u00e9", media),
        (whole + "".join(f"&x{n}=1" for n in range(40)), media),
        (whole + "&resource=" + "a" * 5000, media),
        ("", media),
        (json.dumps(good), "application/json"),
        (whole, "text/plain"),
        (whole, media + "; charset=utf-16"),
    ):
        answer = http(
            "POST", f"{stack.url}/oauth/token", given.encode(),
            headers={"DPoP": proof, "Content-Type": kind},
        )  # fmt: skip
        told = (given[-60:], answer.body)
        assert (answer.status, answer.json.get("error")) == (400, "invalid_request"), told
        assert set(answer.json) == {"error", "error_description"}
        assert answer.headers["content-type"] == "application/json"
    large = http(
        "POST", f"{stack.url}/oauth/token", b"x=" + b"a" * 20_000, headers={"Content-Type": media}
    )
    assert (large.status, large.json["error"]) == (413, "invalid_request")
    answer = ask(stack, "/oauth/token", {**good, "unknown": "ignored"}, proof)
    assert answer.status == 200, answer.body


def test_introspection_and_revocation_over_http(stack: Stack, wallet: Wallet) -> None:
    token = token_of(stack, wallet)
    answer = ask(stack, "/oauth/introspect", form(stack, wallet, token=token))
    assert answer.json["active"] is True and answer.json["token_type"] == "DPoP"
    assert answer.json["client_id"] == answer.json["sub"] == wallet.id
    stranger = register(stack, stack.add_merchant("Stranger")[0])
    answer = ask(stack, "/oauth/introspect", form(stack, stranger, token=token))
    assert (answer.status, answer.json) == (200, {"active": False})
    answer = ask(stack, "/oauth/revoke", form(stack, stranger, token=token))
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
    answer = ask(stack, "/oauth/introspect", {"token": token})
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    answer = ask(stack, "/oauth/revoke", form(stack, wallet, token=token, token_type_hint="x"))
    assert (answer.status, answer.body) == (200, b"")
    refused = call(stack, wallet, token, "GET", "/v1/payments")
    assert (refused.status, refused.json["code"]) == (401, "invalid_token")


def test_the_page_runs_as_printed(stack: Stack, tmp_path: Path) -> None:
    text = (ROOT / PAGE).read_text()
    found = CLIENT.search(text)
    assert found is not None
    (tmp_path / "oauth_client.py").write_text(found[1])
    path = programs(tmp_path / "bin")
    variables = {
        "MERCHANT": stack.merchant,
        "STRONGROOM_DATA_DIR": str(stack.data_dir),
        "URL": stack.url,
    }

    def run(script: str) -> str:
        done = walk(script, path, cwd=tmp_path, timeout_s=120, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(REGISTER)
    assert '"object": "list"' in run(USE) or '"data"' in run(USE)
    told = run(CHANGE)
    assert "revoked" in told
    for name in ("token.json", "next.json"):
        key = "client.key" if name == "token.json" else "next.key"
        script = f"python3 oauth_client.py call {key} {name} {stack.url} GET /v1/payments"
        refused = walk(script, path, cwd=tmp_path, **variables)
        assert refused.returncode == 1 and "invalid_token" in refused.stderr
    assert "signs" in run(SIGNING_KEY)
    assert public(new_key())["kty"] == "EC"
