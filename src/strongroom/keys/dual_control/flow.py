"""Dual control: what one person must not do alone waits for two custodians (PCI DSS 3.7.6).

A request binds action and payload; custodians sign it with their own keys; `redeem` lets exactly
that happen once. Every record and every signature is checked again at that moment, so that a row
in the database is never enough. Everything is journaled, refusals included.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from strongroom.journal import Entry, record
from strongroom.kernel import limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.keys.dual_control import decide, errors, records
from strongroom.keys.dual_control.custodian_file import parse_card
from strongroom.keys.dual_control.model import (
    PROOF,
    Approval,
    Card,
    Custodian,
    Decision,
    Signed,
    Value,
    World,
    approval_record,
    custodian_record,
    payload_hash,
)
from strongroom.keys.material import IndexKey
from strongroom.storage import Change, Committer, Database, Verdict

ACTOR = "strongroom"


class DualControl:
    """Custodians and approvals of one installation; `seal` is the service key of its records."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        world: World,
        seal: IndexKey,
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._seal = seal
        self._clock = clock
        self.world = world

    async def custodians(self) -> list[Custodian]:
        """Return everyone ever enrolled, in order.

        Raises:
            StrongroomError: `dual_control_damaged` when a record was not written by this service.
        """
        found = []
        for number, (custodian, mac) in enumerate(await records.custodians(self._database), 1):
            if custodian.number != number:
                raise errors.records_damaged(f"custodian {number} is missing")
            self._check(custodian_record(self.world, custodian), mac, custodian.id)
            found.append(custodian)
        return found

    async def enroll(self, card: Card, *, actor: str, approval: str | None = None) -> Custodian:
        """Enroll a custodian from the public card.

        In live mode the fourth and later ones need an approval of `custodian:enroll`.

        Raises:
            StrongroomError: `custodian_file_invalid`, `custodian_exists`, `custodians_too_many`,
                `custodian_conflict`, or why there is no approval.
        """
        card = parse_card(msgspec.json.encode(card), "given")
        held = await self.custodians()
        active = [known for known in held if known.revoked_at is None]
        made = decide.enrolled(card, number=len(held) + 1, at=self._clock.now(), actor=actor)
        decide.refuse_known(made, held)
        if len(active) >= limits.CUSTODIANS_MAX:
            raise errors.custodians_too_many(limits.CUSTODIANS_MAX)
        if self.world.mode == "live" and len(held) >= limits.CUSTODIANS_FOUNDING:
            await self.redeem(
                "custodian:enroll", decide.enrollment(card), approval=approval, requester=actor
            )
        change = Change()
        mac = self._mac(custodian_record(self.world, made))
        records.add_custodian(change, made, mac=mac)
        facts = {**decide.enrollment(card), "acknowledgement": made.acknowledgement.hex()}
        self._journal(change, "custodian:enroll", made.id, actor, facts)
        await self._claim(change, errors.custodian_conflict())
        return made

    async def revoke(
        self, custodian: str, *, actor: str, reason: str, approval: str | None = None
    ) -> None:
        """End a custodian's part; shares of the root are made anew by `ceremony reshare`.

        In live mode an approval of `custodian:revoke` is needed when fewer than three would stay.

        Raises:
            StrongroomError: `custodian_unknown`, `custodian_conflict`, or why there is no approval.
        """
        held = await self.custodians()
        leaving = decide.named(held, custodian)
        gone = sum(known.revoked_at is not None for known in held)
        staying = len(held) - gone - 1
        if self.world.mode == "live" and staying < limits.CUSTODIANS_FOUNDING:
            payload = {"custodian": leaving.id}
            await self.redeem("custodian:revoke", payload, approval=approval, requester=actor)
        decide.require_text(reason, "reason")
        change = Change()
        now = self._clock.now()
        records.add_revocation(change, leaving.id, number=gone + 1, at=now, actor=actor, why=reason)
        self._journal(change, "custodian:revoke", leaving.id, actor, {"name": leaving.name}, reason)
        await self._claim(change, errors.custodian_conflict())

    async def request(
        self,
        action: str,
        payload: Mapping[str, Value],
        *,
        requester: str,
        reason: str,
        asked_by: str | None = None,
    ) -> Approval:
        """Ask for two custodians' approval of exactly this, good for a day and for one use.

        Args:
            action: one of `ACTIONS`.
            payload: what is to happen; it is bound by its hash.
            requester: who will do it; may not approve.
            reason: why, for those who decide.
            asked_by: who enters the request, if that is somebody else; may not approve either.

        Raises:
            StrongroomError: `approval_invalid`, `approvals_too_many`, `not_canonical`.
        """
        body = decide.canonical(action, payload)
        for text, what in ((requester, "requester"), (reason, "reason")):
            decide.require_text(text, what)
        now = _whole_ms(self._clock.now())
        if await records.open_count(self._database, now=now) >= limits.APPROVALS_OPEN_MAX:
            raise errors.too_many_open()
        made = Approval(
            id=new_id("apr"),
            action=action,
            payload=dict(payload),
            payload_sha256=payload_hash(payload),
            requester=requester,
            asked_by=asked_by or requester,
            reason=reason,
            created_at=now,
            expires_at=now + timedelta(seconds=limits.APPROVAL_TTL_S),
        )
        change = Change()
        mac = self._mac(approval_record(self.world, made))
        records.add_approval(change, made, payload=body, mac=mac)
        self._journal(change, "approval:request", made.id, made.asked_by, _facts(made), reason)
        await self._claim(change, errors.approval_repeated())
        return made

    async def approve(
        self, approval_id: str, *, custodian: str, signed_at: datetime, signature: bytes
    ) -> Approval:
        """Take a custodian's approval: a signature over `approval_statement`, made just now.

        Raises:
            StrongroomError: `signature_stale`, `signature_invalid`, `approval_own`,
                `approval_repeated`, `custodian_unknown`, or why the request is closed.
        """
        return await self._decide(
            approval_id, custodian, "approve", signed_at=signed_at, signature=signature
        )

    async def reject(
        self, approval_id: str, *, custodian: str, signed_at: datetime, signature: bytes
    ) -> Approval:
        """Take a custodian's rejection, which closes the request for good; signed like a yes."""
        return await self._decide(
            approval_id, custodian, "reject", signed_at=signed_at, signature=signature
        )

    async def approval(self, approval_id: str) -> Approval:
        """Return a request as it stands.

        Raises:
            StrongroomError: `approval_not_found`, `dual_control_damaged`.
        """
        found = await records.approval(self._database, approval_id)
        if found is None:
            raise errors.approval_not_found()
        people = {known.id: known for known in await self.custodians()}
        return await self._standing(*found, people)

    async def approvals(self, *, limit: int = limits.PAGE_LIMIT_MAX) -> list[Approval]:
        """Return the newest requests, newest first."""
        people = {known.id: known for known in await self.custodians()}
        found = await records.approvals(self._database, limit=limit)
        return [await self._standing(approval, mac, people) for approval, mac in found]

    async def redeem(
        self,
        action: str,
        payload: Mapping[str, Value],
        *,
        approval: str | None,
        requester: str,
    ) -> None:
        """Return only if exactly this is approved now; the approval is used up by it.

        In a test installation without custodians it lets the action pass and says so in the
        journal.

        Raises:
            StrongroomError: `custodians_required`, `approval_required`, `approval_not_found`,
                `approval_mismatch`, `approval_incomplete`, `approval_rejected`,
                `approval_expired`, `approval_used`, `dual_control_damaged`.
        """
        body = decide.canonical(action, payload)
        facts = {"action": action, "payload_sha256": payload_hash(payload)}
        change = Change()
        try:
            approved = await self._usable(action, body, payload, approval, requester)
        except StrongroomError as error:
            self._journal(
                change, "approval:refuse", approval or action, requester, facts, error.code
            )
            await self._committer.submit(change)
            raise
        if approved is None:
            self._journal(change, "dual_control:skip", action, requester, facts, "no_custodians")
            await self._committer.submit(change)
            return
        facts = {**facts, "approved_by": " ".join(approved.approved_by)}
        now = self._clock.now()
        records.add_redemption(change, approved.id, at=now, actor=requester)
        self._journal(change, "approval:redeem", approved.id, requester, facts)
        await self._claim(change, errors.approval_used())

    async def _usable(
        self,
        action: str,
        body: bytes,
        payload: Mapping[str, Value],
        approval_id: str | None,
        requester: str,
    ) -> Approval | None:
        """Return the approval that fits, or None where none is needed."""
        people = {known.id: known for known in await self.custodians()}
        if approval_id is None:
            if not people and self.world.mode == "test":
                return None
            if decide.eligible(people, requester) < limits.APPROVERS:
                raise errors.custodians_required()
            raise errors.approval_required(action, body.decode())
        found = await self.approval(approval_id)
        if found.action != action:
            raise errors.approval_mismatch("action")
        if not hmac.compare_digest(found.payload_sha256, payload_hash(payload)):
            raise errors.approval_mismatch("payload")
        if found.requester != requester:
            raise errors.approval_mismatch("requester")
        refusal = decide.refusal_of(found)
        if refusal is not None:
            raise refusal
        return found

    async def _decide(
        self,
        approval_id: str,
        custodian: str,
        decision: Decision,
        *,
        signed_at: datetime,
        signature: bytes,
    ) -> Approval:
        found = await self.approval(approval_id)
        signed = Signed(
            custodian=custodian,
            decision=decision,
            proof=PROOF,
            signed_at=signed_at,
            received_at=self._clock.now(),
            signature=signature,
        )
        change = Change()
        facts = {**_facts(found), "proof": PROOF}
        try:
            who = self._may_decide(found, decide.named(await self.custodians(), custodian), signed)
        except StrongroomError as error:
            facts["decision"] = decision
            facts["custodian"] = custodian[:64]
            self._journal(change, "approval:refuse", found.id, ACTOR, facts, error.code)
            await self._committer.submit(change)
            raise
        signed = msgspec.structs.replace(signed, custodian=who.id)
        records.add_signature(change, found.id, signed)
        facts |= {"custodian": who.name, "signature": signature.hex()}
        self._journal(change, f"approval:{decision}", found.id, who.id, facts)
        await self._claim(change, errors.approval_repeated())
        return await self.approval(found.id)

    def _may_decide(self, found: Approval, who: Custodian, signed: Signed) -> Custodian:
        """Return the custodian whose decision this is, or raise why it does not count."""
        closed = decide.closed_refusal(found)
        if closed is not None:
            raise closed
        if not decide.is_fresh(signed.signed_at, signed.received_at):
            raise errors.signature_stale()
        if not decide.signature_holds(self.world, found, who, signed):
            raise errors.signature_invalid()
        if signed.decision == "approve" and decide.is_own(who, found):
            raise errors.approval_own()
        if who.id in found.approved_by:
            raise errors.approval_repeated()
        return who

    async def _standing(
        self, approval: Approval, mac: bytes, people: Mapping[str, Custodian]
    ) -> Approval:
        self._check(approval_record(self.world, approval), mac, approval.id)
        decisions = await records.signatures(self._database, approval.id)
        hashed = msgspec.structs.replace(approval, payload_sha256=payload_hash(approval.payload))
        return decide.standing(self.world, hashed, people, decisions, now=self._clock.now())

    def _mac(self, body: bytes) -> bytes:
        return self._seal.mac(b"dual-control", body)

    def _check(self, body: bytes, mac: bytes, what: str) -> None:
        if not hmac.compare_digest(self._mac(body), mac):
            raise errors.records_damaged(f"{what} does not fit its MAC")

    def _journal(
        self,
        change: Change,
        action: str,
        subject: str,
        actor: str,
        facts: Mapping[str, str | int | bool],
        reason: str | None = None,
    ) -> None:
        refused = action.endswith((":refuse", ":reject"))
        entry = Entry(
            action=f"keys:{action}",
            subject=subject,
            outcome="refused" if refused else "success",
            merchant=None,
            actor=actor,
            reason=reason,
            facts=dict(facts),
        )
        record(change, entry, at=self._clock.now())

    async def _claim(self, change: Change, lost: StrongroomError) -> None:
        if await self._committer.submit(change) is not Verdict.COMMITTED:
            raise lost


def _facts(approval: Approval) -> dict[str, str | int | bool]:
    return {
        "action": approval.action,
        "payload_sha256": approval.payload_sha256,
        "requester": approval.requester,
    }


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
