"""The holder's side of certificates: a key of its own, a request, what its files say.

The key never leaves the process that made it. A request is PKCS#10: it proves that whoever asks
holds the key; nothing else in it is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.certificates.model import BACKDATED

REQUEST_MAX_BYTES = 2_048
"""A P-256 request has about 250 bytes."""

_RETURN = b"strongroom return 1\x00"


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What a process may know of its own certificate."""

    spiffe_id: str
    der: bytes
    issuer_key_id: bytes
    not_before: datetime
    expires_at: datetime

    @property
    def renew_at(self) -> datetime:
        """Half of its life."""
        return self.expires_at - (self.expires_at - self.not_before - BACKDATED) / 2


def make_request(service: str) -> tuple[Secret[str], bytes]:
    """Return a new P-256 key as PEM, and a request for its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Strongroom {service}")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    made = request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secret(pem.decode()), made


def key_of_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a request whose sender proved to hold it.

    Raises:
        StrongroomError: `certificate_request_refused`.
    """
    if len(data) > REQUEST_MAX_BYTES:
        raise errors.certificate_request_refused("too large")
    try:
        request = x509.load_der_x509_csr(data)
        key = request.public_key()
        good = request.is_signature_valid
    except Exception as error:  # noqa: BLE001 (whatever a hostile request makes parsers say)
        raise errors.certificate_request_refused(type(error).__name__) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise errors.certificate_request_refused("not a P-256 key")
    if not good:
        raise errors.certificate_request_refused("the signature is wrong")
    return key


def sign_return(key: Secret[str], *, challenge: bytes, request: bytes) -> bytes:
    """Return the proof that the holder of an expired certificate's key asks for a new one."""
    loaded = load_pem_private_key(key.reveal().encode(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise errors.certificate_request_refused("not a P-256 key")
    return loaded.sign(_returning(challenge, request), ec.ECDSA(hashes.SHA256()))


def proves_return(
    certificate: bytes, signature: bytes, *, challenge: bytes, request: bytes
) -> bool:
    """Whether a signature was made with the key of a certificate for this challenge."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, _returning(challenge, request), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _returning(challenge: bytes, request: bytes) -> bytes:
    return _RETURN + hashlib.sha256(challenge).digest() + hashlib.sha256(request).digest()


def read_own(pem: str) -> Own:
    """Return what a process's own certificate says.

    Raises:
        ValueError: it is no certificate, or has no SPIFFE id.
    """
    found = x509.load_pem_x509_certificate(pem.encode())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    issuer = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if len(uris) != 1 or issuer.key_identifier is None:
        raise ValueError("not a certificate of a workload")
    return Own(
        spiffe_id=uris[0],
        der=found.public_bytes(Encoding.DER),
        issuer_key_id=issuer.key_identifier,
        not_before=found.not_valid_before_utc,
        expires_at=found.not_valid_after_utc,
    )


def key_id_of(authority: bytes) -> bytes:
    """Return the key identifier of an authority's certificate (DER)."""
    found = x509.load_der_x509_certificate(authority)
    return found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def expiry_of(certificate: bytes) -> datetime:
    """Return until when a certificate (DER) is good."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def pem_of(certificates: tuple[bytes, ...]) -> str:
    """Return certificates (DER) as one PEM text."""
    return "".join(
        x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM).decode()
        for one in certificates
    )


def thumbprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of a certificate's DER form (RFC 8705 `x5t#S256`)."""
    return hashlib.sha256(certificate).digest()


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """What a process's files must hold, as PEM."""

    certificate: str
    authorities: str
    key: Secret[str]


def files_of(
    chain: Iterable[x509.Certificate],
    authorities: Iterable[x509.Certificate],
    key: PrivateKeyTypes,
) -> Files:
    """Return as PEM what another library handed over as objects."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Files(
        certificate="".join(one.public_bytes(Encoding.PEM).decode() for one in chain),
        authorities="".join(sorted(one.public_bytes(Encoding.PEM).decode() for one in authorities)),
        key=Secret(pem.decode()),
    )
