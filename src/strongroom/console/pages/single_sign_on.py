"""Single sign-on: off to the provider, back with its answer, and the link to an account here.

The provider sends the browser back from another site, so no cookie of ours comes along (all are
SameSite=Strict). The page that it comes back to does nothing but send the answer on from our own
origin; there the browser proves itself, as with every form.
"""

from __future__ import annotations

from strongroom.access import PUBLIC
from strongroom.console import errors
from strongroom.console.confirm import PROOF, confirmed
from strongroom.console.model import Reply, redirect
from strongroom.console.page import ROOT, Page, Visit
from strongroom.console.pages.sign_in import welcome
from strongroom.identity.oidc import Arrived, Callback, Oidc
from strongroom.kernel.edge_limits import OIDC_CODE_MAX_CHARS
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

CALLBACK = ROOT + "/sso/callback"
_ANSWER = {"state": 256, "code": OIDC_CODE_MAX_CHARS, "iss": 512, "error": 100}
_REFUSED = "sign_in_refused"


async def leave(visit: Visit) -> Reply:
    """Go to the provider to sign in."""
    departure = await _oidc(visit).depart(_browser(visit), "sign_in")
    return visit.show("leave.html", url=departure.url)


async def arrive(visit: Visit) -> Reply:
    """Take what the browser brought back, and send it on from our own origin."""
    _oidc(visit)
    return visit.show("arrive.html", fields=dict(visit.fields))


async def finish(visit: Visit) -> Reply:
    """Sign in whom the provider vouched for, or link them to who is signed in here."""
    oidc = _oidc(visit)
    callback = Callback(
        state=visit.get("state"),
        code=visit.get("code"),
        iss=visit.fields.get("iss"),
        error=visit.get("error"),
    )
    arrived = await oidc.arrive(_browser(visit), callback, source=visit.source)
    if arrived.purpose == "link":
        return await _link(visit, oidc, arrived)
    if arrived.operator is None:
        raise oidc.unlinked(source=visit.source)
    done = await visit.services.operators.finish_external(
        arrived.operator,
        aal=arrived.aal,
        role=arrived.role,
        mfa_at=arrived.at,
        device=visit.device,
        source=visit.source,
    )
    return welcome(done)


async def link(visit: Visit) -> Reply:
    """Go to the provider to link the identity there to who is signed in here."""
    oidc = _oidc(visit)
    proof = await confirmed(visit, what=f"Link your identity at {oidc.name}", about={})
    if isinstance(proof, Reply):
        return proof
    departure = await oidc.depart(_browser(visit), "link")
    return visit.show("leave.html", url=departure.url)


async def unlink(visit: Visit) -> Reply:
    """End a link of who is signed in here."""
    proof = await confirmed(
        visit, what="End a link to your identity provider", about={"Link": visit.get("link")}
    )
    if isinstance(proof, Reply):
        return proof
    await _oidc(visit).unlink(visit.get("link"), visit.visitor.id, request=visit.request)
    return redirect(ROOT)


async def _link(visit: Visit, oidc: Oidc, arrived: Arrived) -> Reply:
    """Link an identity to the session of the same browser; both were shown within minutes."""
    if visit.session is None:
        raise errors.cross_site()
    principal = await visit.services.operators.session(
        visit.session, device=visit.device, source=visit.source
    )
    visit.services.authorizer.check(
        principal, action="account:link", merchant=None, source=visit.source
    )
    await oidc.link(arrived, principal.id, request=visit.request)
    return redirect(ROOT)


def _oidc(visit: Visit) -> Oidc:
    if visit.services.oidc is None:
        raise StrongroomError("not_found", "There is nothing here.")
    return visit.services.oidc


def _browser(visit: Visit) -> Secret[bytes]:
    """Return the browser's own secret, from which an attempt's values follow."""
    return Secret(visit.device.reveal().encode())


PAGES = (
    Page(method="POST", path=ROOT + "/sso", action=PUBLIC, handler=leave),
    Page(method="GET", path=CALLBACK, action=PUBLIC, handler=arrive, fields=_ANSWER, lenient=True),
    Page(method="POST", path=ROOT + "/sso/finish", action=PUBLIC, handler=finish, fields=_ANSWER),
    Page(
        method="POST",
        path=ROOT + "/sso/link",
        action="account:link",
        handler=link,
        fields=PROOF,
        confirmed=True,
    ),
    Page(
        method="POST",
        path=ROOT + "/sso/unlink",
        action="account:link",
        handler=unlink,
        fields={"link": 40, **PROOF},
        confirmed=True,
    ),
)
