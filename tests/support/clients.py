"""Clients that encrypt cards, each with a library of its own and nothing of ours.

They read the document of `GET /v1/vault/keys` as `docs/client-encryption.md` says. X-Wing has no
second Python library: it is written out here from the drafts over ML-KEM, X25519 and HMAC.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from jwcrypto import jwe, jwk
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

Document = dict[str, Any]
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "973"}


def b64url(data: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Return the bytes of unpadded base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key_of(document: Document, suite: str) -> dict[str, Any]:
    """Return the key to encrypt to: the first of its suite."""
    found: dict[str, Any] = next(key for key in document["keys"] if key["suite"] == suite)
    return found


def claims(document: Document, **changes: Any) -> dict[str, Any]:
    """Return fresh claims for one message."""
    now = document["server_time"]
    return {"iat": now, "exp": now + 600, "jti": b64url(os.urandom(18)), **changes}


def header(document: Document, suite: str = "jwe-p256", **changes: Any) -> dict[str, Any]:
    """Return the protected header of a JWE, without the ephemeral key."""
    return {
        "alg": "ECDH-ES",
        "enc": "A256GCM",
        "typ": "card+jwe",
        "kid": key_of(document, suite)["kid"],
        "aud": document["audience"],
        **claims(document),
        **changes,
    }


def jwe_card(
    document: Document,
    card: Any = CARD,
    *,
    suite: str = "jwe-p256",
    algorithms: list[str] | None = None,
    **changes: Any,
) -> str:
    """Return a card as compact JWE, made by jwcrypto; `changes` go into the header."""
    public = key_of(document, suite)
    members = {name: public[name] for name in ("kty", "crv", "x", "y") if name in public}
    plaintext = card if isinstance(card, bytes) else json.dumps(card).encode()
    made = jwe.JWE(
        plaintext,
        json.dumps({k: v for k, v in header(document, suite, **changes).items() if v is not None}),
        algs=algorithms or ["ECDH-ES", "A256GCM"],
    )
    made.add_recipient(jwk.JWK(**members))
    text: str = made.serialize(compact=True)
    return text


def hpke_card(
    document: Document,
    card: Any = CARD,
    *,
    suite: str = "hpke-x25519",
    audience: str | None = None,
    named: str | None = None,
    kid: str | None = None,
    plaintext: bytes | None = None,
    **changes: Any,
) -> str:
    """Return a card as HPKE message; `changes` go into the claims, `named` stands for the suite."""
    public = key_of(document, suite)
    named, kid = named or suite, kid or public["kid"]
    lines = ("strongroom encrypted card", "v1", named, kid, audience or document["audience"])
    info = "\n".join(lines).encode()
    whole = {**claims(document), "card": card, **changes}
    clear = plaintext or json.dumps({k: v for k, v in whole.items() if v is not None}).encode()
    seal = _seal_x25519 if suite == "hpke-x25519" else seal_xwing
    return f"v1.{named}.{kid}.{b64url(seal(public, info, clear))}"


def encrypt(document: Document, suite: str, card: Any = CARD, **changes: Any) -> str:
    """Return a card encrypted with any suite."""
    make = jwe_card if suite.startswith("jwe") else hpke_card
    return make(document, card, suite=suite, **changes)


def _seal_x25519(public: dict[str, Any], info: bytes, plaintext: bytes) -> bytes:
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    key = KEMKey.from_jwk({"kty": "OKP", "crv": "X25519", "x": public["x"]})
    encapsulated, sender = suite.create_sender_context(key, info)
    return encapsulated + sender.seal(plaintext)


def seal_xwing(public: dict[str, Any], info: bytes, plaintext: bytes) -> bytes:
    """Return HPKE base mode with X-Wing, HKDF-SHA-256 and AES-256-GCM (RFC 9180 section 5.1)."""
    raw = unb64url(public["pub"])
    lattice = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:1184])
    curve = x25519.X25519PublicKey.from_public_bytes(raw[1184:])
    lattice_secret, lattice_text = lattice.encapsulate()
    ephemeral = x25519.X25519PrivateKey.generate()
    curve_text = ephemeral.public_key().public_bytes_raw()
    shared = combine(lattice_secret, ephemeral.exchange(curve), curve_text, raw[1184:])
    suite = b"HPKE" + b"\x64\x7a\x00\x01\x00\x02"
    psk_hash = _extract(suite, b"", b"psk_id_hash", b"")
    info_hash = _extract(suite, b"", b"info_hash", info)
    context = b"\0" + psk_hash + info_hash
    secret = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, secret, b"key", context, 32)
    nonce = _expand(suite, secret, b"base_nonce", context, 12)
    return lattice_text + curve_text + AESGCM(key).encrypt(nonce, plaintext, b"")


def combine(lattice: bytes, curve: bytes, curve_text: bytes, curve_public: bytes) -> bytes:
    """Return X-Wing's shared secret (draft-connolly-cfrg-xwing-kem section 5.3)."""
    label = b"\\.//^\\"
    return hashlib.sha3_256(lattice + curve + curve_text + curve_public + label).digest()


def _extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + data, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labeled + b"\x01", "sha256")[:length]
