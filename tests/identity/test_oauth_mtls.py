"""Tokens bound to a client certificate: openssl makes it, curl shows it, our own TLS checks it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from strongroom.access import Authorizer
from strongroom.api import Api, ApiSettings, Listener, Metrics, Services, TlsFiles
from strongroom.api.endpoint import Endpoint, Shared
from strongroom.api.routes import oauth as routes
from strongroom.identity import Callers
from strongroom.identity.oauth.model import ASSERTION_TYPE
from tests.api.authorities import Authority
from tests.api.edge import NoEmergency, hello, limiter_of
from tests.identity.oauth_support import ISSUER, Server, b64, server
from tests.identity.support import House, MovableClock
from tests.identity.test_oauth_tokens import claims_of

GUARDED = Endpoint(
    method="GET", path="/v1/guarded", action="payment:read", summary="x", handler=hello
)


class Site:
    """Our server with TLS, and curl in front of it."""

    def __init__(self, folder: Path, oauth: Server) -> None:
        self.oauth = oauth
        authority = Authority(folder / "public", "Public authority")
        self._ca = authority.certificate
        own = authority.issue("server", "DNS:localhost,IP:127.0.0.1", usage="serverAuth")
        merchants = Authority(folder / "merchants", "Merchants' authority")
        self.shop = merchants.issue("shop", "DNS:shop.example")
        self.other = merchants.issue("other", "DNS:other.example")
        self.files = TlsFiles(
            certificate=own.certificate, key=own.key, client_authorities=(merchants.certificate,)
        )
        self.port = 0

    async def curl(self, path: str, *more: object, cert: Any = None) -> tuple[int, Any]:
        shown = () if cert is None else ("--cert", cert.certificate, "--key", cert.key)
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--max-time", "20", "--cacert", str(self._ca), "-w", "\n%{http_code}",
            *map(str, (*shown, *more)), f"https://localhost:{self.port}{path}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        body, _, status = out.decode().rpartition("\n")
        return int(status), json.loads(body) if body.startswith("{") else body


@pytest.fixture
async def site(house: House, tmp_path: Path) -> AsyncIterator[Site]:
    async with server(house, MovableClock()) as oauth:
        made = Site(tmp_path, oauth)
        none: dict[str, Any] = dict.fromkeys(Services.__struct_fields__)
        given = {
            "callers": Callers(oauth.process.identity, oauth.oauth.tokens),
            "oauth": oauth.oauth,
            "authorizer": Authorizer(mode="test"),
            "limiter": limiter_of(),
            "break_glass": NoEmergency(),
            "metrics": Metrics(),
        }
        settings = ApiSettings(mode="test", public_url=ISSUER)
        endpoints = (*routes.ENDPOINTS, GUARDED)
        api = Api(Services(**{**none, **given}), settings, endpoints, Shared({}))
        sock = socket.create_server(("127.0.0.1", 0))
        made.port = sock.getsockname()[1]
        listener = Listener(api, sock, tls=made.files)
        task = asyncio.create_task(listener.serve())
        yield made
        await listener.stop()
        await task
        sock.close()


async def test_curl_uses_a_token_with_its_certificate_and_not_without(site: Site) -> None:
    shop = await site.oauth.process.identity.create_merchant("Shop", actor="local:test")
    wallet, _ = await site.oauth.client(shop.id, binding="mtls")

    def form() -> str:
        return urlencode(
            {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": wallet.assertion(),
            }
        )

    status, answer = await site.curl("/oauth/token", "-d", form())
    assert (status, answer["error"]) == (400, "invalid_request")
    status, answer = await site.curl("/oauth/token", "-d", form(), cert=site.shop)
    assert (status, answer["token_type"]) == (200, "Bearer"), answer
    token = answer["access_token"]
    der = ssl.PEM_cert_to_DER_cert(Path(site.shop.certificate).read_text())
    assert claims_of(token)["cnf"] == {"x5t#S256": b64(hashlib.sha256(der).digest())}
    sent = ("-H", f"Authorization: Bearer {token}")
    status, _ = await site.curl("/v1/guarded", *sent, cert=site.shop)
    assert status == 200
    for certificate in (None, site.other):
        status, answer = await site.curl("/v1/guarded", *sent, cert=certificate)
        assert (status, answer["code"]) == (401, "invalid_token")
    header = ("-H", f"Client-Cert: :{b64(der)}:")
    status, answer = await site.curl("/v1/guarded", *sent, *header)
    assert status in (400, 401), "nobody trusts a stranger's header"
