"""The matrix of every right over every route and command: no leak, nothing without an action.

And each promise the judge keeps can be seen to be broken: by a policy that gives too much.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from strongroom.access import PUBLIC, Place, survey
from strongroom.access.actions import RESOURCE_OF
from strongroom.access.engine import Engine
from strongroom.api import ENDPOINTS
from strongroom.cli.command import ACTION_OF
from strongroom.cli.places import OPEN, places
from strongroom.console import PAGES
from tests.access.test_policies import POLICIES, SCHEMA
from tests.cli.support import strongroom

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_the_matrix_of_what_ships_has_no_leak_and_no_place_without_an_action() -> None:
    run = strongroom("access", "matrix", "--json", timeout=300)
    assert run.code == 0, (run.out[:2000], run.err)
    told = run.json
    assert list(told)[-3:] == ["cells", "leaks", "unmapped_routes"]
    assert (told["leaks"], told["leaking"]) == (0, [])
    assert (told["unmapped_routes"], told["unmapped"]) == (0, [])
    assert told["permits"] > 1_000, "a matrix that permits nothing proves nothing"
    assert told["cells"] > 30_000


def test_the_matrix_is_over_every_route_and_command() -> None:
    named = {place.name for place in places(ACTION_OF)}
    declared = (*ENDPOINTS, *PAGES)
    assert {f"{one.method} {one.path}" for one in declared} <= named
    assert {f"strongroom {w}" for w, action in ACTION_OF.items() if action != PUBLIC} <= named
    gone = OPEN - {f"{one.method} {one.path}" for one in declared if one.action == PUBLIC}
    assert gone == set(), "a route that is not there, or not open any more"


def test_a_place_without_an_action_is_counted() -> None:
    found = survey([Place("GET /v1/lost", "none"), Place("GET /docs", PUBLIC)], now=NOW)
    assert (found.unmapped, found.unmapped_routes, found.cells) == (["GET /v1/lost"], 1, 0)


BROKEN = [
    # a policy taken away, an action that shows it, the promise that is broken
    ("deny-other-mode", "payment:read", "test and live are two worlds"),
    ("deny-other-merchant", "payment:read", "a merchant's things are its own"),
    ("deny-other-merchant", "journal:read", "a merchant's things are its own"),
    ("deny-beyond-scopes", "payment:create", "a scope takes everything else away"),
    ("deny-suspended-merchant", "payment:create", "a suspended merchant does nothing"),
    ("deny-session-without-second-factor", "key:list", "a session needs two factors"),
    ("deny-stale-second-factor", "key:destroy", "lasting harm takes a fresh second factor"),
]
ADDED = [
    # a policy that gives too much, an action that shows it, the promise that is broken
    ('principal in Role::"merchant-backend"', "key:list",
     "a merchant's caller runs no installation"),
    ("principal", "payment:read", "no role, no right"),
    ("principal", "payment:read", "a worker asks for nothing"),
    ("principal", "metrics:read", "a gateway hands in events only"),
    ("principal", "payment:read", "a service is believed on its certificate only"),
    ("principal", "metrics:read", "a role is for one kind of caller"),
    ('principal in Role::"operator-admin"', "refund:create", "operators move no money"),
    ('principal in Role::"merchant-publishable"', "payment:read",
     "a publishable key lives in the open"),
    ('principal in Role::"operator-read"', "key:rotate", "readers change their own account only"),
    ('principal in Role::"merchant-backend"', "token:reveal",
     "clear cards take a role made for it"),
]  # fmt: skip


def _promises(policies: str, action: str) -> set[str]:
    engines = {mode: Engine(policies, SCHEMA, mode=mode) for mode in ("test", "live")}
    found = survey([Place("somewhere", action)], now=NOW, engines=engines)  # type: ignore[arg-type]
    assert found.leaks == len(found.leaking)
    return {leak.promise for leak in found.leaking}


@pytest.mark.parametrize(("policy", "action", "promise"), BROKEN)
def test_a_policy_that_is_taken_away_shows(policy: str, action: str, promise: str) -> None:
    start = POLICIES.index(f'@id("{policy}")')
    end = POLICIES.find("\n\n@id(", start)
    fewer = POLICIES[:start] + (POLICIES[end:] if end > 0 else "")
    assert promise in _promises(fewer, action)
    assert promise not in _promises(POLICIES, action)


@pytest.mark.parametrize(("who", "action", "promise"), ADDED)
def test_a_policy_that_gives_too_much_shows(who: str, action: str, promise: str) -> None:
    more = (
        f'{POLICIES}\n@id("more") @doc("x") permit ({who}, action == Action::"{action}", '
        f"resource is {RESOURCE_OF[action]});"
    )
    assert promise in _promises(more, action)
