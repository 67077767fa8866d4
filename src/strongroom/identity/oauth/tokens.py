"""Access tokens as credentials: read, verified, looked up, and worth nothing without their key.

A token is a JWS of ours (RFC 9068). It is taken only with a DPoP proof or a client certificate of
the key it is bound to, and only while neither it nor its client was revoked: what is revoked is
refused by every process within a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from strongroom.identity.arrivals import Arrival, Authenticated, IsRevoked
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import Mode
from strongroom.identity.oauth import decide, errors, jose, records
from strongroom.identity.oauth.model import TokenRecord
from strongroom.identity.oauth.proofs import Proofs
from strongroom.identity.refusals import Refusals, Refused
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import OAUTH_JWT_MAX_BYTES
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.limits import API_KEY_CACHE_S
from strongroom.keys import AccessToken, PublicTokenKey
from strongroom.storage import Database

_MEMBERS = frozenset({"alg", "kid", "typ"})
_TYPES = ("at+jwt",)
_CLAIMED = re.compile(r"(?i:dpop)(?: .*)?|(?i:bearer) +eyJ.*", re.ASCII | re.DOTALL)
_HEADER = re.compile(
    rf"(?i:(dpop)|(bearer)) {{1,4}}([A-Za-z0-9_.-]{{1,{OAUTH_JWT_MAX_BYTES}}})", re.ASCII
)


class TokenDesk(Protocol):
    """What the keys do for OAuth, in this process or in the vault's."""

    async def sign_access_token(self, token: AccessToken) -> str:
        """Return an access token, signed."""
        ...

    async def access_token_keys(self) -> list[PublicTokenKey]:
        """Return the public keys that verify access tokens now."""
        ...


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A token with our signature and acceptable claims; not looked up yet."""

    claims: dict[str, Any]

    @property
    def id(self) -> bytes:
        """What the token is found by."""
        return uuid_of(self.claims["jti"], "oat").bytes

    @property
    def uses_dpop(self) -> bool:
        """Whether it is bound to the key of proofs."""
        return "jkt" in self.claims["cnf"]

    @property
    def bound_to(self) -> str:
        """The thumbprint of the key that it is bound to, base64url."""
        (thumbprint,) = self.claims["cnf"].values()
        return str(thumbprint)


class AccessTokens:
    """The authenticator of access tokens.

    Args:
        database: role `strongroom_pay`, for reading.
        desk: gives the public keys.
        proofs: checks DPoP proofs.
        refusals: counts who was refused.
        is_revoked: asks about a client certificate of our own authority.
        issuer: our identifier.
        mode: the world of this installation.
        clock: time.
    """

    def __init__(
        self,
        database: Database,
        desk: TokenDesk,
        proofs: Proofs,
        refusals: Refusals,
        *,
        is_revoked: IsRevoked,
        issuer: str,
        mode: Mode,
        clock: Clock,
    ) -> None:
        self._database = database
        self._is_revoked = is_revoked
        self._desk = desk
        self._proofs = proofs
        self._refusals = refusals
        self._issuer = issuer
        self._mode: Mode = mode
        self._clock = clock
        self._lookup: Lookup[TokenRecord] = Lookup(self._read, clock=clock)
        self._keys: dict[str, jose.PublicKey] = {}
        self._keys_at: float | None = None
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """End background reads."""
        await self._lookup.close()

    def claims(self, arrival: Arrival) -> bool:
        """Whether a request brings an access token, good or bad."""
        given = arrival.authorization
        return given is not None and _CLAIMED.fullmatch(given) is not None

    async def authenticate(self, arrival: Arrival) -> Authenticated:
        """Return whose token it is, once its sender has proved to hold the token's key.

        Raises:
            StrongroomError: `invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce`;
                `storage_unavailable`, `vault_unavailable` or `overloaded` when it cannot be known.
        """
        token: Verified | None = None
        try:
            dpop, text = _presented(arrival)
            token = await self.verified(text)
            if dpop != token.uses_dpop:
                raise errors.invalid_token("scheme")
            proof = None
            if dpop:
                proof = await self._proofs.read(arrival, access=_hash_of(text))
                _check_bound(proof.key.thumbprint, token)
            else:
                await self._check_certificate(arrival, token)
            found = await self.live(token)
            if proof is not None:
                await self._proofs.use(proof)
        except StrongroomError as error:
            self._note(error, token, arrival)
            raise
        return Authenticated(principal=found.principal)

    async def verified(self, text: str, *, even_if_over: bool = False) -> Verified:
        """Return a token that we signed.

        Raises:
            StrongroomError: `invalid_token`.
        """
        try:
            jws = jose.read(text, members=_MEMBERS, types=_TYPES)
            jose.verify(jws, await self._key(jws.header.get("kid")))
            fault = decide.token_fault(
                jws.claims,
                issuer=self._issuer,
                mode=self._mode,
                now=self._clock.now(),
                even_if_over=even_if_over,
            )
        except jose.Refused as refused:
            fault = refused.reason
        if fault is not None:
            raise errors.invalid_token(fault)
        return Verified(claims=jws.claims)

    async def live(self, token: Verified) -> TokenRecord:
        """Return what is known of a token that nobody has ended.

        Raises:
            StrongroomError: `invalid_token`.
        """
        found = await self._lookup.find(token.id)
        if found is None:
            raise errors.invalid_token("unknown")
        if found.ended is not None:
            raise errors.invalid_token(found.ended)
        principal, claims = found.principal, token.claims
        if (principal.id, principal.merchant) != (claims["client_id"], claims["merchant"]):
            raise errors.invalid_token("other_client")
        if not hmac.compare_digest(jose.encoded(found.bound_to), token.bound_to):
            raise errors.invalid_token("other_key")
        return found

    def forget(self, token: Verified) -> None:
        """Let this process see at once what became of a token."""
        self._lookup.forget(token.id)

    async def keys(self) -> Sequence[jose.PublicKey]:
        """Return the public keys that verify tokens, as they were half a second ago at most."""
        async with self._asking:
            now = self._clock.monotonic()
            if self._keys_at is None or now - self._keys_at >= API_KEY_CACHE_S:
                found = await self._desk.access_token_keys()
                self._keys = {key.kid: self._keys.get(key.kid) or _known(key) for key in found}
                self._keys_at = now
        return list(self._keys.values())

    async def _check_certificate(self, arrival: Arrival, token: Verified) -> None:
        """Refuse a token without the certificate it is bound to (RFC 8705 section 3)."""
        peer = arrival.peer
        if peer is None:
            raise errors.invalid_token("no_certificate")
        _check_bound(jose.encoded(peer.thumbprint), token)
        if peer.serials and await self._is_revoked(peer.serials):
            raise errors.invalid_token("certificate_revoked")

    async def _key(self, kid: object) -> jose.PublicKey:
        if type(kid) is not str or not jose.KID.fullmatch(kid):
            raise jose.Refused("kid")
        await self.keys()
        if kid not in self._keys:
            raise jose.Refused("key_unknown")
        return self._keys[kid]

    async def _read(self, ids: Sequence[bytes]) -> list[TokenRecord]:
        return await records.tokens_by_id(
            self._database, ids, mode=self._mode, now=self._clock.now()
        )

    def _note(self, error: StrongroomError, token: Verified | None, arrival: Arrival) -> None:
        """Count a refused caller; that we cannot know now is no refusal."""
        if error.retryable or error.code == "use_dpop_nonce":
            return
        self._refusals.note(
            Refused(
                action="identity:access_token:reject",
                reason=error.detail or error.code,
                subject="none" if token is None else token.claims["client_id"],
                merchant=None if token is None else token.claims["merchant"],
                source=arrival.source,
                facts=(("proof", "invalid"),) if error.code == "invalid_dpop_proof" else (),
            )
        )


def _presented(arrival: Arrival) -> tuple[bool, str]:
    """Return whether the DPoP scheme was used, and the token."""
    found = _HEADER.fullmatch(arrival.authorization or "")
    if found is None:
        raise errors.invalid_token("malformed")
    return found[1] is not None, found[3]


def _check_bound(thumbprint: str, token: Verified) -> None:
    if not hmac.compare_digest(thumbprint, token.bound_to):
        raise errors.invalid_token("other_key")


def _hash_of(token: str) -> str:
    return jose.encoded(hashlib.sha256(token.encode("ascii")).digest())


def _known(key: PublicTokenKey) -> jose.PublicKey:
    return jose.public_key({"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y, "kid": key.kid})
