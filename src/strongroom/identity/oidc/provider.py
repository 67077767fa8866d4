"""One provider as it answers now: its discovery document, its keys, and the trade of a code.

Documents are kept for minutes, fetched by one task at a time, and only through `outbound`.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

from strongroom.identity.oidc import decide, errors, tokens
from strongroom.identity.oidc.decide import Attempt
from strongroom.identity.oidc.model import OidcSpec, Provider, Refusal
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import (
    OIDC_DOCUMENT_MAX_BYTES,
    OIDC_KEPT_S,
    OIDC_REFRESH_S,
    OIDC_TIMEOUT_S,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

_JSON = ("accept", "application/json")
_FORM = ("content-type", "application/x-www-form-urlencoded")


class Answer(Protocol):
    """What came back; a redirect is just an answer with another status."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...


class Http(Protocol):
    """The way out: `strongroom.outbound`'s client, with the provider's origins and no others."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_s: float = ...,
        max_bytes: int = ...,
    ) -> Answer:
        """Send one request; follow nothing."""
        ...


class Directory:
    """What the provider publishes, kept for a while."""

    def __init__(self, http: Http, spec: OidcSpec, *, live: bool, clock: Clock) -> None:
        self._http = http
        self._spec = spec
        self._live = live
        self._clock = clock
        self._lock = asyncio.Lock()
        self._provider: tuple[float, Provider] | None = None
        self._keys: tuple[float, tuple[tokens.PublicKey, ...]] | None = None

    async def provider(self) -> Provider:
        """Return the provider's endpoints.

        Raises:
            StrongroomError: `sso_unavailable`.
        """
        async with self._lock:
            if self._provider is None or self._age_s(self._provider[0]) > OIDC_KEPT_S:
                url = self._spec.issuer.rstrip("/") + decide.WELL_KNOWN
                found = decide.provider_of(await self._get(url), self._spec, live=self._live)
                self._provider = (self._clock.monotonic(), found)
            return self._provider[1]

    async def keys(self, *, renewed: bool = False) -> tuple[tokens.PublicKey, ...]:
        """Return the provider's keys; `renewed` after a token that none of them signed.

        Raises:
            StrongroomError: `sso_unavailable`.
        """
        provider = await self.provider()
        async with self._lock:
            kept_s = OIDC_REFRESH_S if renewed else OIDC_KEPT_S
            if self._keys is None or self._age_s(self._keys[0]) > kept_s:
                found = tokens.keys_of(await self._get(provider.jwks_uri))
                self._keys = (self._clock.monotonic(), found)
            return self._keys[1]

    async def trade(
        self, code: str, attempt: Attempt, *, redirect_uri: str, secret: Secret[str] | None
    ) -> str:
        """Return the ID token that the provider gives for a code.

        Raises:
            StrongroomError: `sso_refused`, `sso_unavailable`.
        """
        provider = await self.provider()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = [_JSON, _FORM]
        if secret is None:
            form["client_id"] = self._spec.client_id
        else:
            headers.append(_basic(self._spec.client_id, secret))
        answer = await self._ask("POST", provider.token_endpoint, headers, urlencode(form).encode())
        if answer.status in (400, 401, 403):
            raise errors.refused(Refusal.TOKEN_ENDPOINT)
        if answer.status != 200:
            raise errors.unavailable(f"the token endpoint answered {answer.status}")
        return decide.id_token_of(answer.body)

    async def _get(self, url: str) -> bytes:
        answer = await self._ask("GET", url, [_JSON], b"")
        if answer.status != 200:
            raise errors.unavailable(f"the provider answered {answer.status} for a document")
        return answer.body

    async def _ask(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes
    ) -> Answer:
        try:
            return await self._http.request(
                method,
                url,
                headers=headers,
                body=body,
                timeout_s=OIDC_TIMEOUT_S,
                max_bytes=OIDC_DOCUMENT_MAX_BYTES,
            )
        except StrongroomError as error:
            raise errors.unavailable(f"{error.code} {error.detail}") from None

    def _age_s(self, since_s: float) -> float:
        return self._clock.monotonic() - since_s


def _basic(client_id: str, secret: Secret[str]) -> tuple[str, str]:
    """Return the client's own proof (RFC 6749 section 2.3.1: each part is form-encoded first)."""
    pair = f"{quote(client_id, safe='')}:{quote(secret.reveal(), safe='')}"
    return "authorization", "Basic " + b64encode(pair.encode()).decode()
