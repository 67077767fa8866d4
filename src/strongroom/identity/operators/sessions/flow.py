"""The verbs of sessions: start, accept, renew, end. A token exists in the answer that makes it.

What was read of a session is trusted for half a second (`identity/lookup.py`), so an end shows in
every process within one. A use is noted in memory and written every few seconds; a lost note only
makes a session rest earlier.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from strongroom.identity.lookup import Lookup
from strongroom.identity.model import Principal, PrincipalKind
from strongroom.identity.operators import errors
from strongroom.identity.operators.context import Context, note
from strongroom.identity.operators.model import (
    Method,
    Outside,
    Refusal,
    SessionRecord,
    SessionView,
)
from strongroom.identity.operators.sessions import records
from strongroom.identity.operators.sessions.decide import IDLE, LIFETIME, refusal_of
from strongroom.identity.operators.tickets import is_device
from strongroom.kernel.edge_limits import OPERATOR_IDLE_DAYS
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Verdict

_TOKEN_BYTES = 32
_KEPT = timedelta(days=OPERATOR_IDLE_DAYS)
_TRIES = 3


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A session that a Change is about to start."""

    id: str
    token: Secret[str]


class Sessions:
    """The sessions of one installation, as one process sees them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lookup: Lookup[SessionRecord] = Lookup(self._read, clock=context.clock)
        self._seen: dict[UUID, datetime] = {}

    async def close(self) -> None:
        """End background reads. Call `flush` before."""
        await self._lookup.close()

    async def device(self, device: Secret[str]) -> bytes:
        """Return the keyed hash of a device's secret.

        Raises:
            StrongroomError: `unauthenticated` when it is none of ours.
        """
        if not is_device(device):
            raise errors.session_over(Refusal.OTHER_DEVICE.value)
        return await self._context.keyed(b"device", device.reveal().encode())

    async def start(
        self,
        change: Change,
        operator: UUID,
        *,
        device: bytes,
        method: Method,
        aal: int,
        outside: Outside | None = None,
    ) -> Started:
        """Add a new session to a Change; its person has just shown the second factor, here."""
        token = Secret(secrets.token_urlsafe(_TOKEN_BYTES))
        uuid, digest, now = new_uuid7(), await self._hash(token), self._context.clock.now()
        records.add(
            change,
            uuid,
            operator,
            digest,
            device=device,
            method=method,
            aal=aal,
            at=now,
            mfa_at=now if outside is None else outside.mfa_at,
            role=None if outside is None else outside.role,
        )
        return Started(id=id_from("ses", uuid), token=token)

    async def accept(self, token: Secret[str], *, device: Secret[str], source: str) -> Principal:
        """Return who a session belongs to, and note its use.

        Raises:
            StrongroomError: `unauthenticated`; `storage_unavailable` or `overloaded`.
        """
        bound = await self.device(device)
        found = await self._lookup.find(await self._hash(token))
        now = self._context.clock.now()
        seen_at = None if found is None else self._seen.get(found.uuid)
        refusal = refusal_of(found, device=bound, seen_at=seen_at, now=now)
        if found is None or refusal is not None:
            subject = "none" if found is None else found.operator
            refusal = refusal or Refusal.NO_SESSION
            raise errors.session_over(self._context.refuse(refusal, subject=subject, source=source))
        self._seen[found.uuid] = now
        return self._principal(found)

    async def check_living(self, session: Principal) -> None:
        """Refuse a session that ended, though this process may not have seen it yet.

        Raises:
            StrongroomError: `unauthenticated`.
        """
        stored = await self._stored(session)
        if stored.status != "active" or stored.started_at <= stored.sessions_from:
            raise errors.session_over(Refusal.ENDED.value)

    async def renew(self, session: Principal, *, aal: int, mfa_at: datetime) -> Secret[str]:
        """Give a session a new token and a newer second factor; the old token ends.

        Raises:
            StrongroomError: `unauthenticated` when the session ended meanwhile.
        """
        token = Secret(secrets.token_urlsafe(_TOKEN_BYTES))
        digest = await self._hash(token)
        for _ in range(_TRIES):
            stored = await self._stored(session)
            now, change = self._context.clock.now(), Change()
            records.set_renewed(
                change, stored, digest, aal=max(aal, stored.aal), mfa_at=mfa_at, at=now
            )
            note(
                change,
                "confirm",
                stored.operator,
                outcome="confirmed",
                actor=stored.operator,
                at=now,
                facts={"session": session.session or "", "aal": aal},
            )
            if await self._context.committer.submit(change) is Verdict.COMMITTED:
                self._lookup.forget(stored.hash)
                return token
        raise errors.session_over("changed meanwhile")

    async def end(self, session: str, *, actor: str, operator: str | None = None) -> None:
        """End one session, in this process at once and everywhere within a second."""
        for _ in range(_TRIES):
            stored = await records.session(self._context.database, uuid_of(session, "ses"))
            if stored is None or (operator is not None and stored.operator != operator):
                raise errors.operator_not_found()
            if stored.ended_at is not None:
                return
            now, change = self._context.clock.now(), Change()
            records.set_ended(change, stored, at=now)
            note(
                change,
                "sign_out",
                stored.operator,
                outcome="ended",
                actor=actor,
                at=now,
                facts={"session": session},
            )
            if await self._context.committer.submit(change) is Verdict.COMMITTED:
                self._lookup.forget(stored.hash)
                return

    async def of(self, operator: UUID) -> list[SessionView]:
        """Return a person's newest sessions of the last working day."""
        now = self._context.clock.now()
        return await records.sessions_of(
            self._context.database,
            operator,
            since=now - LIFETIME,
            idle=now - IDLE,
            limit=PAGE_LIMIT_MAX,
        )

    async def forget_all(self, operator: UUID) -> None:
        """Drop what this process remembers of a person's sessions."""
        for digest in await records.hashes_of(self._context.database, operator):
            self._lookup.forget(digest)

    async def knows(self, operator: UUID, device: bytes, *, since: datetime) -> bool:
        """Return whether a person signed in from a device since their sessions last ended."""
        return await records.knows_device(self._context.database, operator, device, since)

    async def devices(self, operator: UUID) -> list[bytes]:
        """Return the devices that a person signed in from."""
        return await records.devices_of(self._context.database, operator)

    async def flush(self) -> int:
        """Write when sessions were last used; call every few seconds and when stopping."""
        seen, self._seen = self._seen, {}
        if seen:
            try:
                await records.note_seen(self._context.database, sorted(seen.items()))
            except BaseException:
                self._seen = {**seen, **self._seen}
                raise
        return len(seen)

    async def purge(self, *, now: datetime) -> None:
        """Delete sessions that ended long ago."""
        await records.purge(self._context.database, before=now - _KEPT)

    async def _stored(self, session: Principal) -> SessionRecord:
        stored = await records.session(
            self._context.database, uuid_of(session.session or "", "ses")
        )
        if stored is None or stored.operator != session.id or stored.ended_at is not None:
            raise errors.session_over(Refusal.ENDED.value)
        return stored

    async def _read(self, digests: Sequence[bytes]) -> list[SessionRecord]:
        return await records.sessions_by_hash(self._context.database, digests)

    async def _hash(self, token: Secret[str]) -> bytes:
        return await self._context.keyed(b"session", token.reveal().encode())

    def _principal(self, found: SessionRecord) -> Principal:
        return Principal(
            id=found.operator,
            kind=PrincipalKind.OPERATOR,
            merchant=None,
            mode=self._context.world.mode,
            roles=(found.role,),
            aal=found.aal,
            mfa_at=found.mfa_at,
            session=id_from("ses", found.uuid),
        )
