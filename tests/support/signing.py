"""Signs requests for tests, on its own: nothing of the program is used to make a signature."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BASE = ("@method", "@target-uri")


class Signer:
    """A merchant's key pair; `key_id` is set when it was registered."""

    def __init__(self, key_id: str = "") -> None:
        self.private = Ed25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id

    def headers(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        now: int,
        sent: dict[str, str] | None = None,
        **changes: Any,
    ) -> dict[str, str]:
        """Return what to send: `sent`, the digest of a body, and the signature over all of it."""
        headers = {name.lower(): value for name, value in (sent or {}).items()}
        if body:
            headers["content-digest"] = digest(body)
            headers["content-length"] = str(len(body))
        covered = changes.get("covered", (*BASE, *(n for n in headers if _covered(n))))
        parameters = changes.get("parameters") or self.parameters(now, **changes)
        inside = " ".join(f'"{name}"' for name in covered)
        signed = f"({inside}){parameters}"
        values = {**headers, "@method": method, "@target-uri": target}
        lines = [f'"{name}": {values.get(name, "")}' for name in covered]
        base = "\n".join([*lines, f'"@signature-params": {signed}'])
        made = base64.b64encode(self.private.sign(base.encode())).decode()
        label = changes.get("label", "sig1")
        return {**headers, "signature-input": f"{label}={signed}", "signature": f"{label}=:{made}:"}

    def parameters(
        self,
        now: int,
        *,
        created: int | None = None,
        expires: int | None = None,
        nonce: str | None = None,
        keyid: str | None = None,
        more: str = "",
        **_: Any,
    ) -> str:
        """Return the parameters of a signature, serialized."""
        created = now if created is None else created
        expires = created + 60 if expires is None else expires
        nonce = fresh_nonce() if nonce is None else nonce
        keyid = self.key_id if keyid is None else keyid
        return f';created={created};expires={expires};nonce="{nonce}";keyid="{keyid}"{more}'


def digest(body: bytes) -> str:
    """Return a body's Content-Digest (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def fresh_nonce() -> str:
    """Return a nonce that was never used."""
    return base64.urlsafe_b64encode(os.urandom(18)).decode()


def raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as a server sees them."""
    return [(name.encode(), value.encode()) for name, value in headers]


def _covered(name: str) -> bool:
    return name.startswith("strongroom-") or name in ("idempotency-key", "content-digest")
