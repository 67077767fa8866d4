"""Four eyes on a real database: people that a test moves about, and proofs it makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from strongroom.access import Authorizer
from strongroom.access.approvals import Approval, Approvals, Deed
from strongroom.identity import Mode, Principal, PrincipalKind
from strongroom.journal import MARKER
from strongroom.kernel.ids import new_id
from strongroom.storage import Committer, Database
from tests.identity.support import MovableClock, hasher
from tests.support.database import TestDatabase

ALICE, BOB, CAROL = new_id("opr"), new_id("opr"), new_id("opr")
MERCHANT, OTHER = new_id("mer"), new_id("mer")
TOKEN = new_id("tok")
PURPOSE = {"purpose": "dispute_evidence"}


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A step-up as `identity.operators` makes it."""

    operator: str
    aal: int
    at: datetime
    purpose: bytes


class Staff:
    """Who stands behind a credential, and who administers; tests change both."""

    def __init__(self) -> None:
        self.admins = {ALICE, BOB, CAROL}
        self.behind: dict[str, str] = {name: name for name in self.admins}

    async def person_of(self, principal: Principal) -> str | None:
        return self.behind.get(principal.id)

    async def administrators(self, people: Collection[str]) -> frozenset[str]:
        return frozenset(people) & frozenset(self.admins)


class Office:
    """Approvals of a live installation, and the hands that use them."""

    def __init__(self, database: Database, committer: Committer, mode: Mode) -> None:
        self.clock = MovableClock()
        self.staff = Staff()
        self.authorizer = Authorizer(mode=mode, clock=self.clock)
        self.database, self.committer, self.mode = database, committer, mode
        self.approvals = self.opened()

    def opened(self, **changes: Any) -> Approvals:
        given: dict[str, Any] = {
            "authorizer": self.authorizer, "people": self.staff, "seal": hasher,
            "clock": self.clock, **changes,
        }  # fmt: skip
        return Approvals(self.database, self.committer, **given)

    def operator(self, who: str, **changes: Any) -> Principal:
        """Return an operator in a session with a passkey, acting on the merchant."""
        fields: dict[str, Any] = {
            "id": who, "kind": PrincipalKind.OPERATOR, "merchant": MERCHANT, "mode": self.mode,
            "roles": ("operator-admin",), "aal": 3, "mfa_at": self.clock.now(),
            "session": "ses_1", **changes,
        }  # fmt: skip
        return Principal(**fields)

    def key(self, key_id: str, **changes: Any) -> Principal:
        """Return an operator's API key: no session, nobody there."""
        return self.operator(key_id, aal=0, mfa_at=None, session=None, **changes)

    def proof(self, who: str, approval: Approval, **changes: Any) -> Proof:
        fields: dict[str, Any] = {
            "operator": who, "aal": 3, "at": self.clock.now(),
            "purpose": approval.action_sha256, **changes,
        }  # fmt: skip
        return Proof(**fields)

    def proof_for(self, who: str, purpose: bytes, **changes: Any) -> Proof:
        fields: dict[str, Any] = {
            "operator": who, "aal": 3, "at": self.clock.now(), "purpose": purpose, **changes,
        }  # fmt: skip
        return Proof(**fields)

    async def ask(self, principal: Principal | None = None, **changes: Any) -> Approval:
        """Ask for a reveal of the token."""
        fields: dict[str, Any] = {
            "action": "token:reveal", "merchant": MERCHANT, "resource": TOKEN,
            "parameters": PURPOSE, "reason": "dispute 4711", **changes,
        }  # fmt: skip
        return await self.approvals.request(principal or self.operator(ALICE), **fields)

    async def approve(self, approval: Approval, who: str = BOB, **changes: Any) -> Approval:
        given: dict[str, Any] = {
            "principal": self.operator(who), "step_up": self.proof(who, approval),
            "verdict": "approve", "reason": "looked at the dispute", **changes,
        }  # fmt: skip
        return await self.approvals.decide(approval.id, **given)

    async def use(
        self, approval: Approval, principal: Principal | None = None, **changes: Any
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "action": "token:reveal", "merchant": MERCHANT, "resource": TOKEN,
            "parameters": PURPOSE, "context": PURPOSE, **changes,
        }  # fmt: skip
        return await self.approvals.use(
            approval.id, Deed(**fields), principal=principal or self.operator(ALICE)
        )

    def pass_by(self, seconds: float) -> None:
        self.clock.move(seconds)

    @property
    def minute(self) -> timedelta:
        return timedelta(minutes=1)


@asynccontextmanager
async def office_on(pg: TestDatabase, mode: Mode = "live") -> AsyncIterator[Office]:
    """Open the office over a migrated database."""
    target = pg.target("strongroom_pay")
    database = await Database(target).open()
    committer = await Committer(target, marker=MARKER).open()
    try:
        yield Office(database, committer, mode)
    finally:
        await committer.close()
        await database.close()
