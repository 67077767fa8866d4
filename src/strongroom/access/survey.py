"""The matrix of every right: who × what × whose × where, decided by the policies, judged by hand.

The judge below knows the house's promises and no policy: a permit that breaks one is a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product

import msgspec
from msgspec.structs import replace

from strongroom.access.actions import PUBLIC, RESOURCE_OF
from strongroom.access.decide import question_of
from strongroom.access.engine import Engine
from strongroom.access.model import Decision, Question, Value
from strongroom.identity import ROLES, Level, Mode, Principal, PrincipalKind

OWN, OTHER = "mer_00000000000000000000000001", "mer_00000000000000000000000002"

_OTHER_MODE: Mapping[Mode, Mode] = {"test": "live", "live": "test"}
_PURPOSES = ("dispute_evidence", "law_enforcement", "gateway_migration", "incident_response")
_MOVES_MONEY = frozenset(
    {"payment:create", "payment:capture", "payment:cancel", "refund:create", "token:create"}
)
_IN_THE_OPEN = frozenset({"token:create", "client_key:read"})
_CONTAINS = frozenset(
    {
        "api_key:revoke", "signing_key:revoke", "merchant:suspend", "merchant:resume",
        "four_eyes:request", "operator:leave", "operator:end_sessions", "certificate:revoke",
        "workload:revoke", "oauth_client:revoke",
    }
)  # fmt: skip
_TOUCHES_CARDS = frozenset({"token:reveal", "token:reveal_batch", "token:export"})


class Place(msgspec.Struct, frozen=True):
    """Where something can be asked for: a route, a page or a command, with its action."""

    name: str
    action: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One question of the matrix and what the policies say to it."""

    place: str
    action: str
    caller: str
    principal: Principal
    merchant: str | None
    allowed: bool
    policies: tuple[str, ...]


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A permit that breaks a promise."""

    place: str
    action: str
    caller: str
    merchant: str | None
    mode: str
    promise: str
    policies: tuple[str, ...]


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What the matrix came to. `places` without an action that is known are unmapped."""

    policy_set: str
    leaking: list[Leak]
    unmapped: list[str]
    permits: int
    cells: int
    leaks: int
    unmapped_routes: int


def survey(
    places: Iterable[Place],
    *,
    now: datetime,
    engines: Mapping[Mode, Engine] | None = None,
) -> Survey:
    """Ask every question there is about the places, in both modes, of the policies that ship."""
    if engines is None:
        engines = {mode: Engine.shipped(mode=mode) for mode in _OTHER_MODE}
    places = list(places)
    unmapped = [p.name for p in places if p.action not in RESOURCE_OF and p.action != PUBLIC]
    leaking: list[Leak] = []
    cells = permits = 0
    for cell in _cells(engines, places, now=now):
        cells += 1
        permits += cell.allowed
        if cell.allowed:
            leaking += _leaks(cell, now=now)
    return Survey(
        policy_set=next(iter(engines.values())).policy_set,
        leaking=leaking,
        unmapped=unmapped,
        permits=permits,
        cells=cells,
        leaks=len(leaking),
        unmapped_routes=len(unmapped),
    )


def _cells(engines: Mapping[Mode, Engine], places: list[Place], *, now: datetime) -> Iterator[Cell]:
    by_action: dict[str, list[str]] = {}
    for place in places:
        if place.action in RESOURCE_OF:
            by_action.setdefault(place.action, []).append(place.name)
    for mode, engine in engines.items():
        callers = list(_callers(mode, now))
        answer = lru_cache(maxsize=None)(engine.answer)
        for action, (caller, principal), merchant in product(
            by_action, callers, (OWN, OTHER, None)
        ):
            decision = _best(answer, principal, action, merchant, now)
            for name in by_action[action]:
                yield Cell(
                    place=name,
                    action=action,
                    caller=f"{caller} in {mode}",
                    principal=principal,
                    merchant=merchant,
                    allowed=decision.allowed,
                    policies=decision.policies,
                )


def _best(
    answer: Callable[[Question], Decision],
    principal: Principal,
    action: str,
    merchant: str | None,
    now: datetime,
) -> Decision:
    """Return a decision that permits it, however it is asked; else the last that does not."""
    ways: list[dict[str, Value]] = [{}]
    if action in ("token:reveal", "token:reveal_batch"):
        ways += [{"purpose": purpose} for purpose in _PURPOSES]
    asked = (
        question_of(principal, action=action, merchant=merchant, context=way, now=now)
        for way in ways
    )
    answers = [answer(question) for question in asked]
    return next((each for each in answers if each.allowed), answers[-1])


