"""Pure decisions of dual control: who may decide, what counts, and where a request stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from strongroom.kernel import limits
from strongroom.kernel.canonical import dumps
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import holds_card_number
from strongroom.keys.dual_control import errors
from strongroom.keys.dual_control.custodian_file import decoded, signed_by
from strongroom.keys.dual_control.model import (
    ACTIONS,
    PROOF,
    Approval,
    Card,
    Custodian,
    Decision,
    Signed,
    State,
    Value,
    World,
    approval_statement,
)

_FRESH = timedelta(seconds=limits.APPROVAL_FRESH_S)
_VALUES = (str, int, bool, type(None))
_SKEW = timedelta(seconds=limits.APPROVAL_CLOCK_SKEW_S)


def is_fresh(signed_at: datetime, received_at: datetime) -> bool:
    """Return whether a signature was made just before it arrived."""
    return -_SKEW <= received_at - signed_at <= _FRESH


def is_same_person(custodian: Custodian, actor: str) -> bool:
    """Return whether an actor of the journal is this custodian, by id or by name.

    `local:alice` is the custodian alice: names of custodians are names of operators.
    """
    return actor == custodian.id or actor.rsplit(":", 1)[-1].casefold() == custodian.name


def is_own(custodian: Custodian, approval: Approval) -> bool:
    """Return whether a custodian asked for this, or is the one it is for."""
    return any(is_same_person(custodian, who) for who in (approval.requester, approval.asked_by))


def signature_holds(world: World, approval: Approval, custodian: Custodian, signed: Signed) -> bool:
    """Return whether this is a fresh signature of this custodian over exactly this request."""
    if signed.proof != PROOF or not is_fresh(signed.signed_at, signed.received_at):
        return False
    statement = approval_statement(
        world,
        approval,
        custodian=custodian.id,
        decision=signed.decision,
        signed_at=signed.signed_at,
    )
    return signed_by(custodian.signing_key, signed.signature, statement)


def counted(
    world: World,
    approval: Approval,
    custodians: Mapping[str, Custodian],
    decisions: Sequence[Signed],
    *,
    decision: Decision,
) -> tuple[str, ...]:
    """Return the distinct custodians whose decision counts now.

    Rows whose signature does not hold do not, nor does a yes of the requester or of a revoked one.
    A no stays when its custodian leaves: revoking takes one person, overruling it must not.
    """
    found = []
    for signed in decisions:
        custodian = custodians.get(signed.custodian)
        if custodian is None or signed.decision != decision:
            continue
        left = custodian.revoked_at is not None
        if decision == "approve" and (left or is_own(custodian, approval)):
            continue
        if signature_holds(world, approval, custodian, signed):
            found.append(custodian.id)
    return tuple(dict.fromkeys(found))


def standing(
    world: World,
    approval: Approval,
    custodians: Mapping[str, Custodian],
    decisions: Sequence[Signed],
    *,
    now: datetime,
) -> Approval:
    """Return the request with its state and whose decisions count."""
    approved = counted(world, approval, custodians, decisions, decision="approve")
    rejected = counted(world, approval, custodians, decisions, decision="reject")
    state: State
    if approval.state == "redeemed":
        state = "redeemed"
    elif rejected:
        state = "rejected"
    elif approval.expires_at <= now:
        state = "expired"
    elif len(approved) >= limits.APPROVERS:
        state = "approved"
    else:
        state = "open"
    return msgspec.structs.replace(
        approval, state=state, approved_by=approved, rejected_by=rejected
    )


def refusal_of(approval: Approval) -> StrongroomError | None:
    """Return why a request in this state cannot be used, or None for an approved one."""
    if approval.state == "approved":
        return None
    if approval.state == "open":
        return errors.approval_incomplete(limits.APPROVERS - len(approval.approved_by))
    return closed_refusal(approval)


def closed_refusal(approval: Approval) -> StrongroomError | None:
    """Return why a request in this state takes no more decisions, or None while it does."""
    if approval.state == "redeemed":
        return errors.approval_used()
    if approval.state == "rejected":
        return errors.approval_rejected()
    if approval.state == "expired":
        return errors.approval_expired()
    return None


def eligible(custodians: Mapping[str, Custodian], requester: str) -> int:
    """Return how many custodians could approve what this requester asks for."""
    return sum(
        held.revoked_at is None and not is_same_person(held, requester)
        for held in custodians.values()
    )


def enrollment(card: Card) -> dict[str, str]:
    """Return the payload that an approval of `custodian:enroll` is about."""
    return {
        "custodian": card.custodian,
        "name": card.name,
        "signing_key": card.signing_key,
        "exchange_key": card.exchange_key,
    }


def enrolled(card: Card, *, number: int, at: datetime, actor: str) -> Custodian:
    """Return the custodian that a verified card makes."""
    return Custodian(
        id=card.custodian,
        number=number,
        name=card.name,
        signing_key=decoded(card.signing_key, "given"),
        exchange_key=decoded(card.exchange_key, "given"),
        acknowledged_at=datetime.fromisoformat(card.acknowledged_at),
        acknowledgement=decoded(card.acknowledgement, "given"),
        enrolled_at=at,
        enrolled_by=actor,
    )


def refuse_known(made: Custodian, held: list[Custodian]) -> None:
    """Refuse a custodian whose keys were ever enrolled, or whose name is in use."""
    for known in held:
        if known.id == made.id or known.signing_key == made.signing_key:
            raise errors.custodian_exists("signing key")
        if known.exchange_key == made.exchange_key:
            raise errors.custodian_exists("exchange key")
        if known.revoked_at is None and known.name == made.name:
            raise errors.custodian_exists("name")


def named(held: list[Custodian], custodian: str) -> Custodian:
    """Return the active custodian of this id or name."""
    for known in held:
        if known.revoked_at is None and custodian in (known.id, known.name):
            return known
    raise errors.custodian_unknown()


def canonical(action: str, payload: Mapping[str, Value]) -> bytes:
    """Return the canonical payload of a request, or refuse what cannot be asked for."""
    if action not in ACTIONS:
        raise errors.request_invalid(f"The action must be one of: {', '.join(sorted(ACTIONS))}.")
    if any(type(value) not in _VALUES for value in payload.values()):
        raise errors.request_invalid("The payload must be flat: text, integers, true, false, null.")
    body = dumps(dict(payload))
    if len(body) > limits.APPROVAL_PAYLOAD_MAX_BYTES or holds_card_number(body.decode()):
        raise errors.request_invalid("The payload is too large or holds what looks like a PAN.")
    return body


def require_text(text: str, what: str) -> None:
    """Refuse text that is not one line of bounded length, or holds a card number."""
    longest = 200 if what == "requester" else 500
    if not 1 <= len(text.strip()) <= longest or not text.isprintable():
        raise errors.request_invalid(f"The {what} must be one line of 1 to {longest} characters.")
    if holds_card_number(text):
        raise errors.request_invalid(f"The {what} holds what looks like a card number.")
