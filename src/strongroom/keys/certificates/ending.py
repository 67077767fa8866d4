"""How certificates end before their time: one with what was renewed from it, or a whole service.

Whoever holds a key could have renewed by it: with a certificate end its successors. With a service
end its certificates that expired and could return, and its join tokens. What is renewed or joined
meanwhile is looked for until there is none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import RETURN_DAYS_MAX
from strongroom.keys import errors
from strongroom.keys.certificates import records
from strongroom.keys.certificates.model import StoredCertificate, is_service, spiffe_id
from strongroom.storage import Change, Committer, Database

_RETURNING = timedelta(days=RETURN_DAYS_MAX, minutes=10)
"""How long after its end a certificate may still bring its holder back, and a little more."""

_AS_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class Ending:
    """Ends certificates of one installation.

    Args:
        database: reads as the vault's role.
        committer: writes as the vault's role, with the journal's marker.
        domain: the trust domain.
    """

    def __init__(
        self, database: Database, committer: Committer, *, domain: str, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._domain = domain
        self._clock = clock

    async def one(
        self, found: StoredCertificate, *, actor: str, reason: str
    ) -> list[StoredCertificate]:
        """End a certificate and all that was renewed from it; return what ended."""
        ended: list[StoredCertificate] = []
        ending = [found]
        while ending:
            for one in ending:
                ended.append(await self._end(one, actor=actor, reason=reason))
            after = self._clock.now() - _RETURNING
            ending = await records.renewed_from(self._database, found.id, after=after)
        return ended

    async def service(self, service: str, *, actor: str, reason: str) -> list[StoredCertificate]:
        """End every certificate and join token of a service; return which were still good.

        Raises:
            StrongroomError: `certificate_not_found` when there was nothing to end.
        """
        if not is_service(service):
            raise errors.certificate_not_found()
        some = await self._end_tokens(service, actor=actor, reason=reason)
        good: list[StoredCertificate] = []
        while True:
            now = self._clock.now()
            found = await records.unrevoked(self._database, service, after=now - _RETURNING)
            if not found:
                break
            some = True
            good += await self._end_all(service, found, at=now, actor=actor, reason=reason)
        if not some:
            raise errors.certificate_not_found()
        return good

    async def _end(self, one: StoredCertificate, *, actor: str, reason: str) -> StoredCertificate:
        now = self._clock.now()
        change = Change()
        records.revoke(change, one, at=now, actor=actor, reason=reason)
        entry = _entry(one.role, one, actor=actor, reason=reason, domain=self._domain)
        record(change, entry, at=now)
        await self._committer.submit(change)  # lost: somebody else revoked it
        return msgspec.structs.replace(one, revoked_at=now)

    async def _end_all(
        self,
        service: str,
        found: list[StoredCertificate],
        *,
        at: datetime,
        actor: str,
        reason: str,
    ) -> list[StoredCertificate]:
        """End what was found, the newest first, and every one before it; return the good ones."""
        good = [msgspec.structs.replace(c, revoked_at=at) for c in found if c.not_after > at]
        change = Change()
        records.revoke_service(
            change, service, up_to=found[0].version, at=at, actor=actor, reason=reason
        )
        told: list[StoredCertificate | None] = [*good]
        for one in told or [None]:
            entry = _entry(service, one, actor=actor, reason=reason, domain=self._domain)
            record(change, entry, at=at)
        await self._committer.submit(change)
        return good

    async def _end_tokens(self, service: str, *, actor: str, reason: str) -> bool:
        """Use up the join tokens that wait; whoever joins by one at this moment is found later."""
        now = self._clock.now()
        waiting = await records.unused_tokens(self._database, service, at=now)
        for token in waiting:
            change = Change()
            records.use_token(change, token.id, now)
            entry = Entry(
                action="keys:join_token:revoke",
                subject=f"service:{service}",
                outcome="revoked",
                merchant=None,
                actor=actor,
                reason=reason,
            )
            record(change, entry, at=now)
            await self._committer.submit(change)
        return bool(waiting)


def in_letters(serial: bytes) -> str:
    """Return a serial in letters, as the journal has them: never taken for a card number."""
    return serial.hex().translate(_AS_LETTERS)


def _entry(
    service: str, one: StoredCertificate | None, *, actor: str, reason: str, domain: str
) -> Entry:
    facts: dict[str, str | int | bool] = {"role": service}
    if one is not None:
        facts["serial"] = in_letters(one.serial_number)
    return Entry(
        action="keys:certificate:revoke",
        subject=spiffe_id(domain, service) if one is None else one.spiffe_id,
        outcome="revoked",
        merchant=None,
        actor=actor,
        reason=reason,
        facts=facts,
    )
