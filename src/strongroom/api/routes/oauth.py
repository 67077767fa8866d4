"""The OAuth 2 endpoints: tokens, what a token is, its end, our keys and who we are."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from strongroom.access import PUBLIC
from strongroom.api import errors
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.render import encode
from strongroom.api.wire import Wire, data
from strongroom.identity import Arrival
from strongroom.identity.oauth import Form
from strongroom.kernel.edge_limits import OAUTH_FORM_MAX_BYTES, OAUTH_JWT_MAX_BYTES

_KEEP_S = 60
"""Keys and metadata hardly change; a replaced key goes on verifying for ten minutes."""

Text = Annotated[str, data("internal", max_length=4_096)]
Jwt = Annotated[str, data("secret", max_length=OAUTH_JWT_MAX_BYTES)]


class _ClientForm(Wire, frozen=True, kw_only=True, omit_defaults=True):
    client_id: Text | None = None
    client_secret: (
        Annotated[str, data("secret", max_length=4_096, description="Never: it is refused.")] | None
    ) = None
    client_assertion_type: Text | None = None
    client_assertion: Jwt | None = None


class TokenForm(_ClientForm, frozen=True, kw_only=True, omit_defaults=True):
    """What a client sends for a token."""

    grant_type: Text | None = None
    scope: Text | None = None
    resource: Text | None = None


class AboutTokenForm(_ClientForm, frozen=True, kw_only=True, omit_defaults=True):
    """What a client sends to ask about a token, or to end it."""

    token: Jwt | None = None
    token_type_hint: Text | None = None


class TokenAnswer(Wire, frozen=True, kw_only=True):
    """An access token (RFC 6749 section 5.1); its type says how it is sent."""

    access_token: Annotated[str, data("secret")]
    token_type: Annotated[str, data("internal", description="DPoP, or Bearer under mTLS.")]
    expires_in: Annotated[int, data("internal", description="Seconds.")]
    scope: Annotated[str, data("internal")]


class IntrospectionAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What a token is (RFC 7662); nothing but `active` unless it is a live one."""

    active: Annotated[bool, data("internal")]
    scope: Annotated[str | None, data("internal")] = None
    client_id: Annotated[str | None, data("internal")] = None
    token_type: Annotated[str | None, data("internal")] = None
    exp: Annotated[int | None, data("internal")] = None
    iat: Annotated[int | None, data("internal")] = None
    sub: Annotated[str | None, data("internal")] = None
    aud: Annotated[str | None, data("internal")] = None
    iss: Annotated[str | None, data("internal")] = None
    jti: Annotated[str | None, data("internal")] = None
    merchant: Annotated[str | None, data("internal")] = None
    cnf: Annotated[dict[str, str] | None, data("internal")] = None


class JwksAnswer(Wire, frozen=True, kw_only=True):
    """The public keys of access tokens (RFC 7517)."""

    keys: Annotated[list[dict[str, str]], data("public")]


class MetadataAnswer(Wire, frozen=True, kw_only=True):
    """Who issues the tokens, and what it takes (RFC 8414)."""

    issuer: Annotated[str, data("public")]
    token_endpoint: Annotated[str, data("public")]
    jwks_uri: Annotated[str, data("public")]
    introspection_endpoint: Annotated[str, data("public")]
    revocation_endpoint: Annotated[str, data("public")]
    grant_types_supported: Annotated[list[str], data("public")]
    response_types_supported: Annotated[list[str], data("public")]
    scopes_supported: Annotated[list[str], data("public")]
    dpop_signing_alg_values_supported: Annotated[list[str], data("public")]
    tls_client_certificate_bound_access_tokens: Annotated[bool, data("public")]
    token_endpoint_auth_methods_supported: Annotated[list[str], data("public")]
    token_endpoint_auth_signing_alg_values_supported: Annotated[list[str], data("public")]
    introspection_endpoint_auth_methods_supported: Annotated[list[str], data("public")]
    introspection_endpoint_auth_signing_alg_values_supported: Annotated[list[str], data("public")]
    revocation_endpoint_auth_methods_supported: Annotated[list[str], data("public")]
    revocation_endpoint_auth_signing_alg_values_supported: Annotated[list[str], data("public")]