def _callers(mode: Mode, now: datetime) -> Iterator[tuple[str, Principal]]:
    """Every role with every kind of caller; what else may differ, for the kind that has it."""
    for role in ROLES:
        for kind in PrincipalKind:
            plain = Principal(
                id="x", kind=kind, merchant=OWN, mode=mode, roles=(role,), level=Level.API_KEY
            )
            yield f"{kind.value} {role}", plain
            if _fits(plain):
                yield from _variants(f"{kind.value} {role}", plain, now)
    yield (
        "every role",
        Principal(id="x", kind=PrincipalKind.MERCHANT, merchant=OWN, mode=mode, roles=tuple(ROLES)),
    )
    for kind in PrincipalKind:
        nobody = Principal(id="x", kind=kind, merchant=OWN, mode=mode, roles=())
        yield f"{kind.value} without a role", nobody


def _variants(name: str, plain: Principal, now: datetime) -> Iterator[tuple[str, Principal]]:
    yield f"{name} of the other world", replace(plain, mode=_OTHER_MODE[plain.mode])
    yield f"{name} of no merchant", replace(plain, merchant=None)
    yield f"{name} suspended", replace(plain, suspended=True)
    yield f"{name} scoped", replace(plain, scopes=frozenset({"payment:read"}))
    yield f"{name} internal", replace(plain, network="internal")
    yield f"{name} below its level", replace(plain, required_level=Level.SIGNED_REQUEST)
    person = replace(plain, session="ses_x", aal=3, mfa_at=now)
    yield f"{name} in a session", person
    yield (
        f"{name} in a session, second factor old",
        replace(person, mfa_at=now - timedelta(minutes=30)),
    )
    yield f"{name} in a session, password only", replace(person, aal=1, mfa_at=None)
    yield f"{name} in an emergency", replace(person, break_glass=True)


# --- the judge ------------------------------------------------------------------------------------


def _leaks(cell: Cell, *, now: datetime) -> Iterator[Leak]:
    for promise, broken in _promises(cell, now):
        if broken:
            yield Leak(
                place=cell.place,
                action=cell.action,
                caller=cell.caller,
                merchant=cell.merchant,
                mode=cell.principal.mode,
                promise=promise,
                policies=cell.policies,
            )


def _promises(cell: Cell, now: datetime) -> Iterator[tuple[str, bool]]:
    who, action = cell.principal, cell.action
    installation = RESOURCE_OF[action] == "Installation"
    merchants = who.kind is PrincipalKind.MERCHANT
    operator = who.kind is PrincipalKind.OPERATOR
    yield "test and live are two worlds", not cell.caller.endswith(f" in {who.mode}")
    yield "a merchant's things are its own", not installation and cell.merchant != who.merchant
    yield (
        "things of no merchant are for operators",
        (not installation and cell.merchant is None and not operator),
    )
    yield "a merchant's caller runs no installation", merchants and installation
    yield "no role, no right", not who.roles
    yield "a permit names its policy", not cell.policies
    yield "a scope takes everything else away", who.scopes is not None and action not in who.scopes
    yield (
        "a suspended merchant does nothing",
        who.suspended and (not operator or not (_looks(action) or action in _CONTAINS)),
    )
    yield "a worker asks for nothing", who.kind is PrincipalKind.SYSTEM
    yield (
        "a gateway hands in events only",
        (who.kind is PrincipalKind.GATEWAY and action != "webhook:receive"),
    )
    yield (
        "a service is believed on its certificate only",
        (who.kind is PrincipalKind.SERVICE and who.network != "internal"),
    )
    yield "operators move no money", operator and action in _MOVES_MONEY
    yield (
        "a publishable key lives in the open",
        (who.roles == ("merchant-publishable",) and action not in _IN_THE_OPEN),
    )
    own = action.startswith("account:")
    yield (
        "readers change their own account only",
        (who.roles == ("operator-read",) and not (_looks(action) or own)),
    )
    yield "an account is changed by the person in it", own and who.session is None
    yield (
        "clear cards take a role made for it",
        action in _TOUCHES_CARDS and not (set(who.roles) & {"operator-admin", "service-reveal"}),
    )
    yield "a role is for one kind of caller", not _fits(who)
    yield "a session needs two factors", who.session is not None and who.aal < 2
    yield (
        "lasting harm takes a fresh second factor",
        (
            who.session is not None
            and action in _TOUCHES_CARDS | {"key:destroy", "api_key:create", "root:change"}
            and (who.mfa_at is None or now - who.mfa_at > timedelta(minutes=5))
        ),
    )


def _looks(action: str) -> bool:
    return action.rsplit(":", 1)[1] in {"read", "list", "verify", "doctor", "explain", "export"}


def _fits(who: Principal) -> bool:
    """Return whether each of its roles is one that its kind of caller can have."""
    prefixes = {
        PrincipalKind.MERCHANT: ("merchant-", "service-reveal"),
        PrincipalKind.OPERATOR: ("operator-",),
        PrincipalKind.SERVICE: ("service-",),
        PrincipalKind.GATEWAY: ("gateway",),
        PrincipalKind.SYSTEM: ("system",),
    }
    return len(who.roles) != 1 or who.roles[0].startswith(prefixes[who.kind])
