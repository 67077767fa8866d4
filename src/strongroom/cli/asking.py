"""Finds out who and what `access explain` is asked about: by role alone, or in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from strongroom.cli import records
from strongroom.identity import ROLES, Level, Mode, Principal, PrincipalKind
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, id_from, uuid_of

if TYPE_CHECKING:
    from strongroom.storage import Database

INSTALLATION = "installation"
_KINDS = {
    "operator": PrincipalKind.OPERATOR,
    "gateway": PrincipalKind.GATEWAY,
    "system": PrincipalKind.SYSTEM,
}
_OF_MERCHANTS = ("merchant-backend", "merchant-publishable", "service-reveal")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question as the policies take it."""

    principal: Principal
    merchant: str | None
    attributes: dict[str, str | int | bool]


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A question as a person typed it."""

    principal: str
    action: str
    resource: str
    merchant: str | None
    amount_minor: int | None
    aal: int
    mfa_minutes: int

    @property
    def needs_database(self) -> bool:
        """Whether somebody or something must be looked up."""
        return self.principal not in ROLES or self.resource.startswith(("pay_", "tok_"))

    def without_database(self, *, mode: Mode) -> Asked:
        """Return the question about a role and a merchant, or the installation."""
        merchant = _merchant_named(self.resource)
        return Asked(
            principal=_of_role(self, mode=mode, merchant=self.merchant or merchant),
            merchant=merchant,
            attributes=_amount(self),
        )


async def asked(given: Given, *, mode: Mode, database: Database) -> Asked:
    """Return the question, with who and what it is about looked up.

    Raises:
        StrongroomError: `not_found`, `invalid_id`.
    """
    merchant, attributes = await _thing(given, database)
    if given.principal in ROLES:
        principal = _of_role(given, mode=mode, merchant=given.merchant or merchant)
    else:
        principal = await _caller(given, mode, database)
    return Asked(principal=principal, merchant=merchant, attributes=attributes)


async def _thing(
    given: Given, database: Database
) -> tuple[str | None, dict[str, str | int | bool]]:
    name = given.resource
    if name.startswith("pay_"):
        row = await records.payment(database, uuid_of(name, "pay"))
        if row is None:
            raise _not_found(name)
        told = {"state": row["status"], "currency": row["currency"], **_amount(given)}
        return id_from("mer", row["merchant_id"]), told
    if name.startswith("tok_"):
        owner = await records.owner_of_token(database, uuid_of(name, "tok"))
        if owner is None:
            raise _not_found(name)
        return id_from("mer", owner), {}
    return _merchant_named(name), _amount(given)


async def _caller(given: Given, mode: Mode, database: Database) -> Principal:
    name = given.principal
    if name.startswith("opr_"):
        row = await records.operator(database, uuid_of(name, "opr"))
        found = None if row is None else _person(given, mode, row["role"])
    elif name.startswith("spiffe://"):
        row = await records.workload(database, name)
        found = None if row is None else _service(mode, name, row)
    else:
        row = await records.api_key(database, uuid_of(name, "key"))
        found = None if row is None else _key(given, mode, row)
    if found is None:
        raise _not_found(name)
    return found


def _of_role(given: Given, *, mode: Mode, merchant: str | None) -> Principal:
    role = given.principal
    if role.startswith("operator-"):
        return replace(_person(given, mode, role), merchant=merchant)
    kind = _KINDS.get(role, PrincipalKind.SERVICE)
    if role in _OF_MERCHANTS:
        kind = PrincipalKind.MERCHANT
    return Principal(
        id=role,
        kind=kind,
        merchant=merchant if kind in (PrincipalKind.MERCHANT, PrincipalKind.SERVICE) else None,
        mode=mode,
        roles=(role,),
        level=Level.API_KEY,
        network="internal" if kind is PrincipalKind.SERVICE else "external",
    )


def _person(given: Given, mode: Mode, role: str) -> Principal:
    """Return an operator in a session, as `--aal` and `--mfa-minutes` describe it."""
    return Principal(
        id=given.principal,
        kind=PrincipalKind.OPERATOR,
        merchant=given.merchant,
        mode=mode,
        roles=(role,),
        aal=given.aal,
        mfa_at=datetime.now(UTC) - timedelta(minutes=given.mfa_minutes),
        session="explained",
    )


def _service(mode: Mode, name: str, row: records.Row) -> Principal:
    return Principal(
        id=name,
        kind=PrincipalKind.SERVICE,
        merchant=_merchant_of(row),
        mode=mode,
        roles=(row["role"],),
        scopes=_scopes(row),
        level=Level.BOUND_TOKEN,
        network="internal",
        suspended=row["status"] == "suspended",
    )


def _key(given: Given, mode: Mode, row: records.Row) -> Principal:
    own = _merchant_of(row)
    kind = PrincipalKind.OPERATOR if own is None else PrincipalKind.MERCHANT
    return Principal(
        id=given.principal,
        kind=kind,
        merchant=own or given.merchant,
        mode=mode,
        roles=(row["role"],),
        scopes=_scopes(row),
        level=Level.NONE if row["kind"] == "pk" or own is None else Level.API_KEY,
        suspended=row["status"] == "suspended",
    )


def _merchant_of(row: records.Row) -> str | None:
    owner = row["merchant_id"]
    return None if owner == NIL_UUID else id_from("mer", owner)


def _scopes(row: records.Row) -> frozenset[str] | None:
    scopes = row["scopes"]
    return None if scopes is None else frozenset(msgspec.json.decode(scopes, type=list[str]))


def _merchant_named(resource: str) -> str | None:
    """Return the merchant whose things are meant; None for the installation's own."""
    if resource == INSTALLATION:
        return None
    uuid_of(resource, "mer")
    return resource


def _amount(given: Given) -> dict[str, str | int | bool]:
    return {} if given.amount_minor is None else {"amount": given.amount_minor}


def _not_found(name: str) -> StrongroomError:
    return StrongroomError("not_found", f"There is no {name} here.")
