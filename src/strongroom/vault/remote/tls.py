"""TLS between a vault and its callers: 1.3 only, both sides proven, identity by SPIFFE id.

The chain is checked by the TLS library against the installation's own authority and no other;
then the one URI in the certificate must be `spiffe://<trust domain>/svc/<role>`, exactly. Names of
hosts mean nothing here. No resumption: each connection proves itself anew.
"""

from __future__ import annotations

import re
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from strongroom.vault.remote import errors

ALPN = "strongroom-vault/1"
_ROLE = re.compile(r"/svc/([a-z]{1,20})")


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
    """Who is on the other side."""

    name: str
    role: str
    until: datetime

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


def peer_of(connection: Any, trust_domain: str, *, role: str | None = None) -> Peer:
    """Return who is on the other side of a finished handshake.

    Raises:
        PeerRefused: no certificate, more or less than one SPIFFE id, another trust domain or role.
    """
    if connection is None or connection.version() != "TLSv1.3":
        raise PeerRefused("plaintext")
    if connection.selected_alpn_protocol() != ALPN:
        raise PeerRefused("protocol")
    certificate = connection.getpeercert()
    if not certificate:
        raise PeerRefused("no_certificate")
    names = certificate.get("subjectAltName", ())
    if len(names) != 1 or names[0][0] != "URI":
        raise PeerRefused("spiffe_id")
    name = str(names[0][1])
    path = name.removeprefix(f"spiffe://{trust_domain}")
    found = _ROLE.fullmatch(path) if path != name else None
    if found is None:
        raise PeerRefused("trust_domain", name[:200])
    if role is not None and found[1] != role:
        raise PeerRefused("role", name)
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    return Peer(name, found[1], until)


def _context(protocol: ssl._SSLMethod, files: Files) -> ssl.SSLContext:
    _refuse_open(files.key)
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.set_alpn_protocols([ALPN])
    with _translated(files.authority):
        context.load_verify_locations(files.authority)
    with _translated(files.certificate):
        context.load_cert_chain(files.certificate, files.key)
    return context


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
