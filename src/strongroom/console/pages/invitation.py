"""Accepting an invitation: its code is typed in, never part of an address that others keep."""

from __future__ import annotations

import msgspec

from strongroom.access import PUBLIC
from strongroom.console.confirm import RESPONSE, TICKET
from strongroom.console.model import Reply
from strongroom.console.page import LINE, ROOT, Page, Visit
from strongroom.console.pages.sign_in import CODE, PASSWORD, welcome

_HERE = ROOT + "/invitation"
_INVITATION = {"invitation": 200}


async def show(visit: Visit) -> Reply:
    """Ask for the code."""
    return visit.show("invitation.html")


async def begin(visit: Visit) -> Reply:
    """Ask the browser for a passkey; offer a password with one-time codes as well."""
    invitation = visit.secret("invitation")
    begun = await visit.services.operators.enrolling.accept(invitation)
    return visit.show(
        "accept.html",
        ticket=begun.ticket.reveal(),
        invitation=invitation.reveal(),
        options=msgspec.json.encode(begun.options).decode(),
    )


async def by_passkey(visit: Visit) -> Reply:
    """Accept with the passkey that the browser made; the person is signed in."""
    done = await visit.services.operators.enrolling.accept_passkey(
        visit.secret("ticket"),
        visit.get("response").encode(),
        name=visit.get("name"),
        device=visit.device,
        source=visit.source,
    )
    return welcome(done)


async def codes(visit: Visit) -> Reply:
    """Show the secret for an authenticator app, once."""
    begun = await visit.services.operators.enrolling.accept_code(visit.secret("invitation"))
    return visit.show(
        "accept_password.html",
        ticket=begun.ticket.reveal(),
        secret=begun.options["secret"],
        uri=begun.options["otpauth_uri"],
    )


async def by_password(visit: Visit) -> Reply:
    """Accept with a password and the app's first code; the person is signed in."""
    done = await visit.services.operators.enrolling.accept_password(
        visit.secret("ticket"),
        visit.secret("password"),
        visit.secret("code"),
        device=visit.device,
        source=visit.source,
    )
    return welcome(done)


PAGES = (
    Page(method="GET", path=_HERE, action=PUBLIC, handler=show),
    Page(method="POST", path=_HERE, action=PUBLIC, handler=begin, fields=_INVITATION),
    Page(
        method="POST",
        path=_HERE + "/passkey",
        action=PUBLIC,
        handler=by_passkey,
        fields={"name": LINE, **TICKET, **RESPONSE},
    ),
    Page(method="POST", path=_HERE + "/codes", action=PUBLIC, handler=codes, fields=_INVITATION),
    Page(
        method="POST",
        path=_HERE + "/password",
        action=PUBLIC,
        handler=by_password,
        fields={**TICKET, **PASSWORD, **CODE},
    ),
)
