"""Certificates of the installation's own processes: a small authority, issue, inventory.

ECDSA P-256. The authority's key is a service key, sealed under the root like every other; what it
issues names a role by SPIFFE id, is good for 90 days at most, and is listed with its expiry.
"""

from strongroom.keys.certificates.flow import Certificates, listed
from strongroom.keys.certificates.model import (
    PROCESS_ROLES,
    CertificateInfo,
    Issued,
    ProcessRole,
    trust_domain,
)

__all__ = [
    "PROCESS_ROLES",
    "CertificateInfo",
    "Certificates",
    "Issued",
    "ProcessRole",
    "listed",
    "trust_domain",
]
