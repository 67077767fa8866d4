"""Keeps a process's certificate good: gets the first, renews it at half life, follows trust.

Processes that share a directory take turns by a lock on it. Files are replaced whole and in an
order in which every moment is usable: listeners and callers take renewed ones by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from strongroom.app.settings import Settings, VaultListener, address_of, write_private
from strongroom.app.workload_settings import Workload
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import CERTIFICATE_WARN_SHARE
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import (
    Certificates,
    Own,
    Signed,
    Trust,
    key_id_of,
    make_request,
    pem_of,
    read_own,
)
from strongroom.vault.remote import Files, come_back, join, renew, trusted_at

TICK_S = 0.5
_READY_S = 60.0
_RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_WARN_EVERY_S = 60.0
_log = logging.getLogger("strongroom.certificates")


class Source(Protocol):
    """Where certificates come from."""

    async def get(self, own: Own | None, request: bytes) -> Signed:
        """Return a certificate for a request, given the one there is."""
        ...

    def wanted(self) -> bool:
        """Whether a new one should be got whatever there is."""
        ...


class Here:
    """The authority in this process: the vault certifies itself."""

    def __init__(self, certificates: Certificates, *, service: str, life_s: float) -> None:
        self._certificates = certificates
        self._service = service
        self._life = timedelta(seconds=life_s)

    async def get(self, own: Own | None, request: bytes) -> Signed:
        """Return a certificate signed here."""
        return await self._certificates.certify(
            self._service,
            request,
            life=self._life,
            actor="system:vault",
            method="join" if own is None else "renew",
        )

    def wanted(self) -> bool:
        """Nothing but time asks for a new one."""
        return False


class There:
    """The authority at the vault: a join token once, then the certificate there is."""

    def __init__(
        self, address: tuple[str, int], *, files: Files, token_file: Path, trust_domain: str
    ) -> None:
        self._address = address
        self._files = files
        self._token_file = token_file
        self._trust_domain = trust_domain

    def wanted(self) -> bool:
        """Whether somebody left a join token."""
        return self._token_file.exists()

    async def trust(self) -> Trust:
        """Return the authorities that the vault names now, to one that trusts some already."""
        host, port = self._address
        return await trusted_at(host, port, files=self._files, trust_domain=self._trust_domain)

    async def get(self, own: Own | None, request: bytes) -> Signed:
        """Return a certificate from the vault; a token is forgotten once it was shown."""
        host, port = self._address
        if self.wanted():
            return await self._joined(host, port, request)
        if own is None:
            raise StrongroomError(
                "join_token_missing", f"There is no certificate and no {self._token_file}."
            )
        with contextlib.suppress(StrongroomError):
            return await renew(
                host,
                port,
                files=self._files,
                trust_domain=self._trust_domain,
                request=request,
            )
        return await come_back(
            host,
            port,
            files=self._files,
            certificate=own.der,
            trust_domain=self._trust_domain,
            request=request,
        )

    async def _joined(self, host: str, port: int, request: bytes) -> Signed:
        try:
            token = Secret(self._token_file.read_text("utf-8"))
            made = await join(
                host, port, token=token, trust_domain=self._trust_domain, request=request
            )
        except StrongroomError as error:
            if error.code in ("join_refused", "join_token_unreadable"):
                self._token_file.unlink(missing_ok=True)
            raise
        self._token_file.unlink(missing_ok=True)
        return made


class Certified:
    """One process's certificate.

    Args:
        service: whose it is.
        files: where it lies; certificate and key may be one file, which is then replaced at once.
        source: where a new one comes from; None: it is given, and only trust is followed.
        trust: says which authorities are trusted.
    """

    def __init__(
        self,
        service: str,
        files: Files,
        source: Source | None,
        *,
        trust: Callable[[], Awaitable[Trust]],
        clock: Clock,
    ) -> None:
        self._service = service
        self._files = files
        self._source = source
        self._trust = trust
        self._clock = clock
        self._failed = 0
        self._not_before = 0.0
        self._warned_at = float("-inf")

    def own(self) -> Own | None:
        """Return what the certificate says, or None when there is none that can be read."""
        try:
            return read_own(self._files.certificate.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def seconds_left(self) -> float:
        """Return how long the certificate is still good; 0 when there is none."""
        own = self.own()
        if own is None:
            return 0.0
        return max(0.0, (own.expires_at - self._clock.now()).total_seconds())

    async def run(self, *, tick_s: float = TICK_S) -> None:
        """Keep the certificate good, forever."""
        while True:
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001 (a loop outlives any failed round)
                _log.error("certificate: %s", type(error).__name__)
            await asyncio.sleep(tick_s)

    async def step(self) -> bool:
        """Follow trust, and get a new certificate when it is time; return whether one came."""
        with _alone(self._files.authority.parent) as alone:
            if not alone:
                return False
            own = self.own()
            follows = own is not None or self._source is None
            signing = await self._follow() if follows else None
            if not self._due(own, signing) or self._clock.monotonic() < self._not_before:
                return False
            try:
                await self._get(own)
            except StrongroomError as error:
                self._note_failed(own, error)
                return False
            self._failed = 0
            return True

    async def ready(self) -> None:
        """Wait until the authorities are known here, as whoever serves by them must.

        Raises:
            StrongroomError: `certificate_unusable`: they are not, after a minute.
        """
        for _ in range(int(_READY_S / TICK_S)):
            await self.step()
            if self._files.authority.exists():
                return
            await asyncio.sleep(TICK_S)
        raise StrongroomError(
            "certificate_unusable", f"The file {self._files.authority} did not come from the vault."
        )

    async def ensure(self) -> None:
        """Get a certificate now unless there is a good one.

        Raises:
            StrongroomError: none could be got.
        """
        with _alone(self._files.authority.parent) as alone:
            own = self.own()
            usable = own is not None and self._files.key.exists()
            signing = await self._follow() if usable else None
            if alone and (not usable or self._due(own, signing)):
                await self._get(own if usable else None)

    async def _follow(self) -> bytes | None:
        """Write the trusted authorities if they changed; return the signing one's key id."""
        try:
            trust = await self._trust()
        except StrongroomError:
            return None
        text = pem_of(trust.authorities)
        with contextlib.suppress(OSError):
            if self._files.authority.read_text("utf-8") == text:
                return key_id_of(trust.authorities[0])
        write_private(self._files.authority, text)
        return key_id_of(trust.authorities[0])

    def _due(self, own: Own | None, signing: bytes | None) -> bool:
        if self._source is None:
            return False
        if own is None or self._source.wanted() or self._clock.now() >= own.renew_at:
            return True
        return signing is not None and signing != own.issuer_key_id

    async def _get(self, own: Own | None) -> None:
        if self._source is None:
            return
        key, request = make_request(self._service)
        made = await self._source.get(own, request)
        write_signed(self._files, made, key)

    def _note_failed(self, own: Own | None, error: StrongroomError) -> None:
        wait_s = _RETRY_S[min(self._failed, len(_RETRY_S) - 1)]
        self._failed += 1
        now_s = self._clock.monotonic()
        self._not_before = now_s + wait_s * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        if now_s - self._warned_at < _WARN_EVERY_S:
            return
        self._warned_at = now_s
        left = "no certificate" if own is None else f"{self.seconds_left():.0f} s left"
        say = _log.warning if own is not None and not is_late(own, self._clock) else _log.error
        say("no new certificate for %s (%s): %s %s", self._service, left, error.code, error.detail)


