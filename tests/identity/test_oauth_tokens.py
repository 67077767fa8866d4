"""Tokens from their issue to their end, over a real database: proved, bound, replayed, revoked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from jwcrypto import jwk, jws

from strongroom.identity import Level, PrincipalKind
from strongroom.identity.oauth import NonceNeeded
from strongroom.kernel.errors import StrongroomError
from tests.identity.oauth_support import (
    ISSUER,
    RESOURCE,
    SERIAL,
    Desk,
    Server,
    Wallet,
    arrival,
    b64,
    jwks,
    new_key,
    server,
    use,
)
from tests.identity.support import House, MovableClock

THUMBPRINT = bytes(range(32))


@pytest.fixture
async def oauth(house: House) -> AsyncIterator[Server]:
    async with server(house, MovableClock()) as made:
        yield made


@pytest.fixture
async def shop(oauth: Server) -> str:
    return (await oauth.process.identity.create_merchant("Shop", actor="local:test")).id


async def refused(code: str, work: Any) -> StrongroomError:
    with pytest.raises(StrongroomError) as caught:
        await work
    assert caught.value.code == code, caught.value.detail
    return caught.value


def claims_of(token: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(jws.base64url_decode(token.split(".")[1]))
    return made


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
async def test_a_token_is_issued_verified_by_others_and_used_with_its_key(
    oauth: Server, shop: str, house: House, algorithm: str
) -> None:
    wallet, view = await oauth.client(shop, algorithm=algorithm)
    token = await oauth.token(wallet)
    (published,) = await oauth.oauth.jwks()
    read = jws.JWS()
    read.deserialize(token, jwk.JWK(**published))
    claims = json.loads(read.payload)
    assert claims == {
        "iss": ISSUER, "aud": f"{ISSUER}/v1", "sub": view.id, "client_id": view.id,
        "merchant": shop, "mode": "test", "scope": "payment:create payment:read",
        "iat": wallet.now(), "exp": wallet.now() + 300, "jti": claims["jti"],
        "cnf": {"jkt": wallet.proof_key.thumbprint()},
    }  # fmt: skip
    assert json.loads(read.jose_header["typ"] and json.dumps(read.jose_header)) == {
        "alg": "ES256", "typ": "at+jwt", "kid": published["kid"],
    }  # fmt: skip
    principal = await oauth.call(wallet, token)
    assert (principal.id, principal.merchant) == (view.id, shop)
    assert (principal.kind, principal.level) == (PrincipalKind.MERCHANT, Level.BOUND_TOKEN)
    assert principal.scopes == {"payment:create", "payment:read"}
    (entry,) = await house.entries("identity:access_token:issue")
    assert (entry["actor"], entry["subject"]) == (view.id, claims["jti"])
    assert token.encode() not in await house.everything_stored()


async def test_a_token_bound_to_a_certificate_needs_that_certificate(
    oauth: Server, shop: str
) -> None:
    wallet, _ = await oauth.client(shop, binding="mtls")
    issued = await oauth.oauth.token(wallet.form(), arrival(peer=THUMBPRINT))
    assert issued.kind == "Bearer"
    assert claims_of(issued.token)["cnf"] == {"x5t#S256": b64(THUMBPRINT)}
    authenticate = oauth.oauth.tokens.authenticate
    found = await authenticate(use(issued.token, scheme="Bearer", peer=THUMBPRINT))
    assert found.principal.id == wallet.id
    oauth.revoked.add(SERIAL)
    await refused(
        "invalid_token", authenticate(use(issued.token, scheme="Bearer", peer=THUMBPRINT))
    )
    oauth.revoked.clear()
    for peer in (None, THUMBPRINT[::-1]):
        await refused("invalid_token", authenticate(use(issued.token, scheme="Bearer", peer=peer)))
    proof = wallet.proof(RESOURCE, method="GET", token=issued.token)
    await refused("invalid_token", authenticate(use(issued.token, proof, peer=THUMBPRINT)))
    await refused("invalid_request", oauth.oauth.token(wallet.form(), arrival(wallet.proof())))


async def test_there_is_no_bearer_token(oauth: Server, shop: str) -> None:
    wallet, _ = await oauth.client(shop)
    await refused("invalid_request", oauth.oauth.token(wallet.form(), arrival()))
    only_proofs, _ = await oauth.client(shop, binding="dpop")
    form = only_proofs.form()
    await refused("invalid_request", oauth.oauth.token(form, arrival(peer=THUMBPRINT)))
    token = await oauth.token(wallet)
    proof = wallet.proof(RESOURCE, method="GET", token=token)
    for case in (
        use(token, scheme="Bearer"),
        use(token, proof, scheme="Bearer"),
        use(token, scheme="Bearer", peer=THUMBPRINT),
    ):
        assert oauth.oauth.tokens.claims(case)
        await refused("invalid_token", oauth.oauth.tokens.authenticate(case))
    for case in (use(token), use(token, proof, proof)):
        await refused("invalid_dpop_proof", oauth.oauth.tokens.authenticate(case))


async def test_a_stolen_token_or_a_stolen_key_alone_is_worth_nothing(
    oauth: Server, shop: str
) -> None:
    wallet, _ = await oauth.client(shop)
    other, _ = await oauth.client(shop)
    token, others = await oauth.token(wallet), await oauth.token(other)
    authenticate = oauth.oauth.tokens.authenticate
    thief = new_key()
    by_thief = wallet.proof(RESOURCE, method="GET", token=token, key=thief)
    await refused("invalid_token", authenticate(use(token, by_thief)))
    of_other_token = wallet.proof(RESOURCE, method="GET", token=others)
    await refused("invalid_dpop_proof", authenticate(use(token, of_other_token)))
    stolen_key = wallet.proof(RESOURCE, method="GET", token=others)
    await refused("invalid_token", authenticate(use(others, stolen_key)))
    embedded = wallet.proof(
        RESOURCE, method="GET", token=token, key=thief,
        header={"jwk": wallet.proof_key.export_public(as_dict=True)},
    )  # fmt: skip
    await refused("invalid_dpop_proof", authenticate(use(token, embedded)))


BAD_PROOFS: dict[str, dict[str, Any]] = {
    "other method": {"htm": "POST"},
    "small method": {"htm": "get"},
    "other path": {"htu": f"{ISSUER}/v1/refunds"},
    "longer path": {"htu": f"{RESOURCE}/"},
    "other host": {"htu": "https://pay.example.evil/v1/payments"},
    "host as user": {"htu": "https://pay.example@evil.example/v1/payments"},
    "other scheme": {"htu": "http://pay.example/v1/payments"},
    "other port": {"htu": "https://pay.example:8443/v1/payments"},
    "encoded slash": {"htu": "https://pay.example/v1%2Fpayments"},
    "no target": {"htu": None},
    "target as list": {"htu": [RESOURCE]},
    "no id": {"jti": None},
    "short id": {"jti": "abc"},
    "long id": {"jti": "a" * 257},
    "id with a zero byte": {"jti": "abcdefgh\x00"},
    "no time": {"iat": None},
    "time as text": {"iat": "1893456000"},
    "time as truth": {"iat": True},
    "no hash of the token": {"ath": None},
    "hash of another": {"ath": b64(bytes(32))},
    "foreign nonce": {"nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "nonce as number": {"nonce": 7},
}


async def test_a_proof_is_for_one_request_only(oauth: Server, shop: str) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet)
    for name, claims in BAD_PROOFS.items():
        with pytest.raises(StrongroomError) as caught:
            await oauth.call(wallet, token, **claims)
        wanted = "use_dpop_nonce" if "nonce" in name else "invalid_dpop_proof"
        assert caught.value.code == wanted, name
    for seconds in (-61, 11, 3600, -3600):
        await refused("invalid_dpop_proof", oauth.call(wallet, token, iat=wallet.now() + seconds))
    for good in (
        {"htu": RESOURCE.upper().replace("/V1/PAYMENTS", "/v1/payments")},
        {"htu": "https://pay.example:443/v1/%70ayments?limit=1#part"},
        {"iat": wallet.now() + 9},
        {"iat": wallet.now() - 55},
    ):
        assert (await oauth.call(wallet, token, **good)).id == wallet.id


async def test_of_fifty_replays_at_once_one_gets_through(house: House) -> None:
    clock = MovableClock()
    desk = Desk(clock)
    async with server(house, clock, desk=desk) as one, server(house, clock, desk=desk) as two:
        shop = (await one.process.identity.create_merchant("Shop", actor="local:test")).id
        wallet, _ = await one.client(shop)
        token = await one.token(wallet)
        sent = use(token, wallet.proof(RESOURCE, method="GET", token=token))
        doors = [one.oauth.tokens, two.oauth.tokens]
        calls = [doors[n % 2].authenticate(sent) for n in range(50)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(answer, Exception) for answer in told) == 1
        assert {a.code for a in told if isinstance(a, StrongroomError)} == {"invalid_dpop_proof"}
        form = wallet.form()
        asked = [[one, two][n % 2].oauth.token(form, arrival(wallet.proof())) for n in range(50)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(answer, Exception) for answer in told) == 1
        assert {a.code for a in told if isinstance(a, StrongroomError)} == {"invalid_client"}
        same_proof = wallet.proof()
        asked = [one.oauth.token(wallet.form(), arrival(same_proof)) for _ in range(10)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(answer, Exception) for answer in told) == 1


async def test_a_token_ends_by_itself_after_five_minutes(oauth: Server, shop: str) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet)
    oauth.clock.move(299)
    await oauth.call(wallet, token)
    oauth.clock.move(1)
    error = await refused("invalid_token", oauth.call(wallet, token))
    assert error.detail == "expired"
    oauth.clock.move(-311)
    error = await refused("invalid_token", oauth.call(wallet, token))
    assert error.detail == "time"
    oauth.clock.move(311 + 601)
    assert await oauth.oauth.purge() == 1


async def test_what_is_revoked_is_refused_by_every_process_within_a_second(house: House) -> None:
    clock = MovableClock()
    desk = Desk(clock)
    async with server(house, clock, desk=desk) as one, server(house, clock, desk=desk) as two:
        shop = (await one.process.identity.create_merchant("Shop", actor="local:test")).id
        wallet, _ = await one.client(shop)
        token, kept = await one.token(wallet), await one.token(wallet)
        for process in (one, two):
            for each in (token, kept):
                await process.call(wallet, each)
        form = wallet.form(grant_type=None, token=token)
        await one.oauth.revoke(form, arrival())
        assert (await refused("invalid_token", one.call(wallet, token))).detail == "revoked"
        clock.move(0.5)
        assert (await refused("invalid_token", two.call(wallet, token))).detail == "revoked"
        await two.call(wallet, kept)
        await one.oauth.clients.revoke(shop, wallet.id, actor="local:test", reason="lost")
        clock.move(0.5)
        for process in (one, two):
            error = await refused("invalid_token", process.call(wallet, kept))
            assert error.detail == "client_revoked"
            error = await refused("invalid_client", process.token(wallet))
            assert error.detail == "revoked"
        assert [e["subject"] for e in await house.entries("identity:access_token:revoke")]
        assert [e["reason"] for e in await house.entries("identity:oauth_client:revoke")] == [
            "lost"
        ]


async def test_a_suspended_merchants_tokens_and_clients_do_nothing(
    oauth: Server, shop: str
) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet)
    await oauth.process.identity.suspend_merchant(shop, actor="local:test", reason="fraud")
    oauth.clock.move(0.5)
    assert (await refused("invalid_token", oauth.call(wallet, token))).detail == "suspended"
    assert (await refused("invalid_client", oauth.token(wallet))).detail == "suspended"


async def test_scopes_and_target_are_never_more_than_registered(oauth: Server, shop: str) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet, scope="payment:read", resource=f"{ISSUER}/v1")
    assert (await oauth.call(wallet, token)).scopes == {"payment:read"}
    for scope in ("metrics:read", "payment:read metrics:read", "payment:read payment:read",
                  "payment:read ", "*", "payment:read\tpayment:create"):  # fmt: skip
        form = wallet.form(scope=scope)
        await refused("invalid_scope", oauth.oauth.token(form, arrival(wallet.proof())))
    form = wallet.form(resource="https://elsewhere.example")
    await refused("invalid_target", oauth.oauth.token(form, arrival(wallet.proof())))
    for grant in ("password", "refresh_token", "CLIENT_CREDENTIALS"):
        form = wallet.form(grant_type=grant)
        await refused("unsupported_grant_type", oauth.oauth.token(form, arrival(wallet.proof())))


async def test_a_nonce_can_be_required(house: House) -> None:
    async with server(house, MovableClock(), nonce_required=True) as oauth:
        shop = (await oauth.process.identity.create_merchant("Shop", actor="local:test")).id
        wallet, _ = await oauth.client(shop)
        assertion = wallet.assertion()
        with pytest.raises(NonceNeeded) as needed:
            await oauth.oauth.token(wallet.form(assertion), arrival(wallet.proof()))
        nonce = needed.value.nonce
        proof = wallet.proof(nonce=nonce)
        issued = await oauth.oauth.token(wallet.form(assertion), arrival(proof))
        assert issued.nonce == nonce
        with pytest.raises(NonceNeeded):
            await oauth.call(wallet, issued.token)
        oauth.clock.move(60)
        assert await oauth.call(wallet, issued.token, nonce=nonce)
        oauth.clock.move(60)
        with pytest.raises(NonceNeeded):
            await oauth.call(wallet, issued.token, nonce=nonce)


async def test_introspection_tells_a_merchants_own_clients_only(oauth: Server, shop: str) -> None:
    other = (await oauth.process.identity.create_merchant("Other", actor="local:test")).id
    wallet, _ = await oauth.client(shop)
    colleague, _ = await oauth.client(shop)
    stranger, _ = await oauth.client(other)
    token = await oauth.token(wallet)

    async def ask(who: Wallet, text: str) -> Any:
        return await oauth.oauth.introspect(who.form(grant_type=None, token=text), arrival())

    for who in (wallet, colleague):
        found = await ask(who, token)
        assert found.kind == "DPoP" and found.claims == claims_of(token)
    assert await ask(stranger, token) is None
    for text in ("", "x", "eyJ", token[:-1], token + "A", wallet.assertion(), "sr_test_sk_x"):
        assert (await ask(wallet, text)) is None if text else True
    await refused("invalid_grant", oauth.oauth.revoke(
        stranger.form(grant_type=None, token=token), arrival()))  # fmt: skip
    assert await ask(wallet, token) is not None
    await oauth.oauth.revoke(wallet.form(grant_type=None, token="nothing"), arrival())
    for _ in range(2):
        await oauth.oauth.revoke(wallet.form(grant_type=None, token=token), arrival())
    assert await ask(wallet, token) is None


async def test_a_former_signing_key_verifies_until_it_is_gone(oauth: Server, shop: str) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet)
    oauth.desk.rotate()
    oauth.clock.move(0.5)
    assert await oauth.call(wallet, token)
    assert await oauth.call(wallet, await oauth.token(wallet))
    oauth.desk.signers.pop()
    oauth.clock.move(0.5)
    assert (await refused("invalid_token", oauth.call(wallet, token))).detail == "key_unknown"


async def test_keys_of_a_client_are_rotated_with_an_overlap(oauth: Server, shop: str) -> None:
    wallet, view = await oauth.client(shop)
    former, wallet.key = wallet.key, new_key(kid="second")
    rotate = oauth.oauth.clients.rotate_key
    hour = timedelta(hours=1)
    await rotate(shop, view.id, jwks(wallet.key), overlap=hour, actor="local:test")
    oauth.clock.move(1)
    unnamed = await refused("invalid_client", oauth.token(wallet))
    assert unnamed.detail == "key_unknown"

    async def ask(key: jwk.JWK, kid: str) -> Any:
        form = wallet.form(wallet.assertion(key=key, header={"kid": kid}))
        return await oauth.oauth.token(form, arrival(wallet.proof()))

    await ask(wallet.key, "second")
    await ask(former, view.keys[0].kid)
    for key, kid in ((former, "second"), (wallet.key, view.keys[0].kid), (wallet.key, "third")):
        await refused("invalid_client", ask(key, kid))
    oauth.clock.move(3600)
    await refused("invalid_client", ask(former, view.keys[0].kid))
    await oauth.token(wallet)
    await refused("invalid_parameter", rotate(
        shop, view.id, jwks(wallet.key), overlap=hour, actor="local:test"))  # fmt: skip
    other = (await oauth.process.identity.create_merchant("Other", actor="local:test")).id
    await refused("oauth_client_not_found", rotate(
        other, view.id, jwks(new_key()), overlap=hour, actor="local:test"))  # fmt: skip


async def test_refused_clients_and_tokens_are_in_the_journal_without_their_text(
    oauth: Server, shop: str, house: House
) -> None:
    wallet, _ = await oauth.client(shop)
    token = await oauth.token(wallet)
    await refused("invalid_client", oauth.oauth.token(
        wallet.form(wallet.assertion(key=new_key())), arrival(wallet.proof())))  # fmt: skip
    await refused("invalid_token", oauth.oauth.tokens.authenticate(use(token, scheme="Bearer")))
    await refused("invalid_token", oauth.oauth.tokens.authenticate(use("x.y.z")))
    await oauth.process.identity.flush_refusals(final=True)
    (client,) = await house.entries("identity:oauth_client:reject")
    assert (client["subject"], client["reason"]) == (wallet.id, "signature")
    reasons = {e["reason"] for e in await house.entries("identity:access_token:reject")}
    assert reasons == {"scheme", "base64url"}
    stored = await house.everything_stored()
    assert token.encode() not in stored and b"192.0.2.7" not in stored
