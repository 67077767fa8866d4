"""A SPIFFE Workload API in place of our authority: a server of it, our files, real TLS."""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections.abc import Iterator
from concurrent import futures
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from strongroom.app.settings import Settings
from strongroom.app.spire import following
from strongroom.app.workload_settings import Workload
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import read_own
from strongroom.keys.certificates.authority import CertificateSigner
from strongroom.vault.remote import Caller, Dialer, Files, Host, Listener

pytestmark = pytest.mark.filterwarnings("ignore")
DOMAIN = "example.org"


class Agent:
    """The Workload API of an agent, by the library's own description of it."""

    def __init__(self, directory: Path, service: str, like: Agent | None = None) -> None:
        import grpc
        from spiffe._proto import workload_pb2, workload_pb2_grpc

        self._messages = workload_pb2
        self.signer = CertificateSigner(Secret(bytes(range(32))), domain=DOMAIN)
        fresh = self.signer.authority(datetime.now(UTC))
        self.authority = fresh if like is None else like.authority
        self.socket = f"unix://{directory / f'{service}.sock'}"
        self._changed = 0
        self.service = service
        agent = self

        class Servicer(workload_pb2_grpc.SpiffeWorkloadAPIServicer):  # type: ignore[misc]
            def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
                metadata = dict(context.invocation_metadata())
                assert metadata["workload.spiffe.io"] == "true"
                seen = -1
                while context.is_active():
                    if seen != agent._changed:
                        seen = agent._changed
                        yield agent.svid()
                    agent._poke.wait(0.02)

        import threading

        self._poke = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(Servicer(), self._server)
        self._server.add_insecure_port(self.socket)
        self._server.start()

    def svid(self) -> Any:
        made, key = self.signer.sign(
            self.service, authority=self.authority, now=datetime.now(UTC), life=timedelta(hours=1)
        )
        loaded = load_pem_private_key(key.reveal().encode(), None)
        return self._messages.X509SVIDResponse(
            svids=[
                self._messages.X509SVID(
                    spiffe_id=f"spiffe://{DOMAIN}/svc/{self.service}",
                    x509_svid=made.public_bytes(Encoding.DER),
                    x509_svid_key=loaded.private_bytes(
                        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
                    ),
                    bundle=self.authority.public_bytes(Encoding.DER),
                )
            ]
        )

    def renew(self) -> None:
        self._changed += 1

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Agent(tmp_path, "vault")
        yield made
        made.stop()


def settings(agent: Agent, data_dir: Path, domain: str = DOMAIN) -> Settings:
    workload = Workload(source="spire", spire_socket=agent.socket, trust_domain=domain)
    return Settings(installation=uuid4(), mode="test", workload=workload, data_dir=data_dir)


async def test_vault_and_caller_live_on_what_the_workload_api_gives(
    agent: Agent, tmp_path: Path
) -> None:
    known = settings(agent, tmp_path)
    assert known.trust_domain == DOMAIN
    files = [
        Files(tmp_path / who / "ca.pem", tmp_path / who / "own.pem", tmp_path / who / "own.pem")
        for who in ("vault", "api")
    ]
    beside = Agent(tmp_path, "api", like=agent)
    async with AsyncExitStack() as stack:
        stack.callback(beside.stop)
        await stack.enter_async_context(following(known, files[0]))
        await stack.enter_async_context(following(settings(beside, tmp_path), files[1]))
        host = Host({}, trust_domain=DOMAIN, refuse=lambda *_: None)
        listener = Listener(host, socket.create_server(("127.0.0.1", 0)), files=files[0])
        await listener.start()
        stack.push_async_callback(listener.stop)
        caller = Caller(Dialer("127.0.0.1", listener.port, files=files[1], trust_domain=DOMAIN))
        stack.push_async_callback(caller.close)
        await caller.ping()
        before = read_own(files[1].certificate.read_text()).der
        beside.renew()
        async with asyncio.timeout(10):
            while read_own(files[1].certificate.read_text()).der == before:
                await asyncio.sleep(0.02)


async def test_a_workload_api_of_another_domain_or_none_stops_the_start(
    agent: Agent, tmp_path: Path
) -> None:
    files = Files(tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "own.pem")
    with pytest.raises(StrongroomError, match="workload_api_unusable"):
        async with following(settings(agent, tmp_path, "other.org"), files):
            pass
    assert not files.certificate.exists()
    agent.socket = f"unix://{tmp_path / 'nobody.sock'}"
    with pytest.raises(StrongroomError, match="workload_api_unusable"):
        async with following(settings(agent, tmp_path), files):
            pass
