"""The face that gives certificates, served for tests, and what services ask of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from strongroom.app.certified import write_signed
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import Certificates, Joining, Signed, make_request, read_own
from strongroom.vault.remote import (
    Files,
    JoinHost,
    Listener,
    come_back,
    join,
    joining_server_context,
    renew,
)
from tests.keys.house import House
from tests.vault.far import issue

LIFE_S = 3600.0


@dataclass
class Face:
    """The face that gives certificates, on a port of this machine."""

    installed: House
    certificates: Certificates
    joining: Joining
    listener: Listener
    vault: Files
    refusals: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def at(self) -> tuple[str, int]:
        return "127.0.0.1", self.listener.port

    async def token(self, service: str = "orders", *, minutes: int = 10) -> Secret[str]:
        made = await self.joining.make_token(service, minutes=minutes, actor="local:test")
        return made.text

    async def join(self, token: Secret[str], request: bytes | None = None) -> Signed:
        asked = request or make_request("orders")[1]
        return await join(*self.at, token=token, trust_domain=None, request=asked)

    async def joined(self, into: Path, service: str = "orders") -> Files:
        key, request = make_request(service)
        files = Files(into / "ca.pem", into / "own.pem", into / "own.pem")
        write_signed(files, await self.join(await self.token(service), request), key)
        return files

    async def renew(self, files: Files) -> Signed:
        return await renew(
            *self.at,
            files=files,
            trust_domain=self.certificates.domain,
            request=make_request("orders")[1],
        )

    async def come_back(self, files: Files) -> Signed:
        return await come_back(
            *self.at,
            files=files,
            certificate=read_own(files.certificate.read_text()).der,
            trust_domain=self.certificates.domain,
            request=make_request("orders")[1],
        )


@asynccontextmanager
async def facing(installed: House, directory: Path) -> AsyncIterator[Face]:
    """Serve the face of an installation for the block."""
    keyring = await installed.keyring()
    certificates = keyring.certificates()
    joining = Joining(
        certificates, installed.database, installed.committer, life_s=LIFE_S, clock=installed.clock
    )
    vault = await issue(certificates, "vault", directory / "vault")
    async with listening(certificates, joining, vault) as (listener, refusals):
        yield Face(installed, certificates, joining, listener, vault, refusals)


@asynccontextmanager
async def listening(
    certificates: Certificates, joining: Joining, files: Files
) -> AsyncIterator[tuple[Listener, list[tuple[str, str, str]]]]:
    refusals: list[tuple[str, str, str]] = []
    host = JoinHost(
        joining,
        certificates.trust,
        trust_domain=certificates.domain,
        refuse=lambda *refusal: refusals.append(refusal),
    )
    listener = Listener(
        host,
        socket.create_server(("127.0.0.1", 0)),
        files=files,
        reload_s=0.05,
        context=joining_server_context,
    )
    await listener.start()
    try:
        yield listener, refusals
    finally:
        await listener.stop()


def certificate_of(made: Signed) -> x509.Certificate:
    return x509.load_der_x509_certificate(made.certificate)
