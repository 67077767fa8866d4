"""Pure decisions about workloads: whether a registration may be made as asked."""

from __future__ import annotations

import re
from collections.abc import Collection

from strongroom.identity import errors
from strongroom.identity.decide import check_text
from strongroom.identity.model import SERVICE_ROLES, KeyRecord, Refusal
from strongroom.identity.workloads.model import OF_THE_INSTALLATION, WorkloadSpec

_OUR_OWN = frozenset({"vault", "api", "worker", "console"})
"""Processes of ours call each other, never the API as a merchant's service."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def refusal_of(record: KeyRecord | None) -> Refusal | None:
    """Return why a registration is not accepted, or None when it is."""
    if record is None:
        return Refusal.UNKNOWN
    if record.revoked_at is not None:
        return Refusal.REVOKED
    return None if record.merchant_status == "active" else Refusal.SUSPENDED


def checked(
    spec: WorkloadSpec, *, trust_domain: str, known_scopes: Collection[str]
) -> WorkloadSpec:
    """Return the registration to make.

    Raises:
        StrongroomError: `invalid_parameter` for what no workload may be.
    """
    service = spec.spiffe_id.removeprefix(f"spiffe://{trust_domain}/svc/")
    if service == spec.spiffe_id or _NAME.fullmatch(service) is None:
        raise errors.invalid_parameter(
            "spiffe_id", f"It must be spiffe://{trust_domain}/svc/<name>, name of a-z, 0-9 and -."
        )
    if service in _OUR_OWN:
        raise errors.invalid_parameter("spiffe_id", "This name belongs to a process of ours.")
    if spec.role not in SERVICE_ROLES:
        raise errors.invalid_parameter("role", f"One of {', '.join(SERVICE_ROLES)}.")
    if (spec.role == OF_THE_INSTALLATION) != (spec.merchant is None):
        raise errors.invalid_parameter(
            "merchant", f"{OF_THE_INSTALLATION} has none, all others have one."
        )
    unknown = sorted((spec.scopes or frozenset()) - frozenset(known_scopes))
    if unknown or (spec.scopes is not None and not spec.scopes):
        raise errors.invalid_parameter("scopes", "Each must be the name of an action.")
    check_text("owner", spec.owner)
    return spec
