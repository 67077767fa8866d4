"""Four eyes in the browser: what waits for another person, all of it, and the decision about it.

A decision is a passkey's assertion over the digest of the very action that is decided about. What
the page shows is what that digest was made of, not what the requester said of it.
"""

from __future__ import annotations

from typing import Literal

from strongroom.access.approvals import Approval
from strongroom.console import errors
from strongroom.console.confirm import PROOF, confirmed
from strongroom.console.model import Reply, redirect
from strongroom.console.page import LINE, ROOT, Page, Visit

_HERE = ROOT + "/approvals"
_VERDICTS: dict[str, Literal["approve", "reject"]] = {"approve": "approve", "reject": "reject"}


async def listed(visit: Visit) -> Reply:
    """Show requests, the newest first."""
    page = await visit.services.approvals.page(visit.visitor)
    return visit.show("approvals.html", approvals=page.data, has_more=page.has_more)


async def one(visit: Visit) -> Reply:
    """Show one request, every part of it."""
    found = await visit.services.approvals.get(visit.id, principal=visit.visitor)
    return visit.show("approval.html", approval=found, parts=_parts(found))


async def decide(visit: Visit) -> Reply:
    """Approve or reject, confirmed by a proof over the digest of the action."""
    approvals = visit.services.approvals
    found = await approvals.get(visit.id, principal=visit.visitor)
    verdict = _VERDICTS.get(visit.get("verdict"))
    if verdict is None:
        raise errors.form_invalid("Approve or reject.", "verdict")
    proof = await confirmed(
        visit,
        what="Approve this" if verdict == "approve" else "Reject this",
        about={**_parts(found), "Your reason": visit.get("reason")},
        bound_to=found.action_sha256,
    )
    if isinstance(proof, Reply):
        return proof
    principal = visit.visitor
    if found.merchant is not None:
        principal = await visit.services.identity.named(principal, found.merchant)
    await approvals.decide(
        visit.id,
        principal=principal,
        step_up=proof,
        verdict=verdict,
        reason=visit.get("reason"),
        request=visit.request,
        source=visit.source,
    )
    return redirect(f"{_HERE}/{visit.id}")


def _parts(found: Approval) -> dict[str, str]:
    """Return what the digest of an action is made of, by labels."""
    statement = found.statement
    parts = {
        "Action": statement.action,
        "Merchant": statement.merchant or "the installation",
        "Thing": statement.resource,
        "Requester": statement.requester,
        "Their reason": found.reason,
    }
    for name, value in sorted(statement.parameters.items()):
        shown = ", ".join(value) if isinstance(value, list) else str(value)
        parts[f"Parameter {name}"] = shown
    return {**parts, "SHA-256": found.action_sha256.hex()}


PAGES = (
    Page(method="GET", path=_HERE, action="four_eyes:read", handler=listed),
    Page(method="GET", path=_HERE + "/{id}", action="four_eyes:read", handler=one),
    Page(
        method="POST",
        path=_HERE + "/{id}/decide",
        action="four_eyes:decide",
        handler=decide,
        fields={"verdict": 10, "reason": LINE, **PROOF},
        confirmed=True,
    ),
)
