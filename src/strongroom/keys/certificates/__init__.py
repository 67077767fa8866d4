"""Certificates of services: a small authority, join tokens, renewal, revocation, inventory.

ECDSA P-256, SPIFFE X.509-SVIDs. The authority's key is a service key, sealed under the root like
every other; what it issues names a service by SPIFFE id, lives for an hour unless somebody asked
for days, and is listed with its expiry. The key of a certificate stays with its holder.
"""

from strongroom.keys.certificates.chains import serial_numbers, verified_chain
from strongroom.keys.certificates.flow import Certificates, listed
from strongroom.keys.certificates.joining import Joining, ReadToken, read_token
from strongroom.keys.certificates.model import (
    PROCESS_ROLES,
    CertificateInfo,
    Issued,
    JoinToken,
    ProcessRole,
    Signed,
    Trust,
    service_of,
    spiffe_id,
    trust_domain,
)
from strongroom.keys.certificates.requests import (
    Own,
    expiry_of,
    files_of,
    key_id_of,
    make_request,
    pem_of,
    read_own,
    sign_return,
    thumbprint,
)

__all__ = [
    "PROCESS_ROLES",
    "CertificateInfo",
    "Certificates",
    "Issued",
    "JoinToken",
    "Joining",
    "Own",
    "ProcessRole",
    "ReadToken",
    "Signed",
    "Trust",
    "expiry_of",
    "files_of",
    "key_id_of",
    "listed",
    "make_request",
    "pem_of",
    "read_own",
    "read_token",
    "serial_numbers",
    "service_of",
    "sign_return",
    "spiffe_id",
    "thumbprint",
    "trust_domain",
    "verified_chain",
]
