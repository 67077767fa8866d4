"""Signing in: a passkey first, a password with a one-time code for who has none at hand."""

from __future__ import annotations

import msgspec

from strongroom.access import PUBLIC
from strongroom.console import cookies
from strongroom.console.confirm import RESPONSE, TICKET
from strongroom.console.model import Reply, redirect
from strongroom.console.page import ROOT, Page, Visit
from strongroom.identity.operators import SignedIn

LOGIN = {"login": 64}
PASSWORD = {"password": 256}
CODE = {"code": 32}


async def show(visit: Visit) -> Reply:
    """Ask who it is."""
    oidc = visit.services.oidc
    return visit.show("sign_in.html", sso=None if oidc is None else oidc.name)


async def begin(visit: Visit) -> Reply:
    """Ask for the passkey, or for password and code; every login looks alike."""
    login = visit.get("login")
    begun = await visit.services.operators.begin(login, source=visit.source)
    return visit.show(
        "prove.html",
        login=login,
        ticket=begun.ticket.reveal(),
        options=msgspec.json.encode(begun.options).decode(),
    )


async def by_passkey(visit: Visit) -> Reply:
    """Sign in by a passkey's answer."""
    done = await visit.services.operators.finish_passkey(
        visit.secret("ticket"),
        visit.get("response").encode(),
        device=visit.device,
        source=visit.source,
    )
    return welcome(done)


async def by_password(visit: Visit) -> Reply:
    """Sign in by a password and a one-time code."""
    done = await visit.services.operators.finish_password(
        visit.secret("ticket"),
        visit.secret("password"),
        visit.secret("code"),
        device=visit.device,
        source=visit.source,
    )
    return welcome(done)


def welcome(done: SignedIn) -> Reply:
    """Return the answer that begins a session in this browser."""
    return redirect(ROOT, cookies.session(done.session))


PAGES = (
    Page(method="GET", path=ROOT + "/sign-in", action=PUBLIC, handler=show),
    Page(method="POST", path=ROOT + "/sign-in", action=PUBLIC, handler=begin, fields=LOGIN),
    Page(
        method="POST",
        path=ROOT + "/sign-in/passkey",
        action=PUBLIC,
        handler=by_passkey,
        fields={**TICKET, **RESPONSE},
    ),
    Page(
        method="POST",
        path=ROOT + "/sign-in/password",
        action=PUBLIC,
        handler=by_password,
        fields={**TICKET, **PASSWORD, **CODE},
    ),
)
