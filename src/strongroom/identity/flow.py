"""The verbs of identity: accept a caller, make and revoke keys, keep merchants.

Refused callers all read the same sentence when the reason is in the store; the reason itself goes
to the journal. A key's text exists in the request that brings it and in the answer that makes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from strongroom.identity import decide, errors, keytext, records
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import (
    KeyRecord,
    KeySpec,
    KeyView,
    MerchantView,
    Mode,
    Principal,
    PrincipalKind,
    Refusal,
)
from strongroom.identity.refusals import Hasher, Refusals, Refused, hashed
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Committer, Database, Verdict

USE_NOTED_EVERY = timedelta(minutes=1)
"""Last use is for reviews of idle keys (PCI DSS 8.2.6): minutes are exact enough."""

_STALE_RETRIES = 5
_PUBLIC = {
    Refusal.MISSING: "Send an API key in the Authorization header: 'Bearer sr_…'.",
    Refusal.MALFORMED: "The Authorization header must be 'Bearer sr_…' with a complete API key.",
    Refusal.WRONG_MODE: "The API key is for the other mode: test and live keys never mix.",
    Refusal.AMBIGUOUS: "Send one kind of credential, not two.",
}
_PUBLIC_STORED = "The API key is not valid."


class Identity:
    """Proves who calls. One per process; every process sees a revocation within a second.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        mode: the world this installation belongs to; keys of the other one are refused.
        hasher: keyed hash (HMAC-SHA-256) under the pepper; the pepper never enters the database,
            nor, where the vault runs alone, this process: then the hash is awaited.
        known_scopes: the names of all actions; app hands in those of `access`.
        clock: time.
        random_bytes: a CSPRNG.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        mode: Mode,
        hasher: Hasher,
        known_scopes: Collection[str],
        clock: Clock | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._committer = committer
        self._mode = mode
        self._hasher = hasher
        self._known_scopes = frozenset(known_scopes)
        self._clock = clock or SystemClock()
        self._random_bytes = random_bytes
        self._lookup = Lookup(self._read, clock=self._clock)
        self._used: dict[str, tuple[str | None, datetime]] = {}
        self.refusals = Refusals(committer, clock=self._clock, hasher=hasher)

    async def close(self) -> None:
        """End background reads. Call `flush_refusals(final=True)` before."""
        await self._lookup.close()

    # --- callers ---------------------------------------------------------------------------------

    async def authenticate(
        self, authorization: str | None, *, merchant: str | None = None, source: str = ""
    ) -> Principal:
        """Return who sent this `Authorization` header.

        Args:
            authorization: the whole header value.
            merchant: the `Strongroom-Merchant` header: the merchant an operator acts on.
            source: the caller's address, for security events.

        Raises:
            StrongroomError: `unauthenticated`; `merchant_not_found` for a merchant that is not
                there or not the caller's; `storage_unavailable` or `overloaded` when it cannot
                be known now.
        """
        if not authorization:
            raise self.refuse(Refusal.MISSING, source=source)
        presented = keytext.parse(authorization)
        if presented is None:
            raise self.refuse(Refusal.MALFORMED, source=source)
        if presented.mode != self._mode:
            raise self.refuse(Refusal.WRONG_MODE, source=source, presented=presented)
        found = await self._lookup.find(await hashed(self._hasher, presented.text))
        now = self._clock.now()
        refusal = decide.refusal_of(found, now=now)
        if refusal is not None or found is None:
            raise self.refuse(
                refusal or Refusal.UNKNOWN, source=source, presented=presented, found=found
            )
        self._note_used(found.principal, now)
        if merchant is None:
            return found.principal
        return await self.named(found.principal, merchant)

    def refuse(
        self,
        refusal: Refusal,
        *,
        source: str,
        presented: keytext.Presented | None = None,
        found: KeyRecord | None = None,
    ) -> StrongroomError:
        """Count a refused caller and return the error to raise."""
        subject, hint = "none", ""
        if found is not None:
            subject = found.principal.id
        elif presented is not None:
            subject, hint = presented.prefix, presented.hint
        self.refusals.note(
            Refused(
                action="identity:api_key:reject",
                reason=refusal.value,
                subject=subject,
                hint=hint,
                merchant=None if found is None else found.principal.merchant,
                source=source,
            )
        )
        return errors.unauthenticated(_PUBLIC.get(refusal, _PUBLIC_STORED), detail=refusal.value)

    async def named(self, principal: Principal, merchant: str) -> Principal:
        """Return the caller acting on the merchant it named.

        Raises:
            StrongroomError: `merchant_not_found`.
        """
        if principal.kind is not PrincipalKind.OPERATOR:
            if merchant != principal.merchant:
                raise errors.merchant_not_found()
            return principal
        found = await self.find_merchant(merchant)
        return msgspec.structs.replace(
            principal, merchant=found.id, suspended=found.status != "active"
        )

    async def _read(self, digests: Sequence[bytes]) -> list[KeyRecord]:
        return await records.by_hash(self._database, digests, mode=self._mode)

    def _note_used(self, principal: Principal, now: datetime) -> None:
        self._used[principal.id] = (principal.merchant, now)

    # --- housekeeping ----------------------------------------------------------------------------

    async def flush_refusals(self, *, final: bool = False) -> int:
        """Write refusals that are due to the journal; call each second, `final` when stopping."""
        return await self.refusals.flush(final=final)

    async def flush_usage(self) -> int:
        """Write when keys were last used, each at most once a minute; call every ten seconds."""
        used, self._used = self._used, {}
        if used:
            rows = [
                (records.tenant(merchant), uuid_of(key_id, "key"), at)
                for key_id, (merchant, at) in sorted(used.items())
            ]
            await records.note_used(self._database, rows, at_most_every=USE_NOTED_EVERY)
        return len(used)

    # --- keys ------------------------------------------------------------------------------------

    async def create_key(
        self, spec: KeySpec, *, actor: str, request: str | None = None
    ) -> tuple[KeyView, Secret[str]]:
        """Make a key; its text is in the answer and nowhere else, ever.

        Raises:
            StrongroomError: `invalid_parameter` for what no key may be, `merchant_not_found`.
        """
        now = self._clock.now()
        spec = decide.checked(spec, known_scopes=self._known_scopes, now=now)
        if spec.merchant is not None:
            await self.find_merchant(spec.merchant)
        text = keytext.generate(mode=self._mode, kind=spec.kind, random_bytes=self._random_bytes)
        key = _view_of(spec, hint=keytext.hint_of(text), actor=actor, now=now)
        change = Change()
        records.add_key(change, key, await hashed(self._hasher, text.encode("ascii")))
        record(change, _created(key, actor=actor, request=request), at=now)
        await self._committer.submit(change)
        return key, Secret(text)

    async def list_keys(
        self, merchant: str | None, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[KeyView]:
        """Return a merchant's keys, oldest first; None lists the operators' keys."""
        return await records.keys_after(
            self._database,
            records.tenant(merchant),
            after=NIL_UUID if after is None else uuid_of(after, "key"),
            limit=min(limit, PAGE_LIMIT_MAX),
            now=self._clock.now(),
        )

    async def revoke_key(
        self,
        merchant: str | None,
        key_id: str,
        *,
        actor: str,
        reason: str,
        request: str | None = None,
    ) -> KeyView:
        """End a key; every process refuses it within a second. Revoking twice changes nothing.

        Raises:
            StrongroomError: `api_key_not_found`.
        """
        decide.check_text("reason", reason)
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            stored = await records.find_key(
                self._database, records.tenant(merchant), uuid_of(key_id, "key"), now=now
            )
            if stored is None:
                raise errors.api_key_not_found()
            if stored.view.revoked_at is not None:
                return stored.view
            change = Change()
            records.set_revoked(change, stored, at=now)
            entry = Entry(
                action="identity:api_key:revoke",
                subject=key_id,
                outcome="revoked",
                reason=reason,
                merchant=merchant,
                actor=actor,
                request=request,
            )
            record(change, entry, at=now)
            verdict = await self._committer.submit(change)
            self._lookup.forget(stored.hash)
            if verdict is Verdict.COMMITTED:
                return msgspec.structs.replace(stored.view, status="revoked", revoked_at=now)
        raise errors.changed_meanwhile()

    # --- merchants -------------------------------------------------------------------------------

    async def create_merchant(
        self, name: str, *, actor: str, request: str | None = None
    ) -> MerchantView:
        """Add a merchant."""
        now = self._clock.now()
        merchant = MerchantView(
            id=new_id("mer"),
            name=decide.check_text("name", name),
            status="active",
            created_at=now,
        )
        change = Change()
        records.add_merchant(change, merchant)
        entry = Entry(
            action="identity:merchant:create",
            subject=merchant.id,
            outcome="created",
            merchant=merchant.id,
            actor=actor,
            request=request,
        )
        record(change, entry, at=now)
        await self._committer.submit(change)
        return merchant

    async def find_merchant(self, merchant: str) -> MerchantView:
        """Return a merchant.

        Raises:
            StrongroomError: `merchant_not_found`, also for what is no merchant id at all.
        """
        return (await self._stored_merchant(merchant)).view

    async def list_merchants(
        self, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[MerchantView]:
        """Return merchants, oldest first."""
        start = NIL_UUID if after is None else uuid_of(after, "mer")
        return await records.merchants_after(
            self._database, after=start, limit=min(limit, PAGE_LIMIT_MAX)
        )

    async def suspend_merchant(
        self, merchant: str, *, actor: str, reason: str, request: str | None = None
    ) -> MerchantView:
        """Stop a merchant: its keys are refused within a second, until it is resumed."""
        entry = _status_entry(
            "suspend", "suspended", merchant, reason=reason, actor=actor, request=request
        )
        return await self._set_status(entry, merchant, "suspended")

    async def resume_merchant(
        self, merchant: str, *, actor: str, reason: str, request: str | None = None
    ) -> MerchantView:
        """Let a suspended merchant go on."""
        entry = _status_entry(
            "resume", "resumed", merchant, reason=reason, actor=actor, request=request
        )
        return await self._set_status(entry, merchant, "active")

    async def _set_status(
        self, entry: Entry, merchant: str, status: Literal["active", "suspended"]
    ) -> MerchantView:
        for _ in range(_STALE_RETRIES):
            stored = await self._stored_merchant(merchant)
            if stored.view.status == status:
                return stored.view
            change = Change()
            records.set_status(change, stored, status)
            record(change, entry, at=self._clock.now())
            if await self._committer.submit(change) is Verdict.COMMITTED:
                return msgspec.structs.replace(stored.view, status=status)
        raise errors.changed_meanwhile()

    async def _stored_merchant(self, merchant: str) -> records.StoredMerchant:
        try:
            merchant_uuid = uuid_of(merchant, "mer")
        except StrongroomError:
            raise errors.merchant_not_found() from None
        found = await records.find_merchant(self._database, merchant_uuid)
        if found is None:
            raise errors.merchant_not_found()
        return found


def _view_of(spec: KeySpec, *, hint: str, actor: str, now: datetime) -> KeyView:
    return KeyView(
        id=new_id("key"),
        merchant=spec.merchant,
        kind=spec.kind,
        role=spec.role,
        scopes=None if spec.scopes is None else tuple(sorted(spec.scopes)),
        owner=spec.owner,
        hint=hint,
        status="active",
        created_at=now,
        created_by=actor,
        expires_at=spec.expires_at,
        revoked_at=None,
        last_used_at=None,
    )


def _created(key: KeyView, *, actor: str, request: str | None) -> Entry:
    """Return the entry of a key's creation; the owner's name stays out, it is personal."""
    facts: dict[str, str | int | bool] = {"kind": key.kind.value, "role": key.role}
    if key.scopes is not None:
        facts["scopes"] = " ".join(key.scopes)
    if key.expires_at is not None:
        facts["expires_at"] = rfc3339_ms(key.expires_at)
    return Entry(
        action="identity:api_key:create",
        subject=key.id,
        outcome="created",
        facts=facts,
        merchant=key.merchant,
        actor=actor,
        request=request,
    )


def _status_entry(
    verb: str, outcome: str, merchant: str, *, reason: str, actor: str, request: str | None
) -> Entry:
    return Entry(
        action=f"identity:merchant:{verb}",
        subject=merchant,
        outcome=outcome,
        reason=decide.check_text("reason", reason),
        merchant=merchant,
        actor=actor,
        request=request,
    )
