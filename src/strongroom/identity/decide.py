"""Pure decisions of identity: is a key acceptable now, and may a key be made as asked."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta

from strongroom.identity import errors
from strongroom.identity.model import (
    OPERATOR_ROLES,
    KeyKind,
    KeyRecord,
    KeySpec,
    PrincipalKind,
    Refusal,
)

OPERATOR_KEY_LIFETIME = timedelta(days=90)
"""What an operator's or a revealing key gets when nothing is said (PCI DSS 8.3.9, 8.6.3)."""

KEY_LIFETIME_MAX = timedelta(days=366)
"""No operator or revealing key lives longer; merchants' other keys may, and show their age."""

_TEXT_MAX = 100

_REVEALING = "service-reveal"

_ROLE_OF_KIND = {
    KeyKind.SECRET: ("merchant-backend",),
    KeyKind.PUBLISHABLE: ("merchant-publishable",),
    KeyKind.RESTRICTED: ("merchant-backend", _REVEALING, *OPERATOR_ROLES),
}


def refusal_of(record: KeyRecord | None, *, now: datetime) -> Refusal | None:
    """Return why a stored key is not accepted at `now`, or None when it is."""
    if record is None:
        return Refusal.UNKNOWN
    if record.revoked_at is not None:
        return Refusal.REVOKED
    if record.expires_at is not None and now >= record.expires_at:
        return Refusal.EXPIRED
    if record.principal.kind is PrincipalKind.OPERATOR:
        return None
    return None if record.merchant_status == "active" else Refusal.SUSPENDED


def checked(spec: KeySpec, *, known_scopes: Collection[str], now: datetime) -> KeySpec:
    """Return the key to make, with its expiry filled in.

    Raises:
        StrongroomError: `invalid_parameter` for a combination that no key may have.
    """
    operator = spec.role in OPERATOR_ROLES
    if spec.role not in _ROLE_OF_KIND[spec.kind]:
        raise errors.invalid_parameter("role", f"A key of kind {spec.kind.value} cannot have it.")
    if operator != (spec.merchant is None):
        raise errors.invalid_parameter(
            "merchant", "Operator keys belong to the installation, all others to a merchant."
        )
    _check_scopes(spec, operator=operator, known=known_scopes)
    check_text("owner", spec.owner)
    return _with_expiry(spec, short=operator or spec.role == _REVEALING, now=now)


def check_text(param: str, value: str) -> str:
    """Return a one-line text for people of at most 100 characters, or refuse it."""
    printable = not any(unicodedata.category(char).startswith("C") for char in value)
    if not (1 <= len(value) <= _TEXT_MAX and value == value.strip() and printable):
        raise errors.invalid_parameter(
            param, f"Give 1 to {_TEXT_MAX} printable characters without space at either end."
        )
    return value


def _check_scopes(spec: KeySpec, *, operator: bool, known: Collection[str]) -> None:
    if spec.kind is not KeyKind.RESTRICTED:
        if spec.scopes is not None:
            raise errors.invalid_parameter("scopes", "Only restricted keys (rk) have scopes.")
        return
    if spec.scopes is None and operator:
        return
    if not spec.scopes:
        raise errors.invalid_parameter("scopes", "A restricted key needs at least one scope.")
    if not all(scope in known for scope in spec.scopes):
        raise errors.invalid_parameter("scopes", "Every scope must be the name of an action.")


def _with_expiry(spec: KeySpec, *, short: bool, now: datetime) -> KeySpec:
    expires_at = spec.expires_at
    if expires_at is None and short:
        expires_at = now + OPERATOR_KEY_LIFETIME
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise errors.invalid_parameter("expires_at", "The expiry must be in the future, in UTC.")
    if short and expires_at is not None and expires_at > now + KEY_LIFETIME_MAX:
        raise errors.invalid_parameter("expires_at", "Such a key lives at most 366 days.")
    return KeySpec(
        merchant=spec.merchant,
        kind=spec.kind,
        role=spec.role,
        owner=spec.owner,
        scopes=spec.scopes,
        expires_at=expires_at,
    )
