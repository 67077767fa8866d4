"""The verbs of OAuth: give a client a token, say what a token is, end one, publish who we are.

Client credentials only (RFC 6749 4.4). Every token is bound to a key of its client, lives five
minutes and is a row by its id, so that it can be ended; there is no refresh and no bearer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Any

from strongroom.identity import errors as identity_errors
from strongroom.identity.arrivals import Arrival, IsRevoked
from strongroom.identity.model import MerchantView, Mode
from strongroom.identity.oauth import decide, errors, jose, records
from strongroom.identity.oauth.assertions import Assertions
from strongroom.identity.oauth.clients import Clients
from strongroom.identity.oauth.model import ClientRecord, Form, Introspected, Issued
from strongroom.identity.oauth.proofs import Proofs
from strongroom.identity.oauth.tokens import AccessTokens, TokenDesk
from strongroom.identity.refusals import Hasher, Refusals
from strongroom.identity.replays import Replays
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import (
    OAUTH_TOKEN_LIFETIME_S,
    OAUTH_TOKENS_KEPT_S,
    OAUTH_TOKENS_PURGE_MAX,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.keys import AccessToken
from strongroom.storage import Change, Committer, Database, Verdict

GRANT = "client_credentials"
_AUTH_METHODS = ["private_key_jwt"]
_STALE_RETRIES = 5


class OAuth:
    """The authorization server of one installation.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        desk: signs tokens, here or in the vault's process.
        replays: what may be used once.
        refusals: counts who was refused.
        hasher: the keyed hash under the pepper, for nonces.
        issuer: our identifier (RFC 8414): the public address; None when OAuth is off.
        mode: the world of this installation.
        find_merchant: refuses what is no merchant.
        is_revoked: asks about a client certificate of our own authority.
        known_scopes: the names of all actions.
        nonce_required: whether DPoP proofs must hold a nonce of ours.
        clock: time.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        desk: TokenDesk,
        replays: Replays,
        refusals: Refusals,
        hasher: Hasher,
        issuer: str | None,
        mode: Mode,
        find_merchant: Callable[[str], Awaitable[MerchantView]],
        is_revoked: IsRevoked,
        known_scopes: Collection[str],
        nonce_required: bool,
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._desk = desk
        self._clock = clock
        self._on = issuer is not None
        self._issuer = issuer or ""
        self._scopes = sorted(known_scopes)
        self.clients = Clients(
            database,
            committer,
            find_merchant=find_merchant,
            known_scopes=known_scopes,
            clock=clock,
        )
        self._proofs = Proofs(replays, hasher=hasher, clock=clock, nonce_required=nonce_required)
        self._assertions = Assertions(
            self.clients, replays, refusals, issuer=self._issuer, clock=clock
        )
        self.tokens = AccessTokens(
            database,
            desk,
            self._proofs,
            refusals,
            is_revoked=is_revoked,
            issuer=self._issuer,
            mode=mode,
            clock=clock,
        )

    async def close(self) -> None:
        """End background reads."""
        await self.clients.close()
        await self.tokens.close()

    async def token(self, form: Form, arrival: Arrival, *, request: str | None = None) -> Issued:
        """Return a new access token for a client (RFC 6749 section 4.4).

        Raises:
            StrongroomError: `invalid_request`, `unsupported_grant_type`, `invalid_client`,
                `invalid_scope`, `invalid_target`, `invalid_dpop_proof`, `use_dpop_nonce`, or that
                it cannot be known or signed now.
        """
        self._require_on()
        if form.grant_type is None:
            raise errors.invalid_request(f"Send grant_type={GRANT}.")
        if form.grant_type != GRANT:
            raise errors.unsupported_grant_type()
        known = await self._assertions.read(form, arrival)
        client = known.client
        scopes = decide.scopes(form.scope, client)
        if scopes is None:
            raise errors.invalid_scope()
        if form.resource not in (None, decide.audience(self._issuer)):
            raise errors.invalid_target()
        proof, bound_to = None, b""
        if self._proofs.brought(arrival) and client.binding != "mtls":
            proof = await self._proofs.read(arrival)
            bound_to = jose.decoded(proof.key.thumbprint)
        elif arrival.peer is not None and client.binding != "dpop":
            bound_to = arrival.peer.thumbprint
        else:
            raise errors.invalid_request(_how_to_bind(client))
        await self._assertions.use(known, arrival)
        if proof is not None:
            await self._proofs.use(proof)
        text = await self._issue(
            client, scopes, dpop=proof is not None, bound_to=bound_to, request=request
        )
        return Issued(
            token=text,
            kind="Bearer" if proof is None else "DPoP",
            lifetime_s=OAUTH_TOKEN_LIFETIME_S,
            scope=" ".join(scopes),
            nonce=await self._proofs.nonce() if self._proofs.nonce_required else None,
        )

    async def introspect(self, form: Form, arrival: Arrival) -> Introspected | None:
        """Return what a live token of the client's own merchant is, else None (RFC 7662).

        Raises:
            StrongroomError: `invalid_request`, `invalid_client`.
        """
        client = await self._asking(form, arrival)
        if form.token is None:
            raise errors.invalid_request("Send the token.")
        try:
            token = await self.tokens.verified(form.token)
            found = await self.tokens.live(token)
        except StrongroomError as error:
            if error.code != "invalid_token":
                raise
            return None
        if found.principal.merchant != client.merchant:
            return None
        return Introspected(kind="DPoP" if token.uses_dpop else "Bearer", claims=token.claims)

    async def revoke(self, form: Form, arrival: Arrival, *, request: str | None = None) -> None:
        """End a token of the client (RFC 7009); what is no token of ours needs no ending.

        Raises:
            StrongroomError: `invalid_request`, `invalid_client`, `invalid_grant`.
        """
        client = await self._asking(form, arrival)
        if form.token is None:
            raise errors.invalid_request("Send the token.")
        try:
            token = await self.tokens.verified(form.token, even_if_over=True)
        except StrongroomError as error:
            if error.code != "invalid_token":
                raise
            return
        if token.claims["client_id"] != client.id:
            raise errors.invalid_grant()
        token_id = uuid_of(token.claims["jti"], "oat")
        for _ in range(_STALE_RETRIES):
            stored = await records.find_token(self._database, token_id)
            if stored is None or stored.revoked_at is not None:
                return
            now = self._clock.now()
            change = Change()
            records.set_token_revoked(change, token_id, stored, at=now)
            entry = _entry("revoke", "revoked", client, token.claims["jti"], request=request)
            record(change, entry, at=now)
            verdict = await self._committer.submit(change)
            self.tokens.forget(token)
            if verdict is Verdict.COMMITTED:
                return
        raise identity_errors.changed_meanwhile()

    def metadata(self) -> dict[str, Any]:
        """Return who we are and what we take (RFC 8414)."""
        self._require_on()
        algorithms = list(jose.ALGORITHMS)
        made: dict[str, Any] = {
            "issuer": self._issuer,
            "token_endpoint": f"{self._issuer}/oauth/token",
            "jwks_uri": f"{self._issuer}/oauth/jwks",
            "grant_types_supported": [GRANT],
            "response_types_supported": [],
            "scopes_supported": self._scopes,
            "dpop_signing_alg_values_supported": algorithms,
            "tls_client_certificate_bound_access_tokens": True,
        }
        for name in ("introspection", "revocation"):
            path = {"introspection": "introspect", "revocation": "revoke"}[name]
            made[f"{name}_endpoint"] = f"{self._issuer}/oauth/{path}"
        for name in ("token", "introspection", "revocation"):
            made[f"{name}_endpoint_auth_methods_supported"] = _AUTH_METHODS
            made[f"{name}_endpoint_auth_signing_alg_values_supported"] = algorithms
        return made

    async def jwks(self) -> list[dict[str, str]]:
        """Return the public keys of access tokens as JWKs (RFC 7517)."""
        self._require_on()
        return [
            {**key.members, "kid": key.kid or "", "alg": key.algorithm, "use": "sig"}
            for key in await self.tokens.keys()
        ]

    async def purge(self) -> int:
        """Delete tokens that ended a while ago, a bounded number at a time; return how many."""
        before = self._clock.now() - timedelta(seconds=OAUTH_TOKENS_KEPT_S)
        return await records.purge(self._database, before=before, at_most=OAUTH_TOKENS_PURGE_MAX)

    def _require_on(self) -> None:
        if not self._on:
            raise errors.oauth_off()

    async def _asking(self, form: Form, arrival: Arrival) -> ClientRecord:
        """Return the client that asks about a token; its assertion is used up."""
        self._require_on()
        known = await self._assertions.read(form, arrival)
        await self._assertions.use(known, arrival)
        return known.client

    async def _issue(
        self,
        client: ClientRecord,
        scopes: tuple[str, ...],
        *,
        dpop: bool,
        bound_to: bytes,
        request: str | None,
    ) -> str:
        now = self._clock.now().replace(microsecond=0)
        token_id = new_uuid7()
        thumbprint = jose.encoded(bound_to)
        text = await self._desk.sign_access_token(
            AccessToken(
                id=id_from("oat", token_id),
                issuer=self._issuer,
                audience=decide.audience(self._issuer),
                client=client.id,
                merchant=client.merchant,
                scope=" ".join(scopes),
                issued_at=int(now.timestamp()),
                expires_at=int(now.timestamp()) + OAUTH_TOKEN_LIFETIME_S,
                key_thumbprint=thumbprint if dpop else None,
                certificate_thumbprint=None if dpop else thumbprint,
            )
        )
        change = Change()
        records.add_token(
            change,
            token_id,
            client,
            scopes=scopes,
            binding="dpop" if dpop else "mtls",
            bound_to=bound_to,
            issued_at=now,
            expires_at=now + timedelta(seconds=OAUTH_TOKEN_LIFETIME_S),
        )
        entry = _entry(
            "issue",
            "issued",
            client,
            id_from("oat", token_id),
            request=request,
            facts={"binding": "dpop" if dpop else "mtls", "scopes": " ".join(scopes)},
        )
        record(change, entry, at=self._clock.now())
        await self._committer.submit(change)
        return text


def _entry(
    verb: str,
    outcome: str,
    client: ClientRecord,
    token: str,
    *,
    request: str | None,
    facts: dict[str, str | int | bool] | None = None,
) -> Entry:
    return Entry(
        action=f"identity:access_token:{verb}",
        subject=token,
        outcome=outcome,
        facts=facts or {},
        merchant=client.merchant,
        actor=client.id,
        request=request,
    )


def _how_to_bind(client: ClientRecord) -> str:
    if client.binding == "dpop":
        return "Send a DPoP proof: tokens of this client are bound to its key."
    if client.binding == "mtls":
        return "Use a TLS client certificate: tokens of this client are bound to it."
    return "Send a DPoP proof or use a TLS client certificate: tokens are bound to one."
