"""The types of certificates: roles of processes, what was issued, what is listed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

import msgspec

from strongroom.kernel.secret import Secret
from strongroom.keys.model import Mode

ProcessRole = Literal["vault", "api", "worker"]
PROCESS_ROLES: tuple[ProcessRole, ...] = get_args(ProcessRole)


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A new certificate with its key, as PEM, and the authority that signed it."""

    serial: str
    spiffe_id: str
    expires_at: datetime
    certificate: str
    authority: str
    key: Secret[str]


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the inventory. `role` is `authority` for the authority itself."""

    serial: str
    role: str
    spiffe_id: str
    algorithm: str
    not_before: datetime
    expires_at: datetime
    issued_by: str


class StoredCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as it stands in the database: public data only."""

    id: UUID
    role: str
    version: int
    serial_number: bytes
    spiffe_id: str
    not_before: datetime
    not_after: datetime
    certificate: bytes
    issued_by: str


def trust_domain(installation: UUID, mode: Mode) -> str:
    """Return the SPIFFE trust domain of an installation: test and live never trust each other."""
    return f"{mode}.{installation}.strongroom"


def spiffe_id(domain: str, role: str) -> str:
    """Return the SPIFFE id of a role of process; of the authority it is the domain itself."""
    return f"spiffe://{domain}" if role == AUTHORITY else f"spiffe://{domain}/svc/{role}"


AUTHORITY = "authority"