async def create_access_token(call: Call) -> Reply:
    """Give a client an access token."""
    issued = await call.services.oauth.token(_form(call), _arrival(call), request=call.request)
    answer = TokenAnswer(
        access_token=issued.token,
        token_type=issued.kind,
        expires_in=issued.lifetime_s,
        scope=issued.scope,
    )
    nonce = () if issued.nonce is None else ((b"dpop-nonce", issued.nonce.encode()),)
    return Reply(200, encode(answer), headers=nonce)


async def introspect_access_token(call: Call) -> Reply:
    """Say what a token is."""
    found = await call.services.oauth.introspect(_form(call), _arrival(call))
    if found is None:
        return Reply(200, encode(IntrospectionAnswer(active=False)))
    told = {
        name: found.claims.get(name)
        for name in IntrospectionAnswer.__struct_fields__
        if name not in ("active", "token_type")
    }
    return Reply(200, encode(IntrospectionAnswer(active=True, token_type=found.kind, **told)))


async def revoke_access_token(call: Call) -> Reply:
    """End a token."""
    await call.services.oauth.revoke(_form(call), _arrival(call), request=call.request)
    return Reply(200)


async def show_token_keys(call: Call) -> Reply:
    """Show the public keys of access tokens."""
    keys = await call.services.oauth.jwks()
    return Reply(200, encode(JwksAnswer(keys=keys)), keep_s=_KEEP_S)


async def show_oauth_metadata(call: Call) -> Reply:
    """Show who issues the tokens and what it takes."""
    found: dict[str, Any] = call.services.oauth.metadata()
    return Reply(200, encode(MetadataAnswer(**found)), keep_s=_KEEP_S)


def _form(call: Call) -> Form:
    fields = msgspec.structs.asdict(call.body)
    fields.pop("token_type_hint", None)
    return Form(**fields)


def _arrival(call: Call) -> Arrival:
    if call.arrival is None:
        raise errors.internal()
    return call.arrival


def _post(path: str, summary: str, handler: Any, form: type, **more: Any) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        action=PUBLIC,
        summary=summary,
        handler=handler,
        form=form,
        body_bytes_max=OAUTH_FORM_MAX_BYTES,
        **more,
    )


_CLIENT_ERRORS = ("invalid_request", "invalid_client", "body_too_large", "not_found",
                  "storage_unavailable", "vault_unavailable")  # fmt: skip

ENDPOINTS = (
    _post(
        "/oauth/token",
        "Get an access token (client credentials)",
        create_access_token,
        TokenForm,
        answers={200: TokenAnswer},
        errors=(
            *_CLIENT_ERRORS,
            "unsupported_grant_type",
            "invalid_scope",
            "invalid_target",
            "invalid_dpop_proof",
            "use_dpop_nonce",
        ),
    ),
    _post(
        "/oauth/introspect",
        "Ask what an access token is",
        introspect_access_token,
        AboutTokenForm,
        answers={200: IntrospectionAnswer},
        errors=_CLIENT_ERRORS,
    ),
    _post(
        "/oauth/revoke",
        "End an access token",
        revoke_access_token,
        AboutTokenForm,
        answers={200: None},
        errors=(*_CLIENT_ERRORS, "invalid_grant"),
    ),
    Endpoint(
        method="GET",
        path="/oauth/jwks",
        action=PUBLIC,
        summary="Show the public keys of access tokens",
        handler=show_token_keys,
        answers={200: JwksAnswer},
        errors=("not_found", "storage_unavailable", "vault_unavailable"),
    ),
    Endpoint(
        method="GET",
        path="/.well-known/oauth-authorization-server",
        action=PUBLIC,
        summary="Show who issues access tokens, and what it takes",
        handler=show_oauth_metadata,
        answers={200: MetadataAnswer},
        errors=("not_found",),
    ),
)
