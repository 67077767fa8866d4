"""Every place where something can be asked for: routes of the API, pages of the console, commands.

A route or page that takes anybody must stand in `OPEN`: one that lost its action by mistake has
none here, and the matrix says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

OPEN = frozenset(
    {
        "GET /docs",
        "GET /docs.css",
        "GET /health/live",
        "GET /health/ready",
        "GET /openapi.json",
        "GET /v1/return/{merchant_id}/{payment_id}",
        "POST /v1/gateways/{gateway}/events",
        "POST /v1/security/leaked-keys",
    }
)
"""Routes that nobody has to say who they are for; each proves what it must in its own way."""

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

    declared = [*ENDPOINTS, *_pages()]
    found = {}
    for one in declared:
        name = f"{one.method} {one.path}"
        lost = one.action == _PUBLIC and name not in OPEN
        found[name] = _NONE if lost else one.action
    return found


def _pages() -> list[Any]:
    """Return the pages of the console, where this release has one."""
    if find_spec("strongroom.console") is None:
        return []
    return list(import_module("strongroom.console").PAGES)
