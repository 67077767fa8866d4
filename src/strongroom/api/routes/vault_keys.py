"""The public keys to which browsers and apps encrypt cards before they send them."""

from __future__ import annotations

from typing import Annotated, Literal

from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.render import encode
from strongroom.api.wire import Flag, Wire, data
from strongroom.keys import PublicClientKey
from strongroom.vault import KeyDocument

_HPKE = {
    "hpke-x25519": {"kem": 0x0020, "kdf": 0x0001, "aead": 0x0002},
    "hpke-xwing": {"kem": 0x647A, "kdf": 0x0001, "aead": 0x0002},
}
"""RFC 9180 section 7 and the X-Wing draft: HKDF-SHA-256 and AES-256-GCM with either KEM."""

_KEEP_S = 60
"""A minute-old `server_time` only makes messages end a minute early."""

_VARY = ((b"vary", b"authorization, strongroom-merchant"),)
"""The audience is the merchant's."""


class ClientKeyView(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A public key to encrypt cards to: a JWK (RFC 7517), and what it is used with."""

    kid: Annotated[str, data("public", description="RFC 7638 thumbprint.")]
    kty: Annotated[str, data("public")]
    suite: Annotated[str, data("public", description="jwe-p256, jwe-x25519, hpke-x25519, …")]
    use: Annotated[str, data("public")]
    not_before: Annotated[int, data("public")]
    not_after: Annotated[int, data("public", description="Encrypt to a newer key from then on.")]
    alg: Annotated[str | None, data("public")] = None
    enc: Annotated[str | None, data("public")] = None
    crv: Annotated[str | None, data("public")] = None
    x: Annotated[str | None, data("public")] = None
    y: Annotated[str | None, data("public")] = None
    pub: Annotated[str | None, data("public", description="ML-KEM-768, then X25519.")] = None
    hpke: Annotated[
        dict[str, int] | None, data("public", description="RFC 9180 ids: kem, kdf, aead.")
    ] = None


class ClientKeysAnswer(Wire, frozen=True, kw_only=True):
    """The keys to which a merchant's clients encrypt cards, each suite's newest first."""

    object: Annotated[Literal["client_keys"], data("public")] = "client_keys"
    livemode: Flag
    audience: Annotated[str, data("public", description="Goes into every message, as `aud`.")]
    server_time: Annotated[int, data("public", description="The clock that `iat` is made by.")]
    expires_at: Annotated[int, data("public", description="Ask again by then.")]
    keys: list[ClientKeyView]


async def show_client_keys(call: Call) -> Reply:
    """Show the keys to which cards are encrypted, and whom they are encrypted for."""
    document = await call.services.vault.client_keys(call.merchant)
    answer = document_answer(document, live=call.live)
    return Reply(200, encode(answer), headers=_VARY, keep_s=_KEEP_S)


def document_answer(document: KeyDocument, *, live: bool) -> ClientKeysAnswer:
    """Return the document as it is shown."""
    return ClientKeysAnswer(
        livemode=live,
        audience=document.audience,
        server_time=int(document.now.timestamp()),
        expires_at=int(document.expires_at.timestamp()),
        keys=[_view(key) for key in document.keys],
    )


def _view(key: PublicClientKey) -> ClientKeyView:
    hpke = _HPKE.get(key.suite)
    return ClientKeyView(
        **key.jwk,
        suite=key.suite,
        not_before=int(key.not_before.timestamp()),
        not_after=int(key.not_after.timestamp()),
        enc="A256GCM" if hpke is None else None,
        hpke=hpke,
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/vault/keys",
        action="client_key:read",
        summary="Show the keys to which clients encrypt cards",
        handler=show_client_keys,
        answers={200: ClientKeysAnswer},
        browser=True,
    ),
)
