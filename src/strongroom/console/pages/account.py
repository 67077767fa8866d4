"""A person's own account: sessions, passkeys, links; ending sessions and signing out."""

from __future__ import annotations

from strongroom.console import cookies
from strongroom.console.model import Reply, redirect
from strongroom.console.page import ROOT, Page, Visit


async def home(visit: Visit) -> Reply:
    """Show what belongs to who is signed in."""
    operators, oidc = visit.services.operators, visit.services.oidc
    me = visit.visitor.id
    return visit.show(
        "account.html",
        account=await operators.accounts.show(me),
        sessions=await operators.accounts.sessions(me),
        passkeys=await operators.enrolling.passkeys(visit.visitor),
        links=[] if oidc is None else await oidc.links(me),
        sso=None if oidc is None else oidc.name,
    )


async def end_session(visit: Visit) -> Reply:
    """End one of the person's own sessions."""
    me = visit.visitor.id
    await visit.services.operators.accounts.end_session(visit.get("session"), actor=me, operator=me)
    return redirect(ROOT)


async def end_all(visit: Visit) -> Reply:
    """End every session of the person, this one too."""
    me = visit.visitor.id
    await visit.services.operators.end_sessions(me, actor=me)
    return redirect(ROOT + "/sign-in", cookies.ended())


async def sign_out(visit: Visit) -> Reply:
    """End this session."""
    await visit.services.operators.sign_out(visit.visitor)
    return redirect(ROOT + "/sign-in", cookies.ended())


PAGES = (
    Page(method="GET", path=ROOT, action="account:read", handler=home),
    Page(
        method="POST",
        path=ROOT + "/sessions/end",
        action="account:end_session",
        handler=end_session,
        fields={"session": 40},
    ),
    Page(
        method="POST",
        path=ROOT + "/sessions/end-all",
        action="account:end_session",
        handler=end_all,
    ),
    Page(method="POST", path=ROOT + "/sign-out", action="account:end_session", handler=sign_out),
)
