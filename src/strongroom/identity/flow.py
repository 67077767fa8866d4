"""The verbs of identity: accept a caller, keep merchants and what they demand of callers.

API keys are kept and proved in `api_keys`; this is the door that other rooms know them by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec

from strongroom.identity import decide, errors, records
from strongroom.identity.api_keys import ApiKeys, Hashed, Hashes, KeyProof
from strongroom.identity.api_keys import records as key_records
from strongroom.identity.levels import Levels
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import (
    KeyRecord,
    KeySpec,
    KeyView,
    Level,
    MerchantView,
    Mode,
    Principal,
    PrincipalKind,
    Refusal,
)
from strongroom.identity.refusals import Hasher, Refusals, hashed
from strongroom.identity.usage import Usage
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Committer, Database, Verdict

_STALE_RETRIES = 5


class Identity:
    """Proves who calls. One per process; every process sees a revocation within a second.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        mode: the world this installation belongs to; keys of the other one are refused.
        hasher: keyed hash (HMAC-SHA-256) under the pepper; the pepper never enters the database,
            nor, where the vault runs alone, this process: then the hash is awaited.
        hashes: the same under every pepper in use; without it there is one, the first.
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
        hashes: Hashes | None = None,
        clock: Clock | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._committer = committer
        self._mode = mode
        self._clock = clock or SystemClock()
        self._lookup = Lookup(self._read, clock=self._clock)
        self._levels = Levels(self._level_of, clock=self._clock)
        hashes = hashes or _under_the_first(hasher)
        self.usage = Usage(database)
        self.refusals = Refusals(committer, clock=self._clock, hasher=hasher)
        self.keys = ApiKeys(
            database,
            committer,
            mode=mode,
            hashes=hashes,
            known_scopes=known_scopes,
            require_merchant=self.find_merchant,
            lookup=self._lookup,
            clock=self._clock,
            random_bytes=random_bytes,
        )
        self.proof = KeyProof(
            self.keys,
            mode=mode,
            hashes=hashes,
            lookup=self._lookup,
            usage=self.usage,
            refusals=self.refusals,
            clock=self._clock,
        )

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
            source: the caller's address: keys may be good from named networks only.

        Raises:
            StrongroomError: `unauthenticated`; `merchant_not_found` for a merchant that is not
                there or not the caller's; `storage_unavailable` or `overloaded` when it cannot
                be known now.
        """
        principal = await self.proof.authenticate(authorization, source=source)
        return principal if merchant is None else await self.named(principal, merchant)

    def refuse(self, refusal: Refusal, *, source: str) -> StrongroomError:
        """Count a refused caller and return the error to raise."""
        return self.proof.refuse(refusal, source=source)

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

    async def demanded(self, principal: Principal) -> Principal:
        """Return a merchant's caller with the lowest level that its merchant takes."""
        if principal.kind is not PrincipalKind.MERCHANT or principal.merchant is None:
            return principal
        level = await self._levels.of(principal.merchant)
        return msgspec.structs.replace(principal, required_level=level)

    async def _level_of(self, merchant: str) -> Level:
        return (await self.find_merchant(merchant)).required_level

    async def _read(self, digests: Sequence[bytes]) -> list[KeyRecord]:
        return await key_records.by_hash(self._database, digests, mode=self._mode)

    # --- housekeeping ----------------------------------------------------------------------------

    async def flush_refusals(self, *, final: bool = False) -> int:
        """Write refusals that are due to the journal; call each second, `final` when stopping."""
        return await self.refusals.flush(final=final)

    async def flush_usage(self) -> int:
        """Write when keys were last used, and move used ones to the newest pepper."""
        await self.proof.move_used()
        return await self.usage.flush()

    # --- keys ------------------------------------------------------------------------------------

    async def create_key(
        self, spec: KeySpec, *, actor: str, request: str | None = None
    ) -> tuple[KeyView, Secret[str]]:
        """Make a key; see `ApiKeys.create`."""
        return await self.keys.create(spec, actor=actor, request=request)

    async def list_keys(
        self, merchant: str | None, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[KeyView]:
        """Return a merchant's keys; see `ApiKeys.listed`."""
        return await self.keys.listed(merchant, limit=limit, after=after)

    async def revoke_key(
        self,
        merchant: str | None,
        key_id: str,
        *,
        actor: str,
        reason: str,
        request: str | None = None,
    ) -> KeyView:
        """End a key; see `ApiKeys.revoke`."""
        return await self.keys.revoke(merchant, key_id, actor=actor, reason=reason, request=request)

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

    async def set_level(
        self, merchant: str, level: Level, *, actor: str, reason: str, request: str | None = None
    ) -> MerchantView:
        """Set the lowest level of authentication that a merchant takes, within a second.

        Raises:
            StrongroomError: `merchant_not_found`, `invalid_parameter`.
        """
        if level is Level.NONE:
            raise errors.invalid_parameter("level", "Every merchant demands a level.")
        decide.check_text("reason", reason)
        for _ in range(_STALE_RETRIES):
            stored = await self._stored_merchant(merchant)
            if stored.view.required_level == level:
                return stored.view
            change = Change()
            records.set_level(change, stored, level)
            entry = Entry(
                action="identity:merchant:level",
                subject=merchant,
                outcome="raised" if level > stored.view.required_level else "lowered",
                reason=reason,
                facts={"level": int(level), "former": int(stored.view.required_level)},
                merchant=merchant,
                actor=actor,
                request=request,
            )
            record(change, entry, at=self._clock.now())
            if await self._committer.submit(change) is Verdict.COMMITTED:
                return msgspec.structs.replace(stored.view, required_level=level)
        raise errors.changed_meanwhile()

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


def _under_the_first(hasher: Hasher) -> Hashes:
    """Return the hashes of an installation with one pepper."""

    async def hashes(text: bytes) -> list[Hashed]:
        return [Hashed(pepper_version=1, digest=await hashed(hasher, text))]

    return hashes


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
