"""Keeps merchants' public keys and proves who signed a request (RFC 9421).

The order is what keeps strangers out: what depends on the request alone is checked first and told;
then the key is looked up and the signature checked, also for a key that is not there; only then is
the nonce used up, so that nobody without a key can fill or empty anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from strongroom.identity import errors
from strongroom.identity.api_keys.decide import REVEALING, check_scopes, expiry, refusal_of
from strongroom.identity.api_keys.networks import checked as checked_networks
from strongroom.identity.arrivals import Arrival, Authenticated
from strongroom.identity.decide import check_text
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import KeyRecord, Mode
from strongroom.identity.refusals import Refusals, Refused
from strongroom.identity.replays import Replays
from strongroom.identity.signatures import decide, records
from strongroom.identity.signatures.model import Flaw, Signed, SigningKeySpec, SigningKeyView
from strongroom.identity.usage import Usage
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.edge_limits import KEY_IDLE_BATCH, KEY_IDLE_MAX_DAYS, SIGNATURE_SKEW_S
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, new_uuid7, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.keys.verifying import sound_ed25519, verify_ed25519
from strongroom.storage import Change, Committer, ConstraintViolated, Database, Verdict

_STALE_RETRIES = 5
_ROLES = ("merchant-backend", REVEALING)
_NOBODY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
"""A public key for requests that name none of ours: the first of RFC 8032 section 7.1."""

_NOT_VALID = "The signature is not valid."
_PUBLIC = {
    Flaw.DUPLICATE: "A header that the signature covers may be sent once.",
    Flaw.MALFORMED: "Signature-Input and Signature must carry one signature of our profile.",
    Flaw.ALGORITHM: "The signature must be Ed25519.",
    Flaw.COMPONENT_MISSING: (
        "The signature must cover @method, @target-uri, content-digest with a body, and "
        "idempotency-key and strongroom headers that are sent."
    ),
    Flaw.COMPONENT_UNKNOWN: "The signature covers something that our profile does not know.",
    Flaw.COMPONENT_ABSENT: "The signature covers a header that was not sent.",
    Flaw.PARAMETER_MISSING: "The signature needs created, expires, nonce and keyid.",
    Flaw.PARAMETER_UNKNOWN: "The signature has a parameter that our profile does not know.",
    Flaw.DIGEST: "Content-Digest must be one sha-256 value.",
    Flaw.NONCE: "The nonce has 16 to 64 letters, digits or +/=_.-",
    Flaw.WINDOW: "The signature may be good for 300 seconds, from created to expires.",
    Flaw.FUTURE: "The signature was created in the future. Check the clock.",
    Flaw.EXPIRED: "The signature has expired. Sign again.",
    Flaw.NO_PUBLIC_URL: "This installation has no public URL: signed requests need one.",
}
"""What a caller may be told; all else reads alike, so that no key can be guessed by answers."""


class SigningKeys:
    """Keeps the public keys under which merchants sign."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        known_scopes: Collection[str],
        require_merchant: Callable[[str], Awaitable[object]],
        forget: Callable[[bytes], None],
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._known_scopes = frozenset(known_scopes)
        self._require_merchant = require_merchant
        self._forget = forget
        self._clock = clock

    async def add(
        self, spec: SigningKeySpec, *, actor: str, request: str | None = None
    ) -> SigningKeyView:
        """Register a public key of a merchant.

        Raises:
            StrongroomError: `invalid_parameter`, `merchant_not_found`, `signing_key_exists`.
        """
        now = self._clock.now()
        spec = self._checked(spec, now)
        await self._require_merchant(spec.merchant)
        change = Change()
        key = records.add_key(change, spec, new_uuid7(), actor=actor, at=now)
        facts: dict[str, str | int | bool] = {"role": key.role, "fingerprint": _spelled(key)}
        if key.scopes is not None:
            facts["scopes"] = " ".join(key.scopes)
        if key.expires_at is not None:
            facts["expires_at"] = rfc3339_ms(key.expires_at)
        entry = _entry("add", "added", key, actor=actor, request=request, facts=facts)
        record(change, entry, at=now)
        try:
            await self._committer.submit(change)
        except ConstraintViolated as refused:
            if refused.constraint == "signing_key_public_once":
                raise errors.signing_key_exists() from None
            raise
        return key

    async def listed(
        self, merchant: str, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[SigningKeyView]:
        """Return a merchant's signing keys, oldest first."""
        return await records.keys_after(
            self._database,
            uuid_of(merchant, "mer"),
            after=NIL_UUID if after is None else uuid_of(after, "sig"),
            limit=min(limit, PAGE_LIMIT_MAX),
            now=self._clock.now(),
        )

    async def revoke(
        self, merchant: str, key_id: str, *, actor: str, reason: str, request: str | None = None
    ) -> SigningKeyView:
        """End a signing key; every process refuses it within a second.

        Raises:
            StrongroomError: `signing_key_not_found`.
        """
        check_text("reason", reason)
        key = uuid_of(key_id, "sig")
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            stored = await records.find_key(self._database, uuid_of(merchant, "mer"), key, now=now)
            if stored is None:
                raise errors.signing_key_not_found()
            if stored.view.revoked_at is not None:
                return stored.view
            entry = _entry(
                "revoke", "revoked", stored.view, actor=actor, request=request, reason=reason
            )
            if await self._end(stored, entry, now):
                return msgspec.structs.replace(stored.view, status="revoked", revoked_at=now)
        raise errors.changed_meanwhile()

    async def disable_idle(self, *, actor: str = "system:worker") -> int:
        """End signing keys that nobody used for 90 days (PCI DSS 8.2.6); return how many."""
        now = self._clock.now()
        since = now - timedelta(days=KEY_IDLE_MAX_DAYS)
        ended = 0
        for stored in await records.idle(
            self._database, since=since, limit=KEY_IDLE_BATCH, now=now
        ):
            entry = _entry("disable", "disabled", stored.view, actor=actor, reason="idle")
            ended += await self._end(stored, entry, now)
        return ended

    async def _end(self, stored: records.StoredSigningKey, entry: Entry, now: datetime) -> bool:
        change = Change()
        records.set_revoked(change, stored, at=now)
        record(change, entry, at=now)
        verdict = await self._committer.submit(change)
        self._forget(uuid_of(stored.view.id, "sig").bytes)
        return verdict is Verdict.COMMITTED

    def _checked(self, spec: SigningKeySpec, now: datetime) -> SigningKeySpec:
        if spec.role not in _ROLES:
            raise errors.invalid_parameter("role", "A signing key has a role of a merchant.")
        if not sound_ed25519(spec.public_key):
            raise errors.invalid_parameter("public_key", "Give a sound Ed25519 public key.")
        revealing = spec.role == REVEALING
        if spec.scopes is not None or revealing:
            check_scopes(spec.scopes, known=self._known_scopes)
        check_text("owner", spec.owner)
        return msgspec.structs.replace(
            spec,
            networks=checked_networks(spec.networks),
            expires_at=expiry(spec.expires_at, short=revealing, now=now),
        )


class SignedRequests:
    """Proves who signed a request: one of the kinds of credential (`Authenticator`)."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        mode: Mode,
        known_scopes: Collection[str],
        require_merchant: Callable[[str], Awaitable[object]],
        replays: Replays,
        refusals: Refusals,
        usage: Usage,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mode = mode
        self._replays = replays
        self._refusals = refusals
        self._usage = usage
        self._clock = clock
        self._lookup = Lookup(self._read, clock=clock)
        self.keys = SigningKeys(
            database,
            committer,
            known_scopes=known_scopes,
            require_merchant=require_merchant,
            forget=self._lookup.forget,
            clock=clock,
        )

    async def close(self) -> None:
        """End background reads."""
        await self._lookup.close()

    def claims(self, arrival: Arrival) -> bool:
        """Whether the request is signed, well or badly."""
        return decide.claims(arrival)

    async def authenticate(self, arrival: Arrival) -> Authenticated:
        """Return who signed it, and the digest that its body must have.

        Raises:
            StrongroomError: `unauthenticated`; `storage_unavailable` or `overloaded` when it
                cannot be known now.
        """
        source = arrival.source
        if arrival.authorization is not None:
            raise self._refused("ambiguous", "Send one kind of credential, not two.", source)
        signed = decide.taken_apart(arrival)
        now = self._clock.now()
        if isinstance(signed, Signed):
            flaw = decide.outside_its_time(signed, now_s=int(now.timestamp()))
            found = None if flaw is not None else await self._proved(signed, now, source)
            if found is not None:
                self._usage.note(found.principal, now)
                return Authenticated(
                    principal=found.principal, content_digest=signed.content_digest
                )
            signed = flaw or Flaw.KEY
        raise self._refused(signed.value, _PUBLIC.get(signed, _NOT_VALID), source)

    async def _proved(self, signed: Signed, now: datetime, source: str) -> KeyRecord:
        """Return the key that signed, after its nonce was used up."""
        found = await self._lookup.find(uuid_of(signed.key_id, "sig").bytes)
        key = _NOBODY if found is None else found.public_key
        sound = verify_ed25519(key, signed.signature, signed.base)
        refusal = refusal_of(found, now=now, source=source)
        if refusal is not None or found is None:
            raise self._refused(
                Flaw.KEY.value if refusal is None else refusal.value, _NOT_VALID, source, found
            )
        if not sound:
            raise self._refused(Flaw.SIGNATURE.value, _NOT_VALID, source, found)
        until = datetime.fromtimestamp(signed.expires + SIGNATURE_SKEW_S, UTC)
        nonce = f"{signed.key_id}\0{signed.nonce}".encode()
        if not await self._replays.first_use("signature_nonce", nonce, expires_at=until):
            raise self._refused(Flaw.REPLAYED.value, _NOT_VALID, source, found)
        return found

    def _refused(
        self, reason: str, public: str, source: str, found: KeyRecord | None = None
    ) -> StrongroomError:
        self._refusals.note(
            Refused(
                action="identity:signature:reject",
                reason=reason,
                subject="none" if found is None else found.principal.id,
                merchant=None if found is None else found.principal.merchant,
                source=source,
            )
        )
        return errors.signature_refused(public, detail=reason)

    async def _read(self, ids: Sequence[bytes]) -> list[KeyRecord]:
        return await records.by_id(self._database, ids, mode=self._mode)


def _spelled(key: SigningKeyView) -> str:
    """Return the start of a fingerprint in letters: no digest is ever taken for a card number."""
    return key.fingerprint[:20].translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))


def _entry(
    verb: str,
    outcome: str,
    key: SigningKeyView,
    *,
    actor: str,
    request: str | None = None,
    reason: str | None = None,
    facts: dict[str, str | int | bool] | None = None,
) -> Entry:
    return Entry(
        action=f"identity:signing_key:{verb}",
        subject=key.id,
        outcome=outcome,
        reason=reason,
        facts=facts or {},
        merchant=key.merchant,
        actor=actor,
        request=request,
    )
