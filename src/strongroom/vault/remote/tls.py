"""TLS between a vault and its callers: 1.3 only, both sides proven, identity by SPIFFE id.

The chain is checked by the TLS library against the installation's own authority and no other;
then the one URI in the certificate must be `spiffe://<trust domain>/svc/<role>`, exactly. Names of
hosts mean nothing here. No resumption: each connection proves itself anew.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from strongroom.keys.certificates import serial_numbers, service_of, verified_chain
from strongroom.vault.remote import errors

ALPN = "strongroom-vault/1"
JOIN_ALPN = "strongroom-join/1"


class PeerRefused(Exception):
    """The other side is not who it must be; `name` is what its certificate calls it."""

    def __init__(self, reason: str, name: str = "unknown") -> None:
        super().__init__(reason)
        self.reason = reason
        self.name = name


class Files(msgspec.Struct, frozen=True):
    """Where a process finds its certificate, its key and the authority it trusts."""

    authority: Path
    certificate: Path
    key: Path

    def stamp(self) -> tuple[int, ...]:
        """Return what changes when a file is renewed."""
        return tuple(
            found
            for path in (self.authority, self.certificate, self.key)
            for found in (path.stat().st_mtime_ns, path.stat().st_ino)
        )


class Peer(msgspec.Struct, frozen=True):
    """Who is on the other side; `serials` are of its certificate and of who issued that."""

    name: str
    role: str
    until: datetime
    serials: frozenset[bytes] = frozenset()

    def seconds_left(self) -> float:
        """Return how long its certificate is still good."""
        return max(0.0, (self.until - datetime.now(UTC)).total_seconds())


def server_context(files: Files) -> ssl.SSLContext:
    """Return what a vault listens with.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.num_tickets = 0
    return context


def client_context(files: Files) -> ssl.SSLContext:
    """Return what a caller connects with.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, files)


def joining_server_context(files: Files) -> ssl.SSLContext:
    """Return what a vault gives certificates with: who has one already may show it.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files, alpn=JOIN_ALPN)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0
    return context


def joining_client_context(authorities: str, *, own: Files | None = None) -> ssl.SSLContext:
    """Return what a service asks for a certificate with, trusting these authorities (PEM).

    Raises:
        StrongroomError: `certificate_unusable`.
    """
    context = _strict(ssl.PROTOCOL_TLS_CLIENT, JOIN_ALPN)
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError:
        raise errors.certificate_unusable("the vault's authority", "no PEM") from None
    if own is not None:
        _load_own(context, own)
    return context


def looking_context() -> ssl.SSLContext:
    """Return what asks an unknown vault for its authorities, which are then compared with pins.

    Nothing is believed and no secret is sent on such a connection.
    """
    context = _strict(ssl.PROTOCOL_TLS_CLIENT, JOIN_ALPN)
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_of(
    connection: Any, trust_domain: str, *, role: str | None = None, alpn: str = ALPN
) -> Peer:
    """Return who is on the other side of a finished handshake.

    Raises:
        PeerRefused: no certificate, more or less than one SPIFFE id, another trust domain or role.
    """
    if connection is None or connection.version() != "TLSv1.3":
        raise PeerRefused("plaintext")
    if connection.selected_alpn_protocol() != alpn:
        raise PeerRefused("protocol")
    certificate = connection.getpeercert()
    if not certificate:
        raise PeerRefused("no_certificate")
    names = certificate.get("subjectAltName", ())
    if len(names) != 1 or names[0][0] != "URI":
        raise PeerRefused("spiffe_id")
    name = str(names[0][1])
    found = service_of(name, trust_domain)
    if found is None:
        raise PeerRefused("trust_domain", name[:200])
    if role is not None and found != role:
        raise PeerRefused("role", name)
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    try:
        serials = serial_numbers(verified_chain(connection))
    except ValueError:
        raise PeerRefused("serial", name) from None
    return Peer(name, found, until, serials)


def _context(protocol: ssl._SSLMethod, files: Files, *, alpn: str = ALPN) -> ssl.SSLContext:
    context = _strict(protocol, alpn)
    with _translated(files.authority):
        context.load_verify_locations(files.authority)
    _load_own(context, files)
    return context


def _strict(protocol: ssl._SSLMethod, alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.set_alpn_protocols([alpn])
    return context


def _load_own(context: ssl.SSLContext, files: Files) -> None:
    _refuse_open(files.key)
    with _translated(files.certificate):
        context.load_cert_chain(files.certificate, files.key)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        problem = f"cannot be used: {error.reason or 'no PEM'}"
        raise errors.certificate_unusable(str(path), problem) from None
    except OSError as error:
        raise errors.certificate_unusable(str(path), f"{error.strerror}") from None


def _refuse_open(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise errors.certificate_unusable(str(key), f"{error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise errors.certificate_unusable(str(key), "may be read by others")
