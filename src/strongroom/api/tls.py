"""TLS that we serve: 1.3, or 1.2 with AEAD by a setting; files are read anew when they change.

Client certificates are asked for, never demanded. One that does not verify ends the handshake; one
that does becomes a `Peer`. Its SPIFFE id counts only when the chain that OpenSSL verified ends at
our own authority of workloads: other authorities may write any name into a certificate.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from strongroom.api import errors
from strongroom.identity import Peer
from strongroom.kernel.edge_limits import TLS_FILES_LOOK_S
from strongroom.kernel.errors import StrongroomError
from strongroom.keys.certificates import serial_numbers, verified_chain

_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]{1,255}){1,16}")
_SPIFFE_ID_MAX_CHARS = 2_048
_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_log = logging.getLogger("strongroom.tls")


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where certificate, key and the authorities of client certificates are."""

    certificate: Path
    key: Path
    client_authorities: tuple[Path, ...] = ()
    workload_authority: Path | None = None
    allow_tls12: bool = False

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Every file with authorities whose client certificates verify."""
        own = () if self.workload_authority is None else (self.workload_authority,)
        return (*self.client_authorities, *own)

    def stamp(self) -> tuple[int, ...]:
        """Return what changes when a file is renewed."""
        found = [path.stat() for path in (self.certificate, self.key, *self.authorities)]
        return tuple(part for one in found for part in (one.st_mtime_ns, one.st_ino))


class Serving(msgspec.Struct, frozen=True):
    """What new connections are served with; `workloads` are our authority's certificates (DER)."""

    context: ssl.SSLContext
    workloads: frozenset[bytes]


class Contexts:
    """Follows the files: new connections get what they hold now, established ones go on.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """

    def __init__(self, files: TlsFiles, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._monotonic = monotonic
        self._serving = serving(files)
        self._stamp = files.stamp()
        self._looked_at = monotonic()

    def current(self) -> Serving:
        """Return what to serve now; renewed files that cannot be used change nothing.

        TLS 1.2 gets a context of its own for each connection: a shared one would let a caller take
        up an earlier session without showing its certificate again, and Python cannot forbid it.
        """
        now = self._monotonic()
        if self._files.allow_tls12 or now - self._looked_at >= TLS_FILES_LOOK_S:
            self._looked_at = now
            self._renew()
        return self._serving

    def _renew(self) -> None:
        try:
            stamp = self._files.stamp()
            if stamp != self._stamp or self._files.allow_tls12:
                self._serving = serving(self._files)
                self._stamp = stamp
        except OSError:
            return  # a file that is being replaced
        except StrongroomError as error:
            self._stamp = stamp  # told once, until the files change again
            _log.error("renewed certificate not taken: %s", error.public)


def serving(files: TlsFiles) -> Serving:
    """Return what the files say.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """
    _refuse_open(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    newest = ssl.TLSVersion.TLSv1_2 if files.allow_tls12 else ssl.TLSVersion.TLSv1_3
    context.minimum_version = newest
    context.set_ciphers(_TLS12_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0  # each connection proves itself anew: certificates are revoked
    with _translated(files.certificate):
        context.load_cert_chain(files.certificate, files.key)
    for path in files.authorities:
        with _translated(path):
            context.load_verify_locations(path)
    if files.authorities:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    own = files.workload_authority
    return Serving(context, frozenset() if own is None else _certificates(own))


def peer_of(connection: Any, workloads: frozenset[bytes]) -> Peer | None:
    """Return whose certificate a finished handshake proved; None without a verified one."""
    certificate = None if connection is None else connection.getpeercert(binary_form=True)
    if not certificate:
        return None
    try:
        chain = verified_chain(connection)
    except ValueError:
        return None
    if not chain or chain[0] != certificate:
        return None
    spiffe_id, serials = None, frozenset[bytes]()
    if chain[-1] in workloads and len(chain) > 1:
        with contextlib.suppress(ValueError):
            serials = serial_numbers(chain)
            spiffe_id = _spiffe_id(connection.getpeercert())
    return Peer(
        thumbprint=hashlib.sha256(certificate).digest(),
        spiffe_id=spiffe_id,
        certificate=certificate,
        serials=serials,
    )


def seconds_left(connection: Any) -> float | None:
    """Return how long the caller's certificate is still good; None when it showed none."""
    shown = None if connection is None else connection.getpeercert()
    if not shown:
        return None
    return max(0.0, ssl.cert_time_to_seconds(shown["notAfter"]) - time.time())


def _spiffe_id(certificate: dict[str, Any]) -> str | None:
    """Return the one URI name of a certificate, if it is a SPIFFE id in canonical form."""
    uris = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1 or len(uris[0]) > _SPIFFE_ID_MAX_CHARS or not _SPIFFE_ID.fullmatch(uris[0]):
        return None
    return None if {".", ".."} & set(uris[0].split("/")) else uris[0]


def _certificates(path: Path) -> frozenset[bytes]:
    with _translated(path):
        return frozenset(map(ssl.PEM_cert_to_DER_cert, _PEM.findall(path.read_text("ascii"))))


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        problem = f"cannot be used: {error.reason or 'no PEM'}"
        raise errors.certificate_unusable(str(path), problem) from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "is no PEM file"
        raise errors.certificate_unusable(str(path), problem) from None


def _refuse_open(key: Path) -> None:
    with _translated(key):
        mode = key.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise errors.certificate_unusable(str(key), "may be read by others; run: chmod 600")
