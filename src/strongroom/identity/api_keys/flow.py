"""The verbs of API keys: make, list, rotate, revoke, disable what is idle, report on age.

A key's text exists in the request that brings it and in the answer that makes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

import msgspec

from strongroom.identity import errors, keytext
from strongroom.identity.api_keys import decide, records
from strongroom.identity.api_keys.model import Hashed, Hashes, KeyAge, Rotated, hashes_of
from strongroom.identity.decide import check_text
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import KeyRecord, KeySpec, KeyView, Mode
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.edge_limits import KEY_EXPIRY_WARN_DAYS, KEY_IDLE_BATCH, KEY_IDLE_MAX_DAYS
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Committer, Database, Verdict

_STALE_RETRIES = 5
_IDLE_FOR = timedelta(days=KEY_IDLE_MAX_DAYS)

RequireMerchant = Callable[[str], Awaitable[object]]


class ApiKeys:
    """Keeps API keys. What it ends is refused by every process within a second.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        mode: the world this installation belongs to.
        hashes: a text's keyed hashes under the peppers in use.
        known_scopes: the names of all actions.
        require_merchant: raises `merchant_not_found` for what is none.
        lookup: what authentication remembers of keys.
        clock: time.
        random_bytes: a CSPRNG.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        mode: Mode,
        hashes: Hashes,
        known_scopes: Collection[str],
        require_merchant: RequireMerchant,
        lookup: Lookup[KeyRecord],
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._committer = committer
        self._mode = mode
        self._hashes = hashes
        self._known_scopes = frozenset(known_scopes)
        self._require_merchant = require_merchant
        self._lookup = lookup
        self._clock = clock
        self._random_bytes = random_bytes

    async def create(
        self, spec: KeySpec, *, actor: str, request: str | None = None
    ) -> tuple[KeyView, Secret[str]]:
        """Make a key; its text is in the answer and nowhere else, ever.

        Raises:
            StrongroomError: `invalid_parameter` for what no key may be, `merchant_not_found`.
        """
        now = self._clock.now()
        spec = decide.checked(spec, known_scopes=self._known_scopes, now=now)
        if spec.merchant is not None:
            await self._require_merchant(spec.merchant)
        change = Change()
        key, text = await self._add(change, spec, actor=actor, request=request, now=now)
        await self._committer.submit(change)
        return key, text

    async def listed(
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

    async def rotate(
        self,
        merchant: str | None,
        key_id: str,
        *,
        overlap: timedelta,
        actor: str,
        request: str | None = None,
    ) -> Rotated:
        """Make a key's successor; both work until the overlap ends, then only the successor.

        Raises:
            StrongroomError: `api_key_not_found`, `api_key_not_active`, `invalid_parameter`.
        """
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            stored = await self._stored(merchant, key_id, now)
            ends = decide.end_of_overlap(stored.view, overlap=overlap, now=now)
            spec = decide.successor_of(stored.view, now=now)
            change = Change()
            made, text = await self._add(
                change, spec, actor=actor, request=request, now=now, replaces=key_id
            )
            records.set_end(change, stored, at=ends)
            entry = Entry(
                action="identity:api_key:rotate",
                subject=key_id,
                outcome="replaced",
                facts={"successor": made.id, "expires_at": rfc3339_ms(ends)},
                merchant=merchant,
                actor=actor,
                request=request,
            )
            record(change, entry, at=now)
            verdict = await self._committer.submit(change)
            self._lookup.forget(stored.hash)
            if verdict is Verdict.COMMITTED:
                former = msgspec.structs.replace(stored.view, expires_at=ends)
                return Rotated(former=former, successor=made, secret=text)
        raise errors.changed_meanwhile()

    async def revoke(
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
        entry = Entry(
            action="identity:api_key:revoke",
            subject=key_id,
            outcome="revoked",
            reason=check_text("reason", reason),
            merchant=merchant,
            actor=actor,
            request=request,
        )
        view, _ = await self.end(entry)
        return view

    async def end(self, entry: Entry) -> tuple[KeyView, bool]:
        """End the key that an entry is about; also return whether it was this that ended it.

        Raises:
            StrongroomError: `api_key_not_found`.
        """
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            stored = await self._stored(entry.merchant, entry.subject, now)
            if stored.view.revoked_at is not None:
                return stored.view, False
            if await self._end(stored, entry, now):
                return msgspec.structs.replace(stored.view, status="revoked", revoked_at=now), True
        raise errors.changed_meanwhile()

    async def disable_idle(self, *, actor: str = "system:worker") -> int:
        """End keys that nobody used for 90 days (PCI DSS 8.2.6); return how many.

        Only a new key takes their place: nothing brings an ended one back.
        """
        now = self._clock.now()
        found = await records.idle(
            self._database, since=now - _IDLE_FOR, limit=KEY_IDLE_BATCH, now=now
        )
        ended = 0
        for stored in found:
            since = stored.view.last_used_at or stored.view.created_at
            entry = Entry(
                action="identity:api_key:disable",
                subject=stored.view.id,
                outcome="disabled",
                reason="idle",
                facts={"idle_days": (now - since).days},
                merchant=stored.view.merchant,
                actor=actor,
            )
            ended += await self._end(stored, entry, now)
        return ended

    async def report(self, *, older_than_days: int | None = None) -> list[KeyAge]:
        """Return every living key with its age, its idle time and what to do about it.

        Args:
            older_than_days: warn of keys that are older than this.
        """
        now = self._clock.now()
        found: list[KeyView] = []
        after = (NIL_UUID, NIL_UUID)
        while True:
            page = await records.living_after(
                self._database, after=after, limit=PAGE_LIMIT_MAX, now=now
            )
            found += page
            if len(page) < PAGE_LIMIT_MAX:
                break
            after = (records.tenant(page[-1].merchant), uuid_of(page[-1].id, "key"))
        replaced = {key.replaces for key in found}
        return [_age(key, now, key.id in replaced, older_than_days) for key in found]

    async def expiring(self) -> float:
        """Return how many living keys expire within two weeks; for the metrics."""
        now = self._clock.now()
        before = now + timedelta(days=KEY_EXPIRY_WARN_DAYS)
        return await records.ending(self._database, before=before, now=now)

    async def move(self, found: KeyRecord, hashed: Hashed) -> bool:
        """Store a key's hash under a newer pepper; return whether it was moved now.

        Changes nothing of what the key may do, and is written down like every change.
        """
        now = self._clock.now()
        key = found.principal
        stored = await self._stored(key.merchant, key.id, now)
        if stored.pepper_version >= hashed.pepper_version:
            return False
        change = Change()
        records.set_hash(change, stored, hashed)
        entry = Entry(
            action="identity:api_key:rehash",
            subject=key.id,
            outcome="moved",
            facts={"pepper": hashed.pepper_version},
            merchant=key.merchant,
            actor="system:identity",
        )
        record(change, entry, at=now)
        verdict = await self._committer.submit(change)
        for digest in (stored.hash, hashed.digest):
            self._lookup.forget(digest)
        return verdict is Verdict.COMMITTED

    async def _add(
        self,
        change: Change,
        spec: KeySpec,
        *,
        actor: str,
        request: str | None,
        now: datetime,
        replaces: str | None = None,
    ) -> tuple[KeyView, Secret[str]]:
        text = keytext.generate(mode=self._mode, kind=spec.kind, random_bytes=self._random_bytes)
        key = _view_of(spec, keytext.hint_of(text), actor=actor, now=now, replaces=replaces)
        hashed = (await hashes_of(self._hashes, text.encode("ascii")))[0]
        records.add_key(change, key, hashed)
        record(change, _created(key, actor=actor, request=request), at=now)
        return key, Secret(text)

    async def _end(self, stored: records.StoredKey, entry: Entry, now: datetime) -> bool:
        change = Change()
        records.set_revoked(change, stored, at=now)
        record(change, entry, at=now)
        verdict = await self._committer.submit(change)
        self._lookup.forget(stored.hash)
        return verdict is Verdict.COMMITTED

    async def _stored(self, merchant: str | None, key_id: str, now: datetime) -> records.StoredKey:
        stored = await records.find_key(
            self._database, records.tenant(merchant), uuid_of(key_id, "key"), now=now
        )
        if stored is None:
            raise errors.api_key_not_found()
        return stored


def _view_of(
    spec: KeySpec, hint: str, *, actor: str, now: datetime, replaces: str | None
) -> KeyView:
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
        networks=spec.networks,
        replaces=replaces,
    )


def _created(key: KeyView, *, actor: str, request: str | None) -> Entry:
    """Return the entry of a key's creation; the owner's name stays out, it is personal."""
    facts: dict[str, str | int | bool] = {"kind": key.kind.value, "role": key.role}
    if key.scopes is not None:
        facts["scopes"] = " ".join(key.scopes)
    if key.expires_at is not None:
        facts["expires_at"] = rfc3339_ms(key.expires_at)
    if key.networks:
        facts["networks"] = len(key.networks)
    if key.replaces is not None:
        facts["replaces"] = key.replaces
    return Entry(
        action="identity:api_key:create",
        subject=key.id,
        outcome="created",
        facts=facts,
        merchant=key.merchant,
        actor=actor,
        request=request,
    )


def _age(key: KeyView, now: datetime, replaced: bool, older_than_days: int | None) -> KeyAge:
    return KeyAge(
        id=key.id,
        merchant=key.merchant,
        kind=key.kind.value,
        role=key.role,
        owner=key.owner,
        hint=key.hint,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        age_days=(now - key.created_at).days,
        idle_days=(now - (key.last_used_at or key.created_at)).days,
        warnings=decide.warnings(key, now=now, replaced=replaced, older_than_days=older_than_days),
    )
