"""Every place where something can be asked for: routes of the API, pages of the console, commands.

A route or page that takes anybody must stand in `OPEN`: one that lost its action by mistake has
none here, and the matrix says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPEN = frozenset(
    {
        "GET /.well-known/oauth-authorization-server",
        "GET /console/invitation",
        "GET /console/sign-in",
        "GET /console/sso/callback",
        "GET /docs",
        "GET /docs.css",
        "GET /health/live",
        "GET /health/ready",
        "GET /oauth/jwks",
        "GET /openapi.json",
        "GET /v1/return/{merchant_id}/{payment_id}",
        "POST /console/invitation",
        "POST /console/invitation/codes",
        "POST /console/invitation/passkey",
        "POST /console/invitation/password",
        "POST /console/sign-in",
        "POST /console/sign-in/passkey",
        "POST /console/sign-in/password",
        "POST /console/sso",
        "POST /console/sso/finish",
        "POST /oauth/introspect",
        "POST /oauth/revoke",
        "POST /oauth/token",
        "POST /v1/gateways/{gateway}/events",
        "POST /v1/security/leaked-keys",
    }
)
"""Routes and pages that no caller is asked for by the edge: documents and health, the ways to sign
in, and those that take a credential of their own (a client's assertion, a gateway's signature)."""

_PUBLIC = "public"
_NONE = "none"


def places(commands: Mapping[str, str]) -> list[Any]:
    """Return every place with its action; commands that touch no installation are left out."""
    from strongroom.access import Place

    found = [Place(name, action) for name, action in _routes().items()]
    for words, action in commands.items():
        if action != _PUBLIC:
            found.append(Place(f"strongroom {words}", action))
    return found


def _routes() -> dict[str, str]:
    from strongroom.api import ENDPOINTS
    from strongroom.console import PAGES

    found = {}
    for one in (*ENDPOINTS, *PAGES):
        name = f"{one.method} {one.path}"
        lost = one.action == _PUBLIC and name not in OPEN
        found[name] = _NONE if lost else one.action
    return found
