"""The people of the installation: who they are, and inviting one more."""

from __future__ import annotations

from typing import Literal

from strongroom.access.approvals import Deed
from strongroom.console import errors
from strongroom.console.confirm import PROOF, confirmed
from strongroom.console.model import Reply, redirect
from strongroom.console.page import LINE, ROOT, Page, Visit
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

_HERE = ROOT + "/operators"
_ROLES: dict[str, Literal["operator-read", "operator-admin"]] = {
    "operator-read": "operator-read",
    "operator-admin": "operator-admin",
}


async def listed(visit: Visit) -> Reply:
    """Show everybody, oldest first."""
    found = await visit.services.operators.accounts.list_all()
    return visit.show(
        "operators.html",
        operators=found,
        recoveries=await visit.services.operators.accounts.recoveries.waiting(),
        may_invite="operator-admin" in visit.visitor.roles,
    )


async def invite(visit: Visit) -> Reply:
    """Make an account for somebody and show its code, once; ask another person if need be."""
    login, name = visit.get("login"), visit.get("name")
    role = _ROLES.get(visit.get("role"))
    if role is None:
        raise errors.form_invalid("Choose a role.", "role")
    proof = await confirmed(
        visit, what="Invite somebody", about={"Login": login, "Name": name, "Role": role}
    )
    if isinstance(proof, Reply):
        return proof
    deed = await _deed(visit, role)
    approvals = visit.services.approvals
    try:
        await approvals.guard(deed, principal=visit.visitor, approval=visit.get("approval") or None)
    except StrongroomError as error:
        if error.code != "approval_required":
            raise
        asked = await approvals.request(
            visit.visitor,
            action=deed.action,
            merchant=None,
            resource=deed.resource,
            parameters=deed.parameters,
            reason="asked in the console",
            request=visit.request,
            source=visit.source,
        )
        return redirect(f"{ROOT}/approvals/{asked.id}")
    view, code = await visit.services.operators.accounts.invite(
        login, name=name, role=role, actor=visit.visitor.id
    )
    return _handed(visit, view.login, code)


async def recover(visit: Visit) -> Reply:
    """Approve the recovery that another person asked for, and show the new code, once."""
    accounts = visit.services.operators.accounts
    account = await accounts.show(visit.id)
    waiting = [one for one in await accounts.recoveries.waiting() if one.operator == account.id]
    about = {"Login": account.login, "Name": account.name}
    for one in waiting[-1:]:
        about |= {"Asked by": one.asked_by, "Reason": one.reason}
    proof = await confirmed(visit, what="Let this person enroll anew", about=about)
    if isinstance(proof, Reply):
        return proof
    _, code = await accounts.recoveries.approve(account.id, actor=visit.visitor)
    return _handed(visit, account.login, code)


def _handed(visit: Visit, login: str, code: Secret[str]) -> Reply:
    return visit.show(
        "invited.html",
        login=login,
        invitation=code.reveal(),
        address=visit.settings.origin + ROOT + "/invitation",
    )


async def _deed(visit: Visit, role: str) -> Deed:
    """Return the invitation as whoever approves it sees it."""
    return Deed(
        action="operator:invite",
        merchant=None,
        resource="operator",
        parameters={"login": visit.get("login"), "name": visit.get("name"), "role": role},
        context={
            "role": role,
            "administrators": await visit.services.operators.accounts.administrators(),
        },
        request=visit.request,
        source=visit.source,
    )


PAGES = (
    Page(method="GET", path=_HERE, action="operator:list", handler=listed),
    Page(
        method="POST",
        path=_HERE + "/invite",
        action="operator:invite",
        handler=invite,
        fields={"login": 64, "name": LINE, "role": 20, "approval": 40, **PROOF},
        confirmed=True,
    ),
    Page(
        method="POST",
        path=_HERE + "/{id}/recover",
        action="operator:recover",
        handler=recover,
        fields=PROOF,
        confirmed=True,
    ),
)
