"""The verbs of workloads: accept one that shows its certificate, register, revoke, list.

TLS has proved that the peer holds the key of a certificate of our authority; here it is asked
whether that certificate was revoked, and whether its SPIFFE id is registered. What cannot be known
now lets nobody in. All refusals read the same; the reason goes to the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from strongroom.identity import errors
from strongroom.identity.arrivals import Arrival, Authenticated, IsRevoked
from strongroom.identity.decide import check_text
from strongroom.identity.flow import Identity
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import KeyRecord, Mode, Refusal
from strongroom.identity.refusals import Refused
from strongroom.identity.workloads import decide, records
from strongroom.identity.workloads.model import WorkloadSpec, WorkloadView
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.storage import Change, Committer, ConstraintViolated, Database, Verdict

_STALE_RETRIES = 5
_PUBLIC = "The certificate is not valid for this API."


class Workloads:
    """Proves services by their certificates: an `Authenticator`.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        identity: counts the refusals, knows the merchants.
        trust_domain: whose SPIFFE ids are meant.
        is_revoked: asks about a certificate.
        known_scopes: the names of all actions.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        identity: Identity,
        mode: Mode,
        trust_domain: str,
        is_revoked: IsRevoked,
        known_scopes: Collection[str],
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._committer = committer
        self._identity = identity
        self._mode = mode
        self._trust_domain = trust_domain
        self._prefix = f"spiffe://{trust_domain}/"
        self._is_revoked = is_revoked
        self._known_scopes = frozenset(known_scopes)
        self._clock = clock or SystemClock()
        self._lookup = Lookup(self._read, clock=self._clock)

    async def close(self) -> None:
        """End background reads."""
        await self._lookup.close()

    # --- callers ---------------------------------------------------------------------------------

    def claims(self, arrival: Arrival) -> bool:
        """Whether a workload of our trust domain calls and names no other credential."""
        peer = arrival.peer
        return (
            arrival.authorization is None
            and peer is not None
            and peer.spiffe_id is not None
            and peer.spiffe_id.startswith(self._prefix)
        )

    async def authenticate(self, arrival: Arrival) -> Authenticated:
        """Return the service that calls.

        Raises:
            StrongroomError: `unauthenticated`; `vault_unavailable`, `storage_unavailable` or
                `overloaded` when it cannot be known now.
        """
        peer = arrival.peer
        name = None if peer is None else peer.spiffe_id
        if peer is None or name is None or not self.claims(arrival):
            raise self._refuse(Refusal.MISSING, "none", arrival.source)
        if await self._is_revoked(peer.serials):
            raise self._refuse(Refusal.REVOKED, name, arrival.source)
        found = await self._lookup.find(records.mark(name))
        refusal = decide.refusal_of(found)
        if refusal is not None or found is None:
            raise self._refuse(refusal or Refusal.UNKNOWN, name, arrival.source, found)
        return Authenticated(principal=found.principal)

    async def _read(self, marks: Sequence[bytes]) -> list[KeyRecord]:
        return await records.by_mark(self._database, marks, mode=self._mode)

    def _refuse(
        self, refusal: Refusal, name: str, source: str, found: KeyRecord | None = None
    ) -> StrongroomError:
        self._identity.refusals.note(
            Refused(
                action="identity:workload:reject",
                reason=refusal.value,
                subject=name,
                merchant=None if found is None else found.principal.merchant,
                source=source,
            )
        )
        return errors.unauthenticated(_PUBLIC, detail=refusal.value)

    # --- registrations ---------------------------------------------------------------------------

    async def register(
        self, spec: WorkloadSpec, *, actor: str, request: str | None = None
    ) -> WorkloadView:
        """Let a service call the API as its certificate names it.

        Raises:
            StrongroomError: `invalid_parameter`, `merchant_not_found`, `conflict` when the name is
                registered already.
        """
        spec = decide.checked(
            spec, trust_domain=self._trust_domain, known_scopes=self._known_scopes
        )
        if spec.merchant is not None:
            await self._identity.find_merchant(spec.merchant)
        now = self._clock.now()
        made = WorkloadView(
            id=new_id("wkl"),
            spiffe_id=spec.spiffe_id,
            merchant=spec.merchant,
            role=spec.role,
            scopes=None if spec.scopes is None else tuple(sorted(spec.scopes)),
            owner=spec.owner,
            status="active",
            created_at=now,
            created_by=actor,
            revoked_at=None,
        )
        change = Change()
        records.add(change, made)
        record(change, _registered(made, actor=actor, request=request), at=now)
        try:
            await self._committer.submit(change)
        except ConstraintViolated as violated:
            if violated.constraint != "workload_one_living":
                raise
            raise errors.workload_exists() from None
        self._lookup.forget(records.mark(made.spiffe_id))
        return made

    async def revoke(
        self, workload: str, *, actor: str, reason: str, request: str | None = None
    ) -> WorkloadView:
        """End a registration; every process refuses the service within a second.

        Raises:
            StrongroomError: `workload_not_found`.
        """
        check_text("reason", reason)
        for _ in range(_STALE_RETRIES):
            stored = await self._stored(workload)
            if stored.view.revoked_at is not None:
                return stored.view
            now = self._clock.now()
            change = Change()
            records.set_revoked(change, stored, at=now)
            entry = Entry(
                action="identity:workload:revoke",
                subject=stored.view.id,
                outcome="revoked",
                reason=reason,
                merchant=stored.view.merchant,
                actor=actor,
                request=request,
            )
            record(change, entry, at=now)
            verdict = await self._committer.submit(change)
            self._lookup.forget(records.mark(stored.view.spiffe_id))
            if verdict is Verdict.COMMITTED:
                return msgspec.structs.replace(stored.view, status="revoked", revoked_at=now)
        raise errors.changed_meanwhile()

    async def list_workloads(
        self, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[WorkloadView]:
        """Return registrations, oldest first."""
        start = NIL_UUID if after is None else uuid_of(after, "wkl")
        return await records.after(self._database, start=start, limit=min(limit, PAGE_LIMIT_MAX))

    async def _stored(self, workload: str) -> records.StoredWorkload:
        try:
            found = await records.find(self._database, uuid_of(workload, "wkl"))
        except StrongroomError as error:
            if error.code == "storage_unavailable":
                raise
            found = None
        if found is None:
            raise errors.workload_not_found()
        return found


def _registered(made: WorkloadView, *, actor: str, request: str | None) -> Entry:
    """Return the entry of a registration; the owner's name stays out, it is personal."""
    facts: dict[str, str | int | bool] = {"role": made.role, "spiffe_id": made.spiffe_id}
    if made.scopes is not None:
        facts["scopes"] = " ".join(made.scopes)
    return Entry(
        action="identity:workload:register",
        subject=made.id,
        outcome="created",
        facts=facts,
        merchant=made.merchant,
        actor=actor,
        request=request,
    )
