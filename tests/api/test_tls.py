"""TLS that we serve, spoken to by openssl and curl: versions, client certificates, renewal."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.api import Listener, TlsFiles, listening
from strongroom.api.endpoint import Endpoint
from strongroom.api.tls import Contexts
from strongroom.identity import Arrival, Peer
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import serial_numbers
from strongroom.keys.certificates.authority import CertificateSigner, pem
from tests.api.authorities import Authority
from tests.api.edge import hello, house, route

SPIFFE = "spiffe://test.example/svc/orders"


class Certificates:
    """What the tests show each other: made once, by openssl."""

    def __init__(self, folder: Path) -> None:
        public = Authority(folder / "public", "Public authority")
        self.public = public.certificate
        self.server = public.issue("server", "DNS:localhost,IP:127.0.0.1", usage="serverAuth")
        self.renewed = public.issue("renewed", "DNS:localhost", usage="serverAuth")
        workloads = Authority(folder / "workloads", "Workloads", uri="spiffe://test.example")
        self.workloads = workloads.certificate
        self.orders = workloads.issue("orders", f"URI:{SPIFFE}")
        self.two_names = workloads.issue("two", f"URI:{SPIFFE},URI:{SPIFFE}2")
        self.climbing = workloads.issue("climbing", "URI:spiffe://test.example/svc/../svc/orders")
        self.server_only = workloads.issue("sv", f"URI:{SPIFFE}", usage="serverAuth")
        merchants = Authority(folder / "merchants", "Merchant's authority")
        self.merchants = merchants.certificate
        self.shop = merchants.issue("shop", "DNS:shop.example")
        self.forged = merchants.issue("forged", f"URI:{SPIFFE}")
        strangers = Authority(folder / "strangers", "Workloads", uri="spiffe://test.example")
        self.stranger = strangers.issue("stranger", f"URI:{SPIFFE}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Watching:
    """Keeps every arrival and lets nobody in."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []

    async def authenticate(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        raise StrongroomError("unauthenticated", "no")

    @property
    def peer(self) -> Peer | None:
        return self.arrivals[-1].peer


@asynccontextmanager
async def serving(
    files: TlsFiles | None, *, watching: Watching | None = None, **settings: Any
) -> AsyncIterator[int]:
    guarded = Endpoint(method="GET", path="/who", action="payment:read", summary="x", handler=hello)
    api = house([route(hello), guarded], callers=watching, **settings)
    sock = socket.create_server(("127.0.0.1", 0))
    listener = Listener(api, sock, tls=files)
    task = asyncio.create_task(listener.serve())
    try:
        yield sock.getsockname()[1]
    finally:
        await listener.stop()
        await task
        sock.close()


def files(certificates: Certificates, **more: Any) -> TlsFiles:
    given = {
        "certificate": certificates.server.certificate,
        "key": certificates.server.key,
        "client_authorities": (certificates.merchants,),
        "workload_authority": certificates.workloads,
    }
    return TlsFiles(**{**given, **more})


async def run(*command: object, stdin: bytes = b"") -> tuple[int, str]:
    """Run a program and return its exit code and all it wrote."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(stdin)
    return process.returncode or 0, out.decode("latin-1")


async def curl(certificates: Certificates, port: int, path: str, *more: object) -> tuple[int, str]:
    return await run(
        "curl", "-sS", "-i", "--max-time", "10", "--cacert", certificates.public, *more,
        f"https://localhost:{port}{path}",
    )  # fmt: skip


async def s_client(port: int, *more: object, stdin: bytes = b"Q\n") -> str:
    _, out = await run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more, stdin=stdin)
    return out


async def test_curl_and_openssl_agree_on_tls_13(certificates: Certificates) -> None:
    async with serving(files(certificates), behind_tls=True) as port:
        code, answer = await curl(certificates, port, "/x", "--tlsv1.3")
        assert code == 0 and answer.startswith("HTTP/1.1 200 OK"), answer
        assert "strict-transport-security: max-age=63072000" in answer
        seen = await s_client(port, "-CAfile", certificates.public, "-verify_hostname", "localhost")
        assert "Protocol: TLSv1.3" in seen or "TLSv1.3, Cipher is" in seen
        assert "Verify return code: 0 (ok)" in seen
        for old in ("-tls1_2", "-tls1_1"):
            assert "Cipher is (NONE)" in await s_client(port, old, "-cipher", "ALL:@SECLEVEL=0")


async def test_tls_12_by_a_flag_and_then_aead_only(certificates: Certificates) -> None:
    async with serving(files(certificates, allow_tls12=True)) as port:
        assert "ECDHE-ECDSA-AES" in await s_client(port, "-tls1_2")
        for weak in ("ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA"):
            seen = await s_client(port, "-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0")
            assert "Cipher is (NONE)" in seen, weak
        assert "Cipher is (NONE)" in await s_client(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        again = await s_client(port, "-tls1_2", "-reconnect")
        assert "Reused, TLSv1.2" not in again, "a session could outlive a revoked certificate"


async def test_a_workload_is_known_by_its_spiffe_id(certificates: Certificates) -> None:
    watching = Watching()
    async with serving(files(certificates), watching=watching) as port:
        own = certificates.orders
        code, answer = await curl(
            certificates, port, "/who", "--cert", own.certificate, "--key", own.key
        )
        assert code == 0 and answer.startswith("HTTP/1.1 401 "), answer
    der = ssl.PEM_cert_to_DER_cert(own.certificate.read_text())
    authority = ssl.PEM_cert_to_DER_cert(certificates.workloads.read_text())
    assert watching.peer == Peer(
        thumbprint=hashlib.sha256(der).digest(),
        spiffe_id=SPIFFE,
        certificate=der,
        serials=serial_numbers([der, authority]),
    )


@pytest.mark.parametrize("who", ["shop", "forged", "two_names", "climbing"])
async def test_no_other_certificate_names_a_workload(certificates: Certificates, who: str) -> None:
    """Above all not one of another trusted authority that writes our names into it."""
    watching, leaf = Watching(), getattr(certificates, who)
    async with serving(files(certificates), watching=watching) as port:
        code, answer = await curl(
            certificates, port, "/who", "--cert", leaf.certificate, "--key", leaf.key
        )
        assert code == 0, answer
    assert watching.peer is not None and watching.peer.spiffe_id is None
    der = ssl.PEM_cert_to_DER_cert(leaf.certificate.read_text())
    assert watching.peer.thumbprint == hashlib.sha256(der).digest()


@pytest.mark.parametrize("who", ["stranger", "server_only"])
async def test_a_certificate_that_does_not_verify_ends_the_handshake(
    certificates: Certificates, who: str
) -> None:
    watching, leaf = Watching(), getattr(certificates, who)
    async with serving(files(certificates), watching=watching) as port:
        code, _ = await curl(
            certificates, port, "/who", "--cert", leaf.certificate, "--key", leaf.key
        )
    assert code != 0 and not watching.arrivals


async def test_without_a_certificate_there_is_no_peer(certificates: Certificates) -> None:
    watching = Watching()
    async with serving(files(certificates), watching=watching) as port:
        await curl(certificates, port, "/who")
        assert watching.peer is None and watching.arrivals
        code, answer = await curl(certificates, port, "/who", "-H", "Client-Cert: :AAAA:")
        assert '"code":"forwarding_invalid"' in answer and code == 0
    assert len(watching.arrivals) == 1


async def test_plain_http_on_the_tls_port_gets_no_answer(certificates: Certificates) -> None:
    async with serving(files(certificates)) as port:
        code, answer = await run("curl", "-sS", "--max-time", "5", f"http://localhost:{port}/x")
    assert code != 0 and "HTTP/1.1" not in answer


async def test_a_renewed_certificate_is_served_without_a_restart(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.api.tls.TLS_FILES_LOOK_S", 0.0)
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    shutil.copy(certificates.server.certificate, certificate)
    shutil.copy(certificates.server.key, key)
    async with serving(files(certificates, certificate=certificate, key=key)) as port:
        kept_reader, kept = await asyncio.open_connection(
            "localhost", port, ssl=ssl.create_default_context(cafile=certificates.public)
        )
        assert "CN = server" in await s_client(port)
        certificate.write_text("half a file")
        assert "CN = server" in await s_client(port), "an unusable file changes nothing"
        shutil.copy(certificates.renewed.key, key)
        shutil.copy(certificates.renewed.certificate, certificate)
        assert "CN = renewed" in await s_client(port)
        kept.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await kept_reader.read()).startswith(b"HTTP/1.1 200")
        kept.close()


def test_files_that_cannot_be_used_stop_the_start(
    certificates: Certificates, tmp_path: Path
) -> None:
    open_key, nothing = tmp_path / "open.key", tmp_path / "nothing.pem"
    shutil.copy(certificates.server.key, open_key)
    open_key.chmod(0o640)
    nothing.write_text("nothing")
    for wrong in (
        {"key": open_key},
        {"key": certificates.renewed.key},
        {"key": tmp_path / "absent.key"},
        {"certificate": nothing},
        {"client_authorities": (nothing,)},
        {"workload_authority": tmp_path / "absent.pem"},
    ):
        with pytest.raises(StrongroomError, match="certificate_unusable"):
            Contexts(files(certificates, **wrong))


async def test_one_source_cannot_take_every_connection(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SOURCE_CONNECTIONS_MAX", 3)
    async with serving(None) as port:
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await lines[3][0].read() == b""
        lines[0][1].write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await lines[0][0].read()).startswith(b"HTTP/1.1 200"), "the others go on"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200"), "a place was given back"
        for _, line in [*lines, (reader, writer)]:
            line.close()


async def test_silent_handshakes_do_not_keep_others_out(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKES_MAX", 2)
    async with serving(files(certificates)) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await silent[0][0].read() == b"", "the one that took longest is let go"
        code, answer = await curl(certificates, port, "/x")
        assert code == 0 and answer.startswith("HTTP/1.1 200"), answer
        for _, line in silent:
            line.close()


async def test_a_handshake_has_a_time_limit(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with serving(files(certificates)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01")
        assert await reader.read() == b""
        writer.close()


async def test_a_connection_ends_with_the_certificate_that_opened_it(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Else a revoked one would be good again from its expiry on: nobody lists it any more."""
    signer = CertificateSigner(Secret(bytes(range(32))), domain="test.example")
    now = datetime.now(UTC)
    authority = signer.authority(now)
    made, key = signer.sign("orders", authority=authority, now=now, life=timedelta(seconds=2))
    own, trusted = tmp_path / "own.pem", tmp_path / "ca.pem"
    own.write_text(key.reveal() + pem(made))
    trusted.write_text(pem(authority))
    watching = Watching()
    async with serving(files(certificates, workload_authority=trusted), watching=watching) as port:
        context = ssl.create_default_context(cafile=certificates.public)
        context.load_cert_chain(own)
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" not in answer
        assert watching.peer is not None and watching.peer.spiffe_id == SPIFFE
        async with asyncio.timeout(4):
            await reader.read()
        assert datetime.now(UTC) >= made.not_valid_after_utc
        writer.close()
