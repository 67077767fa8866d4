"""The verbs of the authority: issue, revoke, change the authority's key, list, say what is trusted.

Each certificate is journaled with its serial and expiry in the same commit that lists it; its key
is made here, handed out once, and kept nowhere. A new authority is trusted by everybody before it
signs, and an old one for as long as a certificate of it is good: nobody is cut off by the change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock, rfc3339_ms
from strongroom.kernel.edge_limits import AUTHORITY_OVERLAP_S, REVOKED_CERTIFICATES_MAX
from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.limits import CERTIFICATE_DAYS_MAX
from strongroom.keys import errors
from strongroom.keys.certificates import records
from strongroom.keys.certificates.authority import CertificateSigner, pem
from strongroom.keys.certificates.chains import serial_of
from strongroom.keys.certificates.ending import Ending, in_letters
from strongroom.keys.certificates.model import (
    AUTHORITY,
    BACKDATED,
    CertificateInfo,
    Issued,
    Signed,
    StoredCertificate,
    Trust,
    is_service,
    spiffe_id,
    trust_domain,
)
from strongroom.keys.certificates.requests import key_of_request, pem_of
from strongroom.storage import Change, Committer, ConstraintViolated, Database, Verdict

if TYPE_CHECKING:
    from strongroom.keys.flow import Keyring

_ALGORITHM = "ECDSA P-256"
_TRIES = 5
_LISTED_MAX = 1_000

Signers = Callable[[int], Awaitable[CertificateSigner]]
"""Opens the signing key of one generation of the authority."""

Use = Callable[[Change], None]
"""Adds what must be committed together with a certificate."""


class Certificates:
    """The authority of one installation.

    Args:
        database: reads as the vault's role.
        committer: writes as the vault's role, with the journal's marker.
        signers: the authority's keys (`Keyring.certificate_signer`).
        domain: the trust domain.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        signers: Signers,
        *,
        domain: str,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._committer = committer
        self._signers = signers
        self._opened: dict[int, CertificateSigner] = {}
        self._clock = clock or SystemClock()
        self.domain = domain
        self._ending = Ending(database, committer, domain=domain, clock=self._clock)

    @classmethod
    def of(cls, keyring: Keyring, *, clock: Clock | None = None) -> Certificates:
        """Return the authority of an opened keyring."""
        custody = keyring.custody
        return cls(
            custody.database,
            custody.committer,
            keyring.certificate_signer,
            domain=trust_domain(custody.installation, keyring.mode),
            clock=clock or custody.clock,
        )

    # --- authorities ---

    async def authority(self) -> x509.Certificate:
        """Return the certificate of the authority that signs now, made at first use."""
        return (await self._signing())[1]

    async def signer(self, generation: int = 1) -> CertificateSigner:
        """Return the signing key of a generation of the authority."""
        found = self._opened.get(generation)
        if found is None:
            found = self._opened[generation] = await self._signers(generation)
        return found

    async def rotate_authority(
        self, *, actor: str, overlap_s: float = AUTHORITY_OVERLAP_S
    ) -> CertificateInfo:
        """Make a new authority; it is trusted from now on and signs after `overlap_s`."""
        await self.authority()
        for _ in range(_TRIES):
            made = await self._new_authority(actor=actor, after_s=overlap_s)
            if made is not None:
                return _info(made)
        raise errors.key_not_usable("the authority's certificate cannot be kept")

    async def trust(self) -> Trust:
        """Return the authorities that are trusted now, and what they issued but is revoked.

        Raises:
            StrongroomError: `key_not_usable` when an authority's certificate was exchanged.
        """
        signing, _ = await self._signing()
        now = self._clock.now()
        used = await records.used_issuers(self._database, at=now)
        trusted = [signing]
        for one in await records.authorities(self._database, at=now):
            if one.version > signing.version or (
                one.version < signing.version and one.version in used
            ):
                (await self.signer(one.version)).checked(one.certificate)
                trusted.append(one)
        ended = await records.revoked(
            self._database, at=now - BACKDATED, limit=REVOKED_CERTIFICATES_MAX
        )
        if len(ended) >= REVOKED_CERTIFICATES_MAX:
            raise errors.key_not_usable("more certificates are revoked than can be looked through")
        return Trust(
            authorities=tuple(one.certificate for one in trusted), revoked=frozenset(ended)
        )

    async def _signing(self) -> tuple[StoredCertificate, x509.Certificate]:
        for _ in range(_TRIES):
            now = self._clock.now()
            for one in await records.authorities(self._database, at=now):
                if one.signs_from is None or one.signs_from <= now:
                    return one, (await self.signer(one.version)).checked(one.certificate)
            await self._new_authority(actor="strongroom", after_s=0)
        raise errors.key_not_usable("the authority's certificate cannot be kept")

    async def _new_authority(self, *, actor: str, after_s: float) -> StoredCertificate | None:
        newest = await records.newest(self._database)
        generation = 1 if newest is None else newest.version + 1
        now = self._clock.now()
        made = (await self.signer(generation)).authority(now)
        stored = self._stored(made, AUTHORITY, generation, actor=actor)
        stored = msgspec.structs.replace(stored, signs_from=now + timedelta(seconds=after_s))
        return stored if await self._keep(stored, method="authority") else None

    # --- certificates ---

    async def issue(
        self, role: str, *, actor: str, days: int = 0, life: timedelta | None = None
    ) -> Issued:
        """Issue a certificate with a fresh key to a service, for whole days or a given life.

        Raises:
            StrongroomError: `certificate_request_invalid`, `key_not_usable`.
        """
        life = life or timedelta(days=days)
        if not is_service(role) or not timedelta(0) < life <= timedelta(days=CERTIFICATE_DAYS_MAX):
            raise errors.certificate_request_invalid(CERTIFICATE_DAYS_MAX)
        authority, shown = await self._signing()
        signer = await self.signer(authority.version)
        made, key = signer.sign(role, authority=shown, now=self._clock.now(), life=life)
        await self._list(made, role, issuer=authority.version, actor=actor, method="issue")
        trusted = (await self.trust()).authorities
        return Issued(
            serial=serial_of(made).hex(),
            spiffe_id=spiffe_id(self.domain, role),
            expires_at=made.not_valid_after_utc,
            certificate=pem(made),
            authority=pem_of(trusted),
            key=key,
        )

    async def certify(
        self,
        service: str,
        request: bytes,
        *,
        life: timedelta,
        actor: str,
        method: str,
        use: Use | None = None,
        renews: UUID | None = None,
    ) -> Signed:
        """Issue a certificate for the key of a request; `use` adds a claim to the same commit.

        `renews` is the certificate that proved who asks.

        Raises:
            StrongroomError: `certificate_request_refused`; `join_refused` when the claim is lost.
        """
        key = key_of_request(request)
        authority, shown = await self._signing()
        signer = await self.signer(authority.version)
        made = signer.certify(service, key, authority=shown, now=self._clock.now(), life=life)
        await self._list(
            made,
            service,
            issuer=authority.version,
            actor=actor,
            method=method,
            use=use,
            renews=renews,
        )
        return Signed(
            spiffe_id=spiffe_id(self.domain, service),
            certificate=made.public_bytes(Encoding.DER),
            authorities=(await self.trust()).authorities,
        )

    async def find(self, certificate: bytes) -> StoredCertificate | None:
        """Return what is kept of a certificate (DER) if it was issued here, byte for byte."""
        try:
            serial = serial_of(x509.load_der_x509_certificate(certificate))
        except ValueError:
            return None
        found = await records.by_serial(self._database, serial)
        return found if found is not None and found.certificate == certificate else None

    async def inventory(self, *, ended: bool = False) -> list[CertificateInfo]:
        """Return the certificates that are good, `ended` ones too; the authorities first."""
        return await listed(self._database, clock=self._clock, ended=ended)

    # --- revocation ---

    async def revoke(self, serial: str, *, actor: str, reason: str) -> list[CertificateInfo]:
        """End one certificate and what was renewed from it; an authority's ends all it issued.

        Raises:
            StrongroomError: `certificate_not_found`.
        """
        try:
            number = bytes.fromhex(serial)
        except ValueError:
            raise errors.certificate_not_found() from None
        found = await records.by_serial(self._database, number)
        if found is None:
            raise errors.certificate_not_found()
        return [_info(one) for one in await self._ending.one(found, actor=actor, reason=reason)]

    async def revoke_service(
        self, service: str, *, actor: str, reason: str
    ) -> list[CertificateInfo]:
        """End every certificate of a service, its way back and its join tokens.

        Returns the certificates that were still good.

        Raises:
            StrongroomError: `certificate_not_found` when there was nothing to end.
        """
        ended = await self._ending.service(service, actor=actor, reason=reason)
        return [_info(one) for one in ended]

    # --- keeping ---

    async def _list(
        self,
        made: x509.Certificate,
        service: str,
        *,
        issuer: int,
        actor: str,
        method: str,
        use: Use | None = None,
        renews: UUID | None = None,
    ) -> None:
        for _ in range(_TRIES):
            newest = await records.newest(self._database, service)
            version = 1 if newest is None else newest.version + 1
            stored = self._stored(made, service, version, actor=actor)
            stored = msgspec.structs.replace(stored, issuer=issuer, renews=renews)
            if await self._keep(stored, method=method, use=use):
                return
        raise errors.key_not_usable("the certificate cannot be kept")

    async def _keep(
        self, stored: StoredCertificate, *, method: str, use: Use | None = None
    ) -> bool:
        change = Change()
        if use is not None:
            use(change)
        records.add(change, stored, claim=use is None)
        entry = Entry(
            action="keys:certificate:issue",
            subject=stored.spiffe_id,
            outcome="success",
            merchant=None,
            actor=stored.issued_by,
            facts={
                "role": stored.role,
                "serial": in_letters(stored.serial_number),
                "expires_at": rfc3339_ms(stored.not_after),
                "algorithm": _ALGORITHM,
                "method": method,
            },
        )
        record(change, entry, at=self._clock.now())
        try:
            verdict = await self._committer.submit(change)
        except ConstraintViolated as violated:
            if violated.constraint == "certificate_one_version":
                return False
            raise
        if verdict is not Verdict.COMMITTED and use is not None:
            raise errors.join_refused("used meanwhile")
        return verdict is Verdict.COMMITTED

    def _stored(
        self, made: x509.Certificate, role: str, version: int, *, actor: str
    ) -> StoredCertificate:
        return StoredCertificate(
            id=new_uuid7(),
            role=role,
            version=version,
            serial_number=serial_of(made),
            spiffe_id=spiffe_id(self.domain, role),
            not_before=made.not_valid_before_utc,
            not_after=made.not_valid_after_utc,
            certificate=made.public_bytes(Encoding.DER),
            issued_by=actor,
        )


async def listed(
    database: Database,
    *,
    clock: Clock | None = None,
    ended: bool = False,
    life_min: timedelta = timedelta(0),
) -> list[CertificateInfo]:
    """Return certificates with their expiry, the authorities first; opens no key.

    Only what is good now unless `ended` is asked for too, only what was made for `life_min`.
    """
    now = (clock or SystemClock()).now()
    after = now - timedelta(days=CERTIFICATE_DAYS_MAX) if ended else now
    found = await records.certificates(database, limit=_LISTED_MAX, after=after, life_min=life_min)
    return [_info(one) for one in found if ended or one.revoked_at is None]


def _info(one: StoredCertificate) -> CertificateInfo:
    return CertificateInfo(
        serial=one.serial_number.hex(),
        role=one.role,
        spiffe_id=one.spiffe_id,
        algorithm=_ALGORITHM,
        not_before=one.not_before,
        expires_at=one.not_after,
        issued_by=one.issued_by,
        revoked_at=one.revoked_at,
        signs_from=one.signs_from,
    )
