"""The verbs of the authority: issue a certificate to a role of process, list what was issued.

Each certificate is journaled with its serial and expiry in the same commit that lists it; its key
is made here, handed out once, and kept nowhere.
"""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock, rfc3339_ms
from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.limits import CERTIFICATE_DAYS_MAX
from strongroom.keys import errors
from strongroom.keys.certificates import records
from strongroom.keys.certificates.authority import CertificateSigner, pem
from strongroom.keys.certificates.model import (
    AUTHORITY,
    PROCESS_ROLES,
    CertificateInfo,
    Issued,
    StoredCertificate,
    spiffe_id,
)
from strongroom.storage import Change, Committer, Database, Verdict

_ALGORITHM = "ECDSA P-256"
_TRIES = 5
_LISTED_MAX = 1_000


class Certificates:
    """The authority of one installation.

    Args:
        database: reads as the vault's role.
        committer: writes as the vault's role, with the journal's marker.
        signer: the authority's key (`Keyring.certificate_signer`).
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        signer: CertificateSigner,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._committer = committer
        self._signer = signer
        self._clock = clock or SystemClock()

    async def authority(self) -> x509.Certificate:
        """Return the authority's certificate, made at first use."""
        for _ in range(_TRIES):
            found = await records.newest(self._database)
            if found is not None:
                return self._signer.checked(found.certificate)
            made = self._signer.authority(self._clock.now())
            await self._keep(made, AUTHORITY, 1, actor="strongroom")
        raise errors.key_not_usable("the authority's certificate cannot be kept")

    async def issue(self, role: str, *, days: int, actor: str) -> Issued:
        """Issue a certificate with a fresh key to a role of process.

        Raises:
            StrongroomError: `certificate_request_invalid`, `key_not_usable`.
        """
        if role not in PROCESS_ROLES or not 1 <= days <= CERTIFICATE_DAYS_MAX:
            raise errors.certificate_request_invalid(CERTIFICATE_DAYS_MAX)
        authority = await self.authority()
        made, key = self._signer.sign(
            role, authority=authority, now=self._clock.now(), life=timedelta(days=days)
        )
        for _ in range(_TRIES):
            newest = await records.newest(self._database, role)
            version = 1 if newest is None else newest.version + 1
            if await self._keep(made, role, version, actor=actor):
                return Issued(
                    serial=_serial(made).hex(),
                    spiffe_id=spiffe_id(self._signer.domain, role),
                    expires_at=made.not_valid_after_utc,
                    certificate=pem(made),
                    authority=pem(authority),
                    key=key,
                )
        raise errors.key_not_usable("the certificate cannot be kept")

    async def inventory(self) -> list[CertificateInfo]:
        """Return the newest certificates with their expiry, the authority first."""
        return await listed(self._database)

    async def _keep(self, made: x509.Certificate, role: str, version: int, *, actor: str) -> bool:
        stored = StoredCertificate(
            id=new_uuid7(),
            role=role,
            version=version,
            serial_number=_serial(made),
            spiffe_id=spiffe_id(self._signer.domain, role),
            not_before=made.not_valid_before_utc,
            not_after=made.not_valid_after_utc,
            certificate=made.public_bytes(Encoding.DER),
            issued_by=actor,
        )
        change = Change()
        records.add(change, stored)
        entry = Entry(
            action="keys:certificate:issue",
            subject=stored.spiffe_id,
            outcome="success",
            merchant=None,
            actor=actor,
            facts={
                "role": role,
                "serial": _letters(stored.serial_number),
                "expires_at": rfc3339_ms(stored.not_after),
                "algorithm": _ALGORITHM,
            },
        )
        record(change, entry, at=self._clock.now())
        return await self._committer.submit(change) is Verdict.COMMITTED


def _serial(made: x509.Certificate) -> bytes:
    return made.serial_number.to_bytes(20, "big")


def _letters(serial: bytes) -> str:
    """Return a serial in letters, as the journal has them: never taken for a card number."""
    return serial.hex().translate(_AS_LETTERS)


_AS_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


async def listed(database: Database) -> list[CertificateInfo]:
    """Return the newest certificates with their expiry, the authority first; opens no key."""
    found = await records.certificates(database, limit=_LISTED_MAX)
    return [
        CertificateInfo(
            serial=one.serial_number.hex(),
            role=one.role,
            spiffe_id=one.spiffe_id,
            algorithm=_ALGORITHM,
            not_before=one.not_before,
            expires_at=one.not_after,
            issued_by=one.issued_by,
        )
        for one in found
    ]
