"""Bulk grants: more card numbers than an hour allows, opened by two custodians and then spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from strongroom.journal import Entry, record
from strongroom.kernel import limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import new_id
from strongroom.keys import Keyring
from strongroom.storage import Change, Committer, Database
from strongroom.vault import errors
from strongroom.vault.model import RevealGrant
from strongroom.vault.revealing import records
from strongroom.vault.revealing.decide import check_purpose
from strongroom.vault.tokens import merchant_uuid

_LONGEST = timedelta(seconds=limits.REVEAL_GRANT_MAX_S)


class Grants:
    """Opens and lists bulk grants."""

    def __init__(
        self, database: Database, committer: Committer, keyring: Keyring, *, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    async def open(
        self,
        merchant: str,
        *,
        principal: str,
        purpose: str,
        count: int,
        until: datetime,
        approval: str | None,
        actor: str,
    ) -> RevealGrant:
        """Let a caller see `count` more card numbers of a merchant, if two custodians approved it.

        Raises:
            StrongroomError: `purpose_required`, `invalid_parameter`, or why there is no approval.
        """
        now = self._clock.now()
        check_purpose(purpose)
        if not 1 <= count <= limits.REVEAL_GRANT_MAX:
            raise errors.grant_invalid(f"A grant is for 1 to {limits.REVEAL_GRANT_MAX} numbers.")
        if not now < until <= now + _LONGEST:
            raise errors.grant_invalid(f"A grant ends within {_LONGEST.days} days from now.")
        if not 1 <= len(principal) <= limits.REVEAL_CALLER_MAX_CHARS:
            raise errors.grant_invalid("A grant names one caller, such as key_….")
        asked: dict[str, str | int | bool] = {
            "principal": principal,
            "purpose": purpose,
            "count": count,
            "until": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await self._keyring.dual_control.redeem(
            "vault:reveal:bulk", {"merchant": merchant, **asked}, approval=approval, requester=actor
        )
        made = RevealGrant(
            id=new_id("grant"),
            merchant=merchant,
            principal=principal,
            purpose=purpose,
            granted=count,
            remaining=count,
            valid_until=until,
            created_at=now,
            created_by=actor,
        )
        change = Change()
        records.add_grant(change, made)
        entry = Entry(
            action="vault:grant:open",
            subject=made.id,
            outcome="success",
            merchant=merchant,
            actor=actor,
            facts={**asked, "approval": approval or "none"},
        )
        record(change, entry, at=now)
        await self._committer.submit(change)
        return made

    async def list(self, merchant: str) -> list[RevealGrant]:
        """Return a merchant's newest grants, spent and expired ones too."""
        return await records.grants(
            self._database, merchant_uuid(merchant), limit=limits.PAGE_LIMIT_MAX
        )
