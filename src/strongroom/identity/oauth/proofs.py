"""DPoP proofs (RFC 9449): a signature over this request by a key that is never sent.

A proof is good for one request: its method and URL, its token, a minute, once. The server's nonces
are made from the pepper and the time, so that every process knows them and nothing is kept.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

from strongroom.identity.arrivals import Arrival
from strongroom.identity.oauth import decide, errors, jose
from strongroom.identity.oauth.model import Proof
from strongroom.identity.refusals import Hasher, hashed
from strongroom.identity.replays import Replays
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import (
    DPOP_NONCE_STEP_S,
    DPOP_PROOF_AGE_S,
    OAUTH_CLOCK_SKEW_S,
    OAUTH_TEXT_MAX_CHARS,
)

_HEADER = b"dpop"
_MEMBERS = frozenset({"alg", "jwk", "typ"})
_TYPES = ("dpop+jwt",)
_NONCE_BYTES = 16
_STEP_BYTES = 5


class Proofs:
    """Checks DPoP proofs and uses them up.

    Args:
        replays: what may be used once.
        hasher: the keyed hash under the pepper.
        clock: time.
        nonce_required: whether a proof must hold a nonce of ours.
    """

    def __init__(
        self, replays: Replays, *, hasher: Hasher, clock: Clock, nonce_required: bool
    ) -> None:
        self._replays = replays
        self._hasher = hasher
        self._clock = clock
        self.nonce_required = nonce_required

    @staticmethod
    def brought(arrival: Arrival) -> bool:
        """Whether a request brings a proof, good or bad."""
        return any(name == _HEADER for name, _ in arrival.headers)

    async def read(self, arrival: Arrival, *, access: str | None = None) -> Proof:
        """Return a request's proof once it fits; use it up with `use` when all else is known.

        Args:
            arrival: the request.
            access: base64url SHA-256 of the token that comes with it.

        Raises:
            StrongroomError: `invalid_dpop_proof`, `use_dpop_nonce`.
        """
        text = arrival.header(_HEADER)
        if text is None:
            raise errors.invalid_dpop_proof("not_one")
        now = self._clock.now()
        try:
            jws = jose.read(text, members=_MEMBERS, types=_TYPES)
            key = jose.public_key(jws.header.get("jwk"))
            fault = decide.proof_fault(
                jws.claims, method=arrival.method, target=arrival.target, access=access, now=now
            )
            if fault is not None:
                raise jose.Refused(fault)
            jose.verify(jws, key)
        except jose.Refused as refused:
            reason = refused.reason
        else:
            await self._check_nonce(jws.claims.get("nonce"))
            over = jws.claims["iat"] + DPOP_PROOF_AGE_S + OAUTH_CLOCK_SKEW_S
            return Proof(
                key=key,
                id=f"{key.thumbprint}.{jws.claims['jti']}".encode("ascii"),
                expires_at=datetime.fromtimestamp(over, UTC),
            )
        raise errors.invalid_dpop_proof(reason)

    async def use(self, proof: Proof) -> None:
        """Use a proof up.

        Raises:
            StrongroomError: `invalid_dpop_proof` when it was used before.
        """
        if not await self._replays.first_use("dpop_proof", proof.id, expires_at=proof.expires_at):
            raise errors.invalid_dpop_proof("replayed")

    async def nonce(self, *, steps_ago: int = 0) -> str:
        """Return the nonce of now: the time to the minute and a keyed hash of it."""
        number = int(self._clock.now().timestamp()) // DPOP_NONCE_STEP_S - steps_ago
        step = number.to_bytes(_STEP_BYTES, "big")
        keyed = await hashed(self._hasher, b"dpop-nonce\x00" + step)
        return jose.encoded(step + keyed[:_NONCE_BYTES])

    async def _check_nonce(self, given: object) -> None:
        """Refuse a nonce that is not ours or too old; where none is needed, none is asked for."""
        if given is None and not self.nonce_required:
            return
        if type(given) is str and given.isascii() and len(given) <= OAUTH_TEXT_MAX_CHARS:
            for steps_ago in (0, 1):
                if hmac.compare_digest(await self.nonce(steps_ago=steps_ago), given):
                    return
        raise errors.NonceNeeded(await self.nonce())
