"""A vault behind real mutually authenticated TLS, for tests: certificates, listener, caller."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.kernel.clock import SystemClock
from strongroom.keys import LocalDesk
from strongroom.keys.certificates import Certificates, trust_domain
from strongroom.vault import CardVault
from strongroom.vault.remote import Caller, Dialer, Files, Host, Listener
from tests.keys.house import House


@dataclass
class Far:
    """What a remote vault is made of. `near` is the vault that does the work."""

    near: CardVault
    certificates: Certificates
    domain: str
    host: Host
    listener: Listener
    directory: Path
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)

    async def files(self, role: str, *, name: str = "", days: int = 30) -> Files:
        return await issue(self.certificates, role, self.directory / (name or role), days=days)

    async def caller(self, role: str = "api", *, port: int | None = None) -> Caller:
        made = Caller(
            Dialer(
                "127.0.0.1",
                port or self.listener.port,
                files=await self.files(role),
                trust_domain=self.domain,
            )
        )
        self.callers.append(made)
        return made


class Service:
    """The remote verbs; names that begin with _ look into the vault behind them."""

    def __init__(self, far: Far, service: Any) -> None:
        self._far = far
        self._service = service

    def __getattr__(self, name: str) -> Any:
        here = (
            name.startswith("_") or name == "purge_expired"
        )  # the worker beside the vault does it
        return getattr(self._far.near if here else self._service, name)


async def issue(certificates: Certificates, role: str, into: Path, *, days: int = 30) -> Files:
    """Issue a certificate and write its files as the program does."""
    made = await certificates.issue(role, days=days, actor="test")
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = Files(into / "ca.pem", into / f"{role}.pem", into / f"{role}.key")
    for path, text in (
        (files.authority, made.authority),
        (files.certificate, made.certificate),
        (files.key, made.key.reveal()),
    ):
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
    return files


@asynccontextmanager
async def far_vault(
    installed: House, near: CardVault, directory: Path, **options: Any
) -> AsyncIterator[Far]:
    """Serve `near` on a port of this machine for the length of the block."""
    keyring = near._keyring
    certificates = Certificates.of(keyring, clock=SystemClock())
    domain = trust_domain(installed.installation, installed.mode)
    refusals: list[tuple[str, str, str]] = []
    reload_s = options.pop("reload_s", 5.0)
    host = Host(
        {"vault": near, "keys": LocalDesk(keyring)},
        trust_domain=domain,
        may_reveal=options.pop("may_reveal", ("api",)),
        refuse=lambda *refusal: refusals.append(refusal),
        **options,
    )
    files = await issue(certificates, "vault", directory / "vault")
    listener = Listener(
        host, socket.create_server(("127.0.0.1", 0)), files=files, reload_s=reload_s
    )
    await listener.start()
    far = Far(near, certificates, domain, host, listener, directory, refusals)
    try:
        yield far
    finally:
        for caller in far.callers:
            await caller.close()
        await listener.stop()
