"""Pure decisions on keys: is one acceptable now, may one be made as asked, what is there to say."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from strongroom.identity import errors
from strongroom.identity.api_keys import networks
from strongroom.identity.decide import check_text
from strongroom.identity.model import (
    OPERATOR_ROLES,
    KeyKind,
    KeyRecord,
    KeySpec,
    KeyView,
    PrincipalKind,
    Refusal,
)
from strongroom.kernel.edge_limits import (
    KEY_EXPIRY_WARN_DAYS,
    KEY_IDLE_MAX_DAYS,
    KEY_IDLE_WARN_DAYS,
    KEY_OVERLAP_MAX_S,
    KEY_OVERLAP_MIN_S,
)

OPERATOR_KEY_LIFETIME = timedelta(days=90)
"""What an operator's or a revealing key gets when nothing is said (PCI DSS 8.3.9, 8.6.3)."""

KEY_LIFETIME_MAX = timedelta(days=366)
"""No operator or revealing key lives longer; merchants' other keys may, and show their age."""

REVEALING = "service-reveal"

_ROLE_OF_KIND = {
    KeyKind.SECRET: ("merchant-backend",),
    KeyKind.PUBLISHABLE: ("merchant-publishable",),
    KeyKind.RESTRICTED: ("merchant-backend", REVEALING, *OPERATOR_ROLES),
}


def refusal_of(record: KeyRecord | None, *, now: datetime, source: str) -> Refusal | None:
    """Return why a stored key is not accepted at `now` from `source`, or None when it is."""
    if record is None:
        return Refusal.UNKNOWN
    if record.revoked_at is not None:
        return Refusal.REVOKED
    if record.expires_at is not None and now >= record.expires_at:
        return Refusal.EXPIRED
    if record.networks and not networks.contain(record.networks, source):
        return Refusal.ADDRESS
    if record.principal.kind is PrincipalKind.OPERATOR:
        return None
    return None if record.merchant_status == "active" else Refusal.SUSPENDED


def checked(spec: KeySpec, *, known_scopes: Collection[str], now: datetime) -> KeySpec:
    """Return the key to make, with its expiry filled in and its networks in their one spelling.

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
    short = operator or spec.role == REVEALING
    return msgspec.structs.replace(
        spec,
        expires_at=expiry(spec.expires_at, short=short, now=now),
        networks=networks.checked(spec.networks),
    )


def expiry(wanted: datetime | None, *, short: bool, now: datetime) -> datetime | None:
    """Return when a new credential ends; `short` ones always do.

    Raises:
        StrongroomError: `invalid_parameter`.
    """
    if wanted is None:
        return now + OPERATOR_KEY_LIFETIME if short else None
    if wanted.tzinfo is None or wanted <= now:
        raise errors.invalid_parameter("expires_at", "The expiry must be in the future, in UTC.")
    if short and wanted > now + KEY_LIFETIME_MAX:
        raise errors.invalid_parameter("expires_at", "Such a key lives at most 366 days.")
    return wanted


def successor_of(key: KeyView, *, now: datetime) -> KeySpec:
    """Return what the key that takes the place of `key` is: the same, for as long again.

    Raises:
        StrongroomError: `api_key_not_active`.
    """
    if key.status != "active":
        raise errors.api_key_not_active()
    lasts = None if key.expires_at is None else now + (key.expires_at - key.created_at)
    return KeySpec(
        merchant=key.merchant,
        kind=key.kind,
        role=key.role,
        owner=key.owner,
        scopes=None if key.scopes is None else frozenset(key.scopes),
        expires_at=lasts,
        networks=key.networks,
    )


def end_of_overlap(key: KeyView, *, overlap: timedelta, now: datetime) -> datetime:
    """Return when a replaced key ends: after the overlap, or earlier if it would anyway.

    Raises:
        StrongroomError: `invalid_parameter`.
    """
    if not KEY_OVERLAP_MIN_S <= overlap.total_seconds() <= KEY_OVERLAP_MAX_S:
        raise errors.invalid_parameter("overlap", "The overlap lasts a minute to 30 days.")
    ends = now + overlap
    return ends if key.expires_at is None else min(ends, key.expires_at)


def warnings(
    key: KeyView, *, now: datetime, replaced: bool, older_than_days: int | None = None
) -> tuple[str, ...]:
    """Return what should be done about a living key, in words; nothing while it is `replaced`."""
    if replaced:
        return ()
    said = []
    idle = (now - (key.last_used_at or key.created_at)).days
    left = None if key.expires_at is None else (key.expires_at - now).days
    if left is not None and left <= KEY_EXPIRY_WARN_DAYS:
        said.append(f"expires in {left} days: rotate it")
    if idle >= KEY_IDLE_WARN_DAYS:
        said.append(f"idle for {idle} days: disabled after {KEY_IDLE_MAX_DAYS}")
    if older_than_days is not None and (now - key.created_at).days > older_than_days:
        said.append(f"older than {older_than_days} days: rotate it")
    return tuple(said)


def _check_scopes(spec: KeySpec, *, operator: bool, known: Collection[str]) -> None:
    if spec.kind is not KeyKind.RESTRICTED:
        if spec.scopes is not None:
            raise errors.invalid_parameter("scopes", "Only restricted keys (rk) have scopes.")
        return
    if spec.scopes is None and operator:
        return
    check_scopes(spec.scopes, known=known)


def check_scopes(scopes: Collection[str] | None, *, known: Collection[str]) -> None:
    """Refuse scopes that are none, or that no action has.

    Raises:
        StrongroomError: `invalid_parameter`.
    """
    if not scopes:
        raise errors.invalid_parameter("scopes", "A restricted key needs at least one scope.")
    if not all(scope in known for scope in scopes):
        raise errors.invalid_parameter("scopes", "Every scope must be the name of an action.")
