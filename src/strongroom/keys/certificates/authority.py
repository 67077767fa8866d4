"""The signing side of the authority: its key from the sealed seed, X.509 built strictly.

The key is an ECDSA P-256 key made from the 32-byte service key by HKDF to 48 bytes, reduced into
the group's order: FIPS 186-5 A.2.1, extra random bits, so that no value is likelier than another.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.certificates.model import (
    AUTHORITY,
    BACKDATED,
    VAULT,
    spiffe_id,
    trust_domain,
)
from strongroom.keys.custody import Custody
from strongroom.keys.foundation import service_key
from strongroom.keys.model import Mode

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's group (SP 800-186 section 3.2.1.3)."""

PURPOSE = "certificate-authority"
_SCALAR_BYTES = 48
_INFO = b"strongroom certificate authority 1"
AUTHORITY_LIFE = timedelta(days=5 * 365)


class CertificateSigner:
    """Signs certificates; the key never comes out."""

    __slots__ = ("_domain", "_key", "_name")

    def __init__(self, seed: Secret[bytes], *, domain: str, generation: int = 1) -> None:
        wide = HKDF(hashes.SHA256(), _SCALAR_BYTES, salt=None, info=_INFO).derive(seed.reveal())
        scalar = int.from_bytes(wide, "big") % (_ORDER - 1) + 1
        self._key = ec.derive_private_key(scalar, ec.SECP256R1())
        self._domain = domain
        number = "" if generation == 1 else f" {generation}"
        self._name = _name(f"Strongroom authority{number}")

    @property
    def domain(self) -> str:
        """The trust domain it signs for."""
        return self._domain

    def authority(self, now: datetime) -> x509.Certificate:
        """Return a new self-signed certificate of the authority."""
        usage = _usage(key_cert_sign=True, crl_sign=True)
        builder = (
            _begun(self._name, spiffe_id(self._domain, AUTHORITY))
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(self._subject_key_id(), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())

    def sign(
        self, role: str, *, authority: x509.Certificate, now: datetime, life: timedelta
    ) -> tuple[x509.Certificate, Secret[str]]:
        """Return a new certificate for a service, and its key as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certify(role, key.public_key(), authority=authority, now=now, life=life)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate, Secret(pem.decode())

    def certify(
        self,
        role: str,
        key: ec.EllipticCurvePublicKey,
        *,
        authority: x509.Certificate,
        now: datetime,
        life: timedelta,
    ) -> x509.Certificate:
        """Return a new certificate for a service whose key is its own.

        The subject is never the authority's, or OpenSSL would take it for self-signed; and as it
        is not empty the alternative name must not be critical (RFC 5280 4.2.1.6).
        """
        purpose = (
            ExtendedKeyUsageOID.SERVER_AUTH if role == VAULT else ExtendedKeyUsageOID.CLIENT_AUTH
        )
        until = min(now + life, authority.not_valid_after_utc)
        return (
            _begun(_name(f"Strongroom {role}"), spiffe_id(self._domain, role))
            .issuer_name(authority.subject)
            .public_key(key)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    self._subject_key_id()
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )

    def checked(self, stored: bytes) -> x509.Certificate:
        """Return the stored certificate of the authority.

        Raises:
            StrongroomError: `key_not_usable` when it is not of this key: it was exchanged.
        """
        found = x509.load_der_x509_certificate(stored)
        if found.public_key() != self._key.public_key():
            raise errors.key_not_usable("the authority's certificate does not fit its key")
        return found

    def _subject_key_id(self) -> x509.SubjectKeyIdentifier:
        return x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())


async def signer_of(custody: Custody, generation: int, *, mode: Mode) -> CertificateSigner:
    """Return the key of a generation of the authority, made at first use."""
    purpose = PURPOSE if generation == 1 else f"{PURPOSE}-{generation}"
    seed = await service_key(custody, purpose, kek_purpose="audit", algorithm="ES256")
    opened = await custody.open(seed)
    domain = trust_domain(custody.installation, mode)
    return CertificateSigner(opened, domain=domain, generation=generation)


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def _begun(subject: x509.Name, uri: str) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(x509.random_serial_number())
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
