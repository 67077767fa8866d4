"""The people of the installation: who they are, and inviting one more."""

from __future__ import annotations

from typing import Literal

from strongroom.console import errors
from strongroom.console.confirm import PROOF, confirmed
from strongroom.console.model import Reply
from strongroom.console.page import LINE, ROOT, Page, Visit

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
        may_invite="operator-admin" in visit.visitor.roles,
    )


async def invite(visit: Visit) -> Reply:
    """Make an account for somebody and show its code, once."""
    login, name = visit.get("login"), visit.get("name")
    role = _ROLES.get(visit.get("role"))
    if role is None:
        raise errors.form_invalid("Choose a role.", "role")
    proof = await confirmed(
        visit, what="Invite somebody", about={"Login": login, "Name": name, "Role": role}
    )
    if isinstance(proof, Reply):
        return proof
    view, code = await visit.services.operators.accounts.invite(
        login, name=name, role=role, actor=visit.visitor.id
    )
    return visit.show(
        "invited.html",
        login=view.login,
        invitation=code.reveal(),
        address=visit.settings.origin + ROOT + "/invitation",
    )


PAGES = (
    Page(method="GET", path=_HERE, action="operator:list", handler=listed),
    Page(
        method="POST",
        path=_HERE + "/invite",
        action="operator:invite",
        handler=invite,
        fields={"login": 64, "name": LINE, "role": 20, **PROOF},
        confirmed=True,
    ),
)