def is_late(own: Own, clock: Clock) -> bool:
    """Whether a certificate should have been renewed long ago: an alarm."""
    life = 2 * (own.expires_at - own.renew_at)
    return own.expires_at - clock.now() < life / CERTIFICATE_WARN_SHARE


def write_signed(files: Files, made: Signed, key: Secret[str]) -> None:
    """Replace a process's files by what was signed for it."""
    write_files(files, pem_of((made.certificate,)), key, authorities=pem_of(made.authorities))


def write_files(files: Files, certificate: str, key: Secret[str], *, authorities: str) -> None:
    """Replace a process's files: authorities, then key and certificate (one file: in one step)."""
    files.authority.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(files.authority, authorities)
    if files.key == files.certificate:
        write_private(files.certificate, key.reveal() + certificate)
        return
    write_private(files.key, key.reveal())
    write_private(files.certificate, certificate)


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Hold a directory's lock for the block; yields False when another process holds it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def caller_files(settings: Settings) -> Files:
    """Return the files of a process that calls the vault."""
    vault = settings.vault
    if vault is None:
        raise StrongroomError("settings_invalid", "strongroom.toml names no [vault].")
    return Files(
        settings.path(vault.authority), settings.path(vault.certificate), settings.path(vault.key)
    )


def listener_files(settings: Settings) -> Files:
    """Return the files of the vault's own process."""
    given = settings.vault_listener or VaultListener()
    return Files(
        settings.path(given.authority), settings.path(given.certificate), settings.path(given.key)
    )


def calling(
    settings: Settings, service: str, *, trust: Callable[[], Awaitable[Trust]], clock: Clock
) -> Certified | None:
    """Return what keeps a process's certificate, or its authorities only; None: neither.

    Where the settings name no authority the certificate is given for days by somebody. A process
    with the keys in it needs none, and follows its own authorities for those who call it.
    """
    workload = settings.workload or Workload()
    if workload.source == "spire" or service == "vault":
        return None
    if settings.vault is None:
        own = None if settings.tls is None else settings.tls.workload_authority
        if own is None:
            return None
        nothing = settings.path(own).with_name("none.pem")
        files = Files(settings.path(own), nothing, nothing)
        return Certified(service, files, None, trust=trust, clock=clock)
    files = caller_files(settings)
    if workload.authority is None:
        return Certified(service, files, None, trust=trust, clock=clock)
    source = There(
        address_of(workload.authority),
        files=files,
        token_file=settings.path(workload.token_file),
        trust_domain=settings.trust_domain,
    )
    return Certified(service, files, source, trust=trust, clock=clock)
