"""What `doctor` looks at on this machine: Python, files, memory, clock, disk, gateways."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import socket
import ssl
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from strongroom.app import Settings
from strongroom.app.roots import open_roots
from strongroom.cli.model import Finding, fail, ok, warn
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import harden_process, key_pages
from strongroom.keys.roots import files_of, provider_of

_OLDEST_PYTHON = (3, 11)
_RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
_DISK_LOW_BYTES = 2 * 1024**3
_DISK_FULL_BYTES = 128 * 1024**2
_CLOCK_SAMPLE_S = 0.2
_CLOCK_DRIFT_MAX_S = 0.05
_CONNECT_TIMEOUT_S = 3
_GIB = 1024**3
_MEND_ROOT = {
    "root_unavailable": "Start its provider; look at it with: strongroom doctor hsm",
    "root_access_denied": "Replace the PIN or token file; see docs/operations/roots.md.",
    "root_key_refused": "See docs/operations/roots.md; never make a new root in its place.",
    "root_misconfigured": "See docs/operations/settings.md.",
}
_MAY_BE_READ = {"journal.witness", "sandbox.port"}
"""Files without secrets: a signed statement that is public, and a number."""


def programs() -> Iterator[Finding]:
    """Check Python and the libraries."""
    version = sys.version.split(" ")[0]
    if sys.version_info >= _OLDEST_PYTHON:
        yield ok("python", version)
    else:
        yield fail("python", version, "Install Python 3.11 or newer.")
    missing = []
    for line in importlib.metadata.requires("strongroom") or ():
        name = line.split(";")[0].split(">")[0].strip()
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield fail("libraries", f"missing: {', '.join(missing)}", "Run: make install")
    else:
        yield ok("libraries", "all there")


def memory() -> Iterator[Finding]:
    """Check that keys cannot end in a core dump."""
    hardened = harden_process()
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        yield fail("core dumps", "they cannot be switched off", "Set: ulimit -c 0")
    elif not hardened:
        yield warn(
            "core dumps", "off; tracing by the same user cannot be forbidden here", "Run on Linux."
        )
    else:
        yield ok("core dumps", "off, and no tracing by the same user")
    protection = key_pages()
    if protection == "none":
        yield warn("key pages", "plain memory: no page can be locked", "Raise: ulimit -l 8192")
    else:
        yield ok("key pages", f"{protection}: not dumped, not swapped, zeroed after use")


def clock() -> Iterator[Finding]:
    """Check that wall clock and monotonic clock agree, and that the date is not before ours."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(_CLOCK_SAMPLE_S)
    drift = abs((time.time() - wall) - (time.monotonic() - steady))
    now = datetime.now(UTC)
    if now < _RELEASED:
        yield fail("clock", f"it says {now:%Y-%m-%d}", "Set the clock; use NTP (PCI DSS 10.6).")
    elif drift > _CLOCK_DRIFT_MAX_S:
        yield warn("clock", f"it jumps ({drift:.3f} s)", "Use NTP that slews instead of stepping.")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, steady")


def disk(data_dir: Path) -> Iterator[Finding]:
    """Check free space."""
    free = shutil.disk_usage(data_dir).free
    told = f"{free / _GIB:.1f} GiB free"
    if free < _DISK_FULL_BYTES:
        yield fail("disk", told, "Free space now: writes are about to be refused.")
    elif free < _DISK_LOW_BYTES:
        yield warn("disk", told, "Free space, or move the data directory.")
    else:
        yield ok("disk", told)


def permissions(settings: Settings) -> Iterator[Finding]:
    """Check that nobody else can read or change what is kept in files."""
    directory = settings.data_dir
    named = [n for spec in (settings.root_spec, *settings.former_roots) for n in files_of(spec)]
    for gateway in settings.gateways:
        named += [gateway.secret_file, *gateway.webhook_secret_files]
    paths = {settings.path(name) for name in named if name}
    paths |= {p for p in directory.iterdir() if p.is_file() and p.name not in _MAY_BE_READ}
    faults = [fault for path in sorted(paths) if (fault := _open_to_others(path))]
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        faults.append(
            fail("permissions", f"{directory} can be entered by others", f"chmod 700 {directory}")
        )
    yield from faults
    if not faults:
        yield ok("permissions", f"{directory} and its secrets are for their owner only")


def _open_to_others(path: Path) -> Finding | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return fail("permissions", f"{path}: {error.strerror}", "Restore it from a backup.")
    if mode & 0o077:
        told = f"{path} has mode {mode:04o}"
        return fail("permissions", told, f"chmod 600 {path}; if others had access, replace it")
    if path.stat().st_uid not in (os.geteuid(), 0):
        return warn("permissions", f"{path} is another user's", "Run as the owner of the data.")
    return None


def root(settings: Settings) -> Iterator[Finding]:
    """Check that the root of all keys opens, and the former ones that may still unwrap."""
    try:
        opened = open_roots(settings)
    except StrongroomError as error:
        told = f"{error.public} ({error.code}{' ' + error.detail if error.detail else ''})"
        yield fail("root", told, _MEND_ROOT.get(error.code, "Bring root and key from a backup."))
        return
    opened.close()
    yield ok("root", f"{opened.current.id} opens ({provider_of(settings.root_spec)})")
    for former, spec in zip(opened.former, settings.former_roots, strict=True):
        told = f"{former.id} opens ({provider_of(spec)}) and only unwraps"
        yield warn("former root", told, "See docs/operations/root-migration.md.")


def gateways(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Check that each gateway's address can be reached; no call is made."""
    if not settings.gateways:
        yield warn("gateways", "there is none", "Name one in strongroom.toml ([[gateways]]).")
    for gateway in settings.gateways:
        check, told = f"gateway {gateway.name}", gateway.base_url
        fault = _unreachable(gateway.base_url)
        if not fault:
            yield ok(check, f"{told} can be reached")
        elif gateway.connector == "sandbox" and not running:
            yield warn(check, f"{told} does not run", "It runs with: strongroom up")
        else:
            yield fail(check, f"{told} cannot be reached: {fault}", "Check address and firewall.")


def _unreachable(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        plain = socket.create_connection((parts.hostname or "", port), _CONNECT_TIMEOUT_S)
        with plain:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                context.wrap_socket(plain, server_hostname=parts.hostname).close()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return ""


def service(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Ask the running service whether it takes traffic."""
    if not running or not settings.public_url:
        yield ok("service", "not running here")
        return
    url = f"{settings.public_url}/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S):  # noqa: S310 (our settings)
            yield ok("service", f"{settings.public_url} is ready")
    except urllib.error.HTTPError as error:
        error.close()
        yield fail("service", f"{url} answers {error.code}", f"Read {url} and the findings here.")
    except (OSError, ValueError) as error:
        told = f"{url} does not answer: {type(error).__name__}"
        yield warn("service", told, "Check public_url in strongroom.toml, or wait for the start.")
