"""What a finished handshake verified: the chain of certificates, and their serial numbers.

Revocation is by serial number and never by a hash of the whole certificate. The number is signed;
the signature itself is not: with an ECDSA signature (r, s) anybody can make (r, -s), which is good
too, and the certificate then has another hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

SERIAL_BYTES = 20
"""A serial number has 20 bytes at most (RFC 5280 4.1.2.2)."""


def verified_chain(connection: Any) -> list[bytes]:
    """Return the chain that OpenSSL verified, leaf first; Python 3.13 shows it openly.

    Raises:
        ValueError: one of them cannot be read.
    """
    shown = getattr(connection, "get_verified_chain", None)
    if shown is not None:
        return [bytes(one) for one in shown()]
    inner = getattr(connection, "_sslobj", None)
    found = None if inner is None else inner.get_verified_chain()
    pems = [one.public_bytes().encode("ascii") for one in found or ()]
    return [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems]


def serial_numbers(chain: Iterable[bytes]) -> frozenset[bytes]:
    """Return the serial numbers of certificates (DER), as revocations name them.

    Raises:
        ValueError: one is no certificate, or has a number that RFC 5280 forbids.
    """
    return frozenset(serial_of(x509.load_der_x509_certificate(one)) for one in chain)


def serial_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate's serial number.

    Raises:
        ValueError: it is one that RFC 5280 forbids.
    """
    try:
        return certificate.serial_number.to_bytes(SERIAL_BYTES, "big")
    except OverflowError:
        raise ValueError("a serial number that RFC 5280 forbids") from None
