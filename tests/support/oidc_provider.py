"""An OpenID Connect provider of our own for tests: honest, or dishonest in one named way.

Tokens are signed by jwcrypto and PKCE is checked by authlib: neither is what the service uses.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from jwcrypto import jwk, jws

CLIENT = "strongroom-console"
SECRET = "s3cret/with:signs %"
FLAWS = (
    "wrong_iss", "wrong_aud", "extra_aud", "wrong_azp", "alg_none", "hs256_public_key", "old_nonce",
    "no_nonce", "expired", "not_yet", "issued_before", "other_key", "jku", "embedded_jwk", "crit",
    "twice_named", "padded", "no_sub", "not_bearer", "no_id_token", "encrypted_looking",
    "private_jwks", "oct_jwks", "weak_rsa_jwks", "discovery_redirects", "discovery_other_issuer",
    "discovery_other_origin", "discovery_plain_pkce", "jwks_redirects", "token_redirects",
    "token_large", "token_not_json",
)  # fmt: skip


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """A provider on a loopback port. `flaw` makes it dishonest; `person` is who signs in."""

    def __init__(self) -> None:
        self.key = jwk.JWK.generate(kty="EC", crv="P-256", kid="one", use="sig", alg="ES256")
        self.stranger = jwk.JWK.generate(kty="EC", crv="P-256", kid="one")
        self.flaw = ""
        self.iss_in_answer: str | None = ""
        self.person: dict[str, Any] = {
            "sub": "248289761001",
            "groups": ["payments-admins"],
            "amr": ["pwd", "hwk"],
            "auth_time": int(time.time()),
            "email": "ada@example.com",
        }
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on."""
        self.key = jwk.JWK.generate(kty="EC", crv="P-256", kid=kid, use="sig", alg="ES256")

    def discovery(self) -> dict[str, Any]:
        base = self.issuer
        other = self.flaw == "discovery_other_origin"
        return {
            "issuer": base + "/other" if self.flaw == "discovery_other_issuer" else base,
            "authorization_endpoint": base + "/authorize",
            "token_endpoint": ("http://127.0.0.1:9" if other else base) + "/token",
            "jwks_uri": base + "/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "code_challenge_methods_supported": [
                "plain" if self.flaw == "discovery_plain_pkce" else "S256"
            ],
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def jwks(self) -> dict[str, Any]:
        keys = [self.key.export_public(as_dict=True)]
        if self.flaw == "private_jwks":
            keys = [self.key.export_private(as_dict=True)]
        if self.flaw == "oct_jwks":
            keys.append({"kty": "oct", "k": b64(b"x" * 32), "kid": "two"})
        if self.flaw == "weak_rsa_jwks":
            weak = jwk.JWK.generate(kty="RSA", size=1024, kid="one")
            self.key, keys = weak, [weak.export_public(as_dict=True)]
        return {"keys": keys}

    def authorize(self, query: dict[str, str]) -> str:
        """Sign the person in and return where the browser is sent back to."""
        assert query["response_type"] == "code" and query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(24)
        self.codes[code] = query
        answer = {"code": code, "state": query["state"], "session_state": "x"}
        iss = self.issuer if self.iss_in_answer == "" else self.iss_in_answer
        if iss is not None:
            answer["iss"] = iss
        return query["redirect_uri"] + "?" + urlencode(answer)

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        kind, _, pair = authorization.partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        given = f"{unquote(name)}:{unquote(secret)}".encode()
        if f"{kind} {base64.b64encode(given).decode()}" != expected:
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(form["code_verifier"]) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        if self.flaw == "token_not_json":
            return 200, "<html>"
        answer = {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "MAC" if self.flaw == "not_bearer" else "Bearer",
            "id_token": self.id_token(asked["nonce"]),
        }
        if self.flaw == "token_large":
            answer["more"] = "x" * 300_000
        if self.flaw == "no_id_token":
            del answer["id_token"]
        return 200, answer

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer, "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 300,
            **self.person,
        }  # fmt: skip
        header: dict[str, Any] = {"alg": str(self.key.get("alg") or "RS256"), "kid": "one"}
        header["kid"] = self.key.get("kid")
        changed: dict[str, dict[str, Any]] = {
            "wrong_iss": {"iss": self.issuer + "/"},
            "wrong_aud": {"aud": "another-client"},
            "extra_aud": {"aud": [CLIENT, "another-client"]},
            "wrong_azp": {"azp": "another-client"},
            "old_nonce": {"nonce": "of-another-sign-in"},
            "expired": {"exp": now - 120, "iat": now - 20},
            "not_yet": {"nbf": now + 600},
            "issued_before": {"iat": now - 3600},
        }
        claims |= changed.get(self.flaw, {})
        for flaw, name in (("no_nonce", "nonce"), ("no_sub", "sub")):
            if self.flaw == flaw:
                del claims[name]
        return self._signed(header, claims)

    def _signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        body = json.dumps(claims)
        if self.flaw == "twice_named":
            body = '{"nonce": "another", ' + body[1:]
        if self.flaw == "alg_none":
            return b64(b'{"alg":"none"}') + "." + b64(body.encode()) + "."
        key = self.stranger if self.flaw in ("other_key", "jku", "embedded_jwk") else self.key
        header |= {
            "jku": {"jku": self.issuer + "/theirs"},
            "embedded_jwk": {"jwk": self.stranger.export_public(as_dict=True)},
            "crit": {"crit": ["b64"], "b64": True},
        }.get(self.flaw, {})
        if self.flaw == "hs256_public_key":
            key = jwk.JWK(kty="oct", k=b64(self.key.export_to_pem()))
            header["alg"] = "HS256"
        token = jws.JWS(body.encode())
        token.add_signature(key, None, json.dumps(header), None)
        text: str = token.serialize(compact=True)
        if self.flaw == "padded":
            text += "=="
        if self.flaw == "encrypted_looking":
            text += ".x.y"
        return text

    def answer(self, method: str, target: str, body: bytes, authorization: str) -> Any:
        """Return status, body and location of one request."""
        path = urlsplit(target).path
        self.asked.append(path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        redirects = {"discovery_redirects": "/.well-known/openid-configuration",
                     "jwks_redirects": "/jwks", "token_redirects": "/token"}  # fmt: skip
        if redirects.get(self.flaw) == path:
            return 307, {}, self.issuer + "/moved" + path
        path = path.removeprefix("/moved")
        if path == "/.well-known/openid-configuration":
            return 200, self.discovery(), ""
        if path == "/jwks":
            return 200, self.jwks(), ""
        if path == "/authorize" and method == "GET":
            return 302, {}, self.authorize(query)
        if path == "/token" and method == "POST":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return *self.token(form, authorization), ""
        return 404, {}, ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                status, document, location = provider.answer(
                    self.command, self.path, self.rfile.read(length),
                    self.headers.get("Authorization", ""),
                )  # fmt: skip
                data = (document if isinstance(document, str) else json.dumps(document)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
