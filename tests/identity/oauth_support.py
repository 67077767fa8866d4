"""A client of OAuth as others write it: jwcrypto signs its assertions and proofs, not our code."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from jwcrypto import jwk, jws

from strongroom.identity import Arrival, Peer
from strongroom.identity.oauth import ClientSpec, ClientView, Form, OAuth
from strongroom.identity.oauth.model import ASSERTION_TYPE
from strongroom.identity.replays import Replays
from strongroom.keys import AccessToken, PublicTokenKey
from strongroom.keys.envelope import fresh_key
from strongroom.keys.token_keys.signing import TokenSigner, _jwk, public_point
from tests.identity.support import SCOPES, House, MovableClock, Process, hasher

ISSUER = "https://pay.example"
SERIAL = bytes(range(20))
"""Of the certificate that a peer shows."""

TOKEN_URL = f"{ISSUER}/oauth/token"
RESOURCE = f"{ISSUER}/v1/payments"
KINDS = {
    "ES256": {"kty": "EC", "crv": "P-256"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    "PS256": {"kty": "RSA", "size": 2048},
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_key(algorithm: str = "ES256", **members: Any) -> jwk.JWK:
    return jwk.JWK.generate(**KINDS[algorithm], **members)


def public(key: jwk.JWK) -> dict[str, Any]:
    made: dict[str, Any] = key.export_public(as_dict=True)
    return made


def jwks(*keys: jwk.JWK) -> bytes:
    return json.dumps({"keys": [public(key) for key in keys]}).encode()


def signed(key: jwk.JWK, header: dict[str, Any], claims: dict[str, Any] | str) -> str:
    """Return a compact JWS by jwcrypto."""
    payload = claims if isinstance(claims, str) else json.dumps(claims)
    made = jws.JWS(payload)
    made.allowed_algs = ["ES256", "ES384", "EdDSA", "PS256", "RS256", "HS256"]
    made.add_signature(key, header["alg"], json.dumps(header))
    return str(made.serialize(compact=True))


class Desk:
    """Signs tokens as the vault does, with keys that a test can change."""

    def __init__(self, clock: MovableClock) -> None:
        self.clock = clock
        self.signers: list[tuple[TokenSigner, PublicTokenKey]] = []
        self.rotate()

    def rotate(self) -> None:
        seed = fresh_key()
        point = public_point(seed)
        named = _jwk(point)
        until = self.clock.now() + timedelta(days=90)
        key = PublicTokenKey(kid=named["kid"], x=named["x"], y=named["y"], signs=True, until=until)
        self.signers.insert(0, (TokenSigner(seed, point), key))

    async def sign_access_token(self, token: AccessToken) -> str:
        return self.signers[0][0].sign(token, mode="test")

    async def access_token_keys(self) -> list[PublicTokenKey]:
        return [key for _, key in self.signers]


class Wallet:
    """A client's own side: its keys, and what it sends."""

    def __init__(self, clock: MovableClock, *, algorithm: str = "ES256") -> None:
        self.clock = clock
        self.algorithm = algorithm
        self.key = new_key(algorithm)
        self.proof_key = new_key("ES256")
        self.id = "ocl_" + "0" * 26

    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def assertion(self, *, key: jwk.JWK | None = None, header: Any = None, **claims: Any) -> str:
        made = {
            "iss": self.id, "sub": self.id, "aud": ISSUER, "jti": secrets.token_urlsafe(16),
            "iat": self.now(), "exp": self.now() + 60, **claims,
        }  # fmt: skip
        head = {"alg": self.algorithm, **(header or {})}
        given = {name: value for name, value in made.items() if value is not None}
        return signed(key or self.key, head, given)

    def proof(
        self,
        url: str = TOKEN_URL,
        *,
        method: str = "POST",
        token: str | None = None,
        key: jwk.JWK | None = None,
        header: Any = None,
        **claims: Any,
    ) -> str:
        used = key or self.proof_key
        made = {
            "jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": self.now(),
        }  # fmt: skip
        if token is not None:
            made["ath"] = b64(hashlib.sha256(token.encode()).digest())
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public(used), **(header or {})}
        given = {name: value for name, value in {**made, **claims}.items() if value is not None}
        return signed(used, {n: v for n, v in head.items() if v is not None}, given)

    def form(self, assertion: str | None = None, **fields: Any) -> Form:
        given = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            **fields,
        }
        return Form(**given)


def arrival(
    *proofs: str,
    method: str = "POST",
    url: str = TOKEN_URL,
    authorization: str | None = None,
    peer: bytes | None = None,
) -> Arrival:
    return Arrival(
        method=method,
        target=url,
        headers=[(b"dpop", proof.encode()) for proof in proofs],
        authorization=authorization,
        source="192.0.2.7",
        peer=None if peer is None else Peer(thumbprint=peer, serials=frozenset({SERIAL})),
    )


class Server:
    """OAuth in one process of ours, and a registered client."""

    def __init__(
        self,
        oauth: OAuth,
        process: Process,
        clock: MovableClock,
        desk: Desk,
        revoked: set[bytes],
    ) -> None:
        self.oauth = oauth
        self.revoked = revoked
        self.process = process
        self.clock = clock
        self.desk = desk

    async def client(
        self, merchant: str, *, algorithm: str = "ES256", **fields: Any
    ) -> tuple[Wallet, ClientView]:
        wallet = Wallet(self.clock, algorithm=algorithm)
        spec = {
            "merchant": merchant,
            "role": "merchant-backend",
            "scopes": frozenset({"payment:create", "payment:read"}),
            "owner": "order service",
            "jwks": jwks(wallet.key),
            **fields,
        }
        view = await self.oauth.clients.add(ClientSpec(**spec), actor="local:test")
        wallet.id = view.id
        return wallet, view

    async def token(self, wallet: Wallet, **fields: Any) -> str:
        issued = await self.oauth.token(wallet.form(**fields), arrival(wallet.proof()))
        assert issued.kind == "DPoP"
        return issued.token

    async def call(self, wallet: Wallet, token: str, **more: Any) -> Any:
        proof = wallet.proof(RESOURCE, method="GET", token=token, **more)
        found = await self.oauth.tokens.authenticate(use(token, proof))
        return found.principal


def use(token: str, *proofs: str, scheme: str = "DPoP", peer: bytes | None = None) -> Arrival:
    return arrival(
        *proofs, method="GET", url=RESOURCE, authorization=f"{scheme} {token}", peer=peer
    )


@asynccontextmanager
async def server(
    house: House, clock: MovableClock, *, desk: Desk | None = None, nonce_required: bool = False
) -> AsyncIterator[Server]:
    desk = desk or Desk(clock)
    async with house.process(clock=clock) as process:
        revoked: set[bytes] = set()

        async def is_revoked(serials: frozenset[bytes]) -> bool:
            return not serials.isdisjoint(revoked)

        oauth = OAuth(
            process.database,
            process.committer,
            desk=desk,
            replays=Replays(process.database, process.committer, clock),
            refusals=process.identity.refusals,
            hasher=hasher,
            issuer=ISSUER,
            mode="test",
            find_merchant=process.identity.find_merchant,
            is_revoked=is_revoked,
            known_scopes=SCOPES,
            nonce_required=nonce_required,
            clock=clock,
        )
        try:
            yield Server(oauth, process, clock, desk, revoked)
        finally:
            await oauth.close()
