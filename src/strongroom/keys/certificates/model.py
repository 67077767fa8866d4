"""The types of certificates: services, what was issued, what is trusted, what is listed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal, get_args
from uuid import UUID

import msgspec

from strongroom.kernel.secret import Secret
from strongroom.keys.model import Mode

ProcessRole = Literal["vault", "api", "worker"]
PROCESS_ROLES: tuple[ProcessRole, ...] = get_args(ProcessRole)
AUTHORITY = "authority"
VAULT = "vault"

BACKDATED = timedelta(minutes=5)
"""Certificates begin a little in the past: clocks of two hosts differ."""

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PATH = re.compile(r"spiffe://([a-z0-9._-]{1,255})/svc/([a-z][a-z0-9-]{0,39})")


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A new certificate with its key, as PEM, and the authorities that are trusted."""

    serial: str
    spiffe_id: str
    expires_at: datetime
    certificate: str
    authority: str
    key: Secret[str]


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A new certificate for a key that its owner keeps; the signing authority comes first.

    Certificates are in DER form.
    """

    spiffe_id: str
    certificate: bytes
    authorities: tuple[bytes, ...]


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What is trusted now: authorities, the signing one first, and what they issued but not these.

    `authorities` are in DER form, `revoked` are serial numbers of 20 bytes.
    """

    authorities: tuple[bytes, ...]
    revoked: frozenset[bytes] = frozenset()


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new join token; `text` is all that the joining side needs besides the address."""

    id: UUID
    service: str
    expires_at: datetime
    text: Secret[str]


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the inventory. `role` is `authority` for the authority itself."""

    serial: str
    role: str
    spiffe_id: str
    algorithm: str
    not_before: datetime
    expires_at: datetime
    issued_by: str
    revoked_at: datetime | None = None
    signs_from: datetime | None = None

    @property
    def life(self) -> timedelta:
        """How long it was meant to live."""
        return self.expires_at - self.not_before - BACKDATED


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
    issuer: int | None = None
    signs_from: datetime | None = None
    renews: UUID | None = None
    revoked_at: datetime | None = None


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A join token as it stands in the database."""

    id: UUID
    service: str
    expires_at: datetime


def trust_domain(installation: UUID, mode: Mode) -> str:
    """Return the SPIFFE trust domain of an installation: test and live never trust each other."""
    return f"{mode}.{installation}.strongroom"


def spiffe_id(domain: str, role: str) -> str:
    """Return the SPIFFE id of a role of process; of the authority it is the domain itself."""
    return f"spiffe://{domain}" if role == AUTHORITY else f"spiffe://{domain}/svc/{role}"


def service_of(name: str, domain: str) -> str | None:
    """Return the service that a SPIFFE id of a trust domain names; None for any other text."""
    found = _PATH.fullmatch(name)
    return found[2] if found is not None and found[1] == domain else None


def is_service(name: str) -> bool:
    """Whether a certificate may be issued under a service name."""
    return _SERVICE.fullmatch(name) is not None and name != AUTHORITY
