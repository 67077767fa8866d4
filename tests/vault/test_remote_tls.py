"""Who may speak to a listening vault: every wrong certificate is refused, by real TLS clients."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from strongroom.app.hosting import _follow_revocations
from strongroom.app.trusted import TrustWatch
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.edge_limits import VAULT_HANDSHAKES_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import Trust, trust_domain
from strongroom.keys.certificates.authority import _ORDER as P256_ORDER
from strongroom.keys.certificates.authority import CertificateSigner
from strongroom.vault import CardVault, EgressPolicy
from strongroom.vault.remote import Caller, Dialer, Files, Host, Listener
from strongroom.vault.remote.tls import ALPN
from tests.keys.house import House, new_merchant
from tests.vault.conftest import a_card
from tests.vault.far import Far, far_vault, issue

DAYS_40 = timedelta(days=40)


@pytest.fixture
async def far(installed: House, tmp_path: Path) -> AsyncIterator[Far]:
    near = CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(),
        clock=installed.clock,
    )
    async with far_vault(installed, near, tmp_path / "tls", reload_s=0.05) as made:
        yield made
    await near.close()


async def greeting(far: Far, context: ssl.SSLContext) -> bytes:
    """Return what the vault says to a client after the handshake; empty when it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", far.listener.port, ssl=context)
    try:
        return await asyncio.wait_for(reader.read(64), 5)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


def client(files: Files, *, own: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(files.authority)
    context.set_alpn_protocols([ALPN])
    if own:
        context.load_cert_chain(files.certificate, files.key)
    return context


async def refused(far: Far, context: ssl.SSLContext) -> None:
    with suppress(ssl.SSLError, ConnectionError):
        assert await greeting(far, context) == b""
    assert not far.host.connections


async def test_a_certificate_of_ours_is_greeted(far: Far) -> None:
    files = await far.files("api")
    assert (await greeting(far, client(files)))[5] == 0  # HELLO
    assert not far.refusals


async def test_no_certificate_is_refused(far: Far) -> None:
    await refused(far, client(await far.files("api"), own=False))


async def test_tls_1_2_is_refused(far: Far) -> None:
    context = client(await far.files("api"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await greeting(far, context)


async def test_plaintext_is_refused(far: Far) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", far.listener.port)
    writer.write(b"\0\0\0\x06\x01\x06\0\0\0\0" * 10)
    got = await asyncio.wait_for(reader.read(100), 10)
    assert got[:1] in (b"", b"\x15")  # nothing, or a TLS alert
    writer.close()
    assert not far.host.connections


async def test_another_protocol_is_refused(far: Far) -> None:
    context = client(await far.files("api"))
    context.set_alpn_protocols(["h2"])
    await refused(far, context)
    assert [reason for _, reason, _ in far.refusals] in ([], ["protocol"])


async def test_the_vaults_own_role_cannot_call(far: Far) -> None:
    await refused(far, client(await far.files("vault", name="again")))


async def test_a_role_without_verbs_is_refused(far: Far, tmp_path: Path) -> None:
    files = await foreign(far, tmp_path, role="console", signer=await signer_of(far))
    await refused(far, client(files))
    assert [reason for _, reason, _ in far.refusals] == ["role"]


async def test_another_installations_authority_is_refused(far: Far, tmp_path: Path) -> None:
    signer = CertificateSigner(Secret(bytes(range(32))), domain=far.domain)
    files = await foreign(far, tmp_path, role="api", signer=signer)
    await refused(far, client(files))


async def test_another_trust_domain_is_refused(far: Far, tmp_path: Path) -> None:
    """The mode stands in it: a test certificate means nothing to a live vault."""
    signer = await signer_of(far)
    other = CertificateSigner(Secret(bytes(32)), domain="")
    other._key, other._domain = signer._key, trust_domain(uuid4(), "live")
    files = await foreign(far, tmp_path, role="api", signer=other)
    await refused(far, client(files))
    assert [reason for _, reason, _ in far.refusals] == ["trust_domain"]


async def test_an_expired_certificate_is_refused(far: Far, tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=40)
    files = await foreign(far, tmp_path, role="api", signer=await signer_of(far), now=past)
    await refused(far, client(files))


async def test_a_connection_ends_with_its_certificate(far: Far, tmp_path: Path) -> None:
    soon = datetime.now(UTC) - timedelta(days=30) + timedelta(seconds=2)
    files = await foreign(far, tmp_path, role="api", signer=await signer_of(far), now=soon)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", far.listener.port, ssl=client(files)
    )
    assert len(await reader.readexactly(10)) == 10
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_self_signed_certificate_is_refused(far: Far, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom api")])
    now = datetime.now(UTC)
    uri = x509.UniformResourceIdentifier(f"spiffe://{far.domain}/svc/api")
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(key, hashes.SHA256())
    )
    good = await far.files("api")
    files = write(tmp_path / "self", made, key_pem(key), good.authority.read_text())
    await refused(far, client(files))


async def test_openssl_with_a_good_certificate_is_greeted_and_with_none_is_not(far: Far) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.fail("openssl is needed as a counterpart: apt-get install openssl")
    files = await far.files("api")

    async def run(*own: str) -> subprocess.CompletedProcess[bytes]:
        command = [
            openssl, "s_client", "-connect", f"127.0.0.1:{far.listener.port}", "-tls1_3",
            "-alpn", ALPN, "-CAfile", str(files.authority), "-verify_return_error", *own,
        ]  # fmt: skip

        def wait() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(command, capture_output=True, input=b"", timeout=20, check=False)

        return await asyncio.to_thread(wait)

    good = await run("-cert", str(files.certificate), "-key", str(files.key))
    assert b"Verify return code: 0 (ok)" in good.stdout and good.returncode == 0
    bad = await run("-quiet")
    assert bad.returncode != 0


async def test_a_caller_takes_nothing_but_the_vault_for_the_vault(far: Far, tmp_path: Path) -> None:
    """An API host's certificate cannot play the vault, whoever answers at the address."""
    files = await foreign(far, tmp_path, role="api", signer=await signer_of(far))
    host = Host({}, trust_domain=far.domain, refuse=lambda *_: None)
    listener = Listener(host, socket.create_server(("127.0.0.1", 0)), files=files)
    await listener.start()
    caller = await far.caller(port=listener.port)
    with pytest.raises(StrongroomError, match="vault_unavailable"):
        await caller.vault.describe(new_merchant(), "tok_00000000000000000000000000")
    await listener.stop()


async def test_the_vault_of_another_trust_domain_is_not_called(far: Far, tmp_path: Path) -> None:
    """Its certificate is a server's and signed by our authority; only the SPIFFE id differs."""
    other = CertificateSigner(Secret(bytes(32)), domain="")
    other._key, other._domain = (await signer_of(far))._key, trust_domain(uuid4(), "live")
    files = await foreign(far, tmp_path, role="vault", signer=other)
    host = Host({}, trust_domain=far.domain, refuse=lambda *_: None)
    listener = Listener(host, socket.create_server(("127.0.0.1", 0)), files=files)
    await listener.start()
    caller = await far.caller(port=listener.port)
    with pytest.raises(StrongroomError, match="vault_unavailable") as refusal:
        await caller.ping()
    assert refusal.value.detail == "not the vault: trust_domain"
    await listener.stop()


async def test_a_key_file_that_others_may_read_is_not_used(far: Far) -> None:
    files = await far.files("worker")
    files.key.chmod(0o640)
    caller = Caller(Dialer("127.0.0.1", far.listener.port, files=files, trust_domain=far.domain))
    far.callers.append(caller)
    with pytest.raises(StrongroomError, match="vault_unavailable") as refusal:
        await caller.ping()
    assert refusal.value.detail == "certificate_unusable"


async def test_renewed_certificates_come_into_use_without_a_restart(
    far: Far, installed: House
) -> None:
    caller = await far.caller()
    merchant = new_merchant()
    token = (await caller.vault.tokenize(merchant, a_card(), saved=False, actor="k")).token
    before = await served(far)
    await issue(far.certificates, "vault", far.directory / "vault")
    await issue(far.certificates, "api", far.directory / "api")
    async with asyncio.timeout(10):
        while await served(far) == before:
            await asyncio.sleep(0.05)
    assert (await caller.vault.describe(merchant, token)).token == token
    for line in caller._dialer._lines:
        line.retire()
    assert (await caller.vault.describe(merchant, token)).token == token


async def test_a_revoked_certificate_is_refused_within_a_second(far: Far) -> None:
    """Its open connection ends, and it opens no other; everybody else goes on."""
    trust = TrustWatch(far.certificates.trust, clock=SystemClock())
    house: Any = SimpleNamespace(trust=trust)
    following = asyncio.create_task(_follow_revocations(house, far.host))
    files, worker = await far.files("api"), await far.files("worker")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", far.listener.port, ssl=client(files)
    )
    assert len(await reader.readexactly(10)) == 10
    other, kept = await asyncio.open_connection("127.0.0.1", far.listener.port, ssl=client(worker))
    assert len(await other.readexactly(10)) == 10
    await far.certificates.revoke_service("api", actor="k", reason="stolen")
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    for shown in (files, other_signature(files)):
        assert await greeting(far, client(shown)) == b""
    assert {reason for _, reason, _ in far.refusals} == {"revoked"}
    assert not other.at_eof() and len(far.host.connections) == 1
    (authority,) = [c for c in await far.certificates.inventory() if c.role == "authority"]
    await far.certificates.revoke(authority.serial, actor="k", reason="leaked")
    async with asyncio.timeout(1):
        assert await other.read() == b""
    following.cancel()
    for one in (writer, kept):
        one.close()


async def test_nobody_is_let_in_while_revocations_cannot_be_read(far: Far) -> None:
    """Whoever is in stays; who was revoked meanwhile could be among the others."""
    files = await far.files("api")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", far.listener.port, ssl=client(files)
    )
    assert len(await reader.readexactly(10)) == 10
    away = True

    async def now() -> Trust:
        if away:
            raise StrongroomError("storage_unavailable", "away")
        return await far.certificates.trust()

    house: Any = SimpleNamespace(trust=SimpleNamespace(now=now))
    following = asyncio.create_task(_follow_revocations(house, far.host))
    await asyncio.sleep(0)
    assert await greeting(far, client(files)) == b""
    assert far.refusals[-1][1] == "revocations_unknown" and not reader.at_eof()
    away = False
    await asyncio.sleep(0.3)
    assert len(await greeting(far, client(files))) == 10
    following.cancel()
    writer.close()


async def test_who_fails_in_tls_is_heard_of_with_the_reason(far: Far, tmp_path: Path) -> None:
    signer, now = await signer_of(far), datetime.now(UTC)
    ours = [
        await foreign(far, tmp_path / "past", role="api", signer=signer, now=now - DAYS_40),
        await foreign(far, tmp_path / "future", role="api", signer=signer, now=now + DAYS_40),
    ]
    stranger = CertificateSigner(Secret(bytes(range(32))), domain=far.domain)
    ours.append(await foreign(far, tmp_path / "stranger", role="api", signer=stranger))
    for files in ours:
        await refused(far, client(files))
    await refused(far, client(await far.files("api"), own=False))
    told = [(name, reason) for name, reason, _ in far.refusals]
    assert told == [
        ("unknown", reason)
        for reason in ("expired", "not_yet_valid", "untrusted", "no_certificate")
    ]
    assert {address for _, _, address in far.refusals} == {"127.0.0.1"}


async def test_certificates_are_listed_and_journaled(far: Far, installed: House) -> None:
    await far.files("api", days=7)
    listed = await far.certificates.inventory()
    assert listed[0].role == "authority"
    (api,) = [one for one in listed if one.role == "api"]
    assert api.spiffe_id == f"spiffe://{far.domain}/svc/api"
    assert timedelta(days=6) < api.expires_at - datetime.now(UTC) <= timedelta(days=7)
    entries = await installed.entries("keys:certificate:issue")
    assert api.spiffe_id in [entry["subject"] for entry in entries]
    for role, days in (("Console", 1), ("authority", 1), ("api", 0), ("api", 91)):
        with pytest.raises(StrongroomError, match="certificate_request_invalid"):
            await far.certificates.issue(role, days=days, actor="k")


async def test_an_exchanged_authority_certificate_is_noticed(far: Far, installed: House) -> None:
    other = CertificateSigner(Secret(bytes(range(32))), domain=far.domain)
    made = other.authority(datetime.now(UTC)).public_bytes(Encoding.DER)
    await installed.sql(
        "UPDATE keys.certificate SET certificate = $1 WHERE role = 'authority'", made
    )
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await far.certificates.issue("api", days=1, actor="k")


async def served(far: Far) -> int:
    """Return the serial number of the certificate that the vault shows now."""
    context = client(await far.files("worker", name="looking"))
    _, writer = await asyncio.open_connection("127.0.0.1", far.listener.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


def other_signature(files: Files) -> Files:
    """Return the certificate with its other valid signature: with (r, s), (r, -s) is good too.

    Nobody's key is needed, and the SHA-256 of the certificate changes.
    """
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    r, s = decode_dss_signature(found.signature)
    twin = encode_dss_signature(r, P256_ORDER - s)
    bits = b"\x03" + bytes([len(twin) + 1]) + b"\x00" + twin
    signed = found.public_bytes(Encoding.DER)[4:]
    body = signed[: len(signed) - len(found.signature) - 3] + bits
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    made = files.certificate.with_name("twin.pem")
    made.write_text(ssl.DER_cert_to_PEM_cert(der))
    return msgspec.structs.replace(files, certificate=made)


async def signer_of(far: Far) -> CertificateSigner:
    return await far.certificates.signer()


async def foreign(
    far: Far,
    directory: Path,
    *,
    role: str,
    signer: CertificateSigner,
    now: datetime | None = None,
) -> Files:
    """Return the files of a certificate that the installation would not issue like this."""
    authority = await far.certificates.authority()
    if signer._key.public_key() != authority.public_key():
        authority = signer.authority(datetime.now(UTC))
    made, key = signer.sign(
        role,
        authority=authority,
        now=now or datetime.now(UTC),
        life=timedelta(days=30),
    )
    ours = (await far.certificates.authority()).public_bytes(Encoding.PEM).decode()
    return write(directory / f"foreign-{role}", made, key.reveal(), ours)


def write(into: Path, made: x509.Certificate, key: str, authority: str) -> Files:
    into.mkdir(parents=True)
    files = Files(into / "ca.pem", into / "own.pem", into / "own.key")
    files.authority.write_text(authority)
    files.certificate.write_text(made.public_bytes(Encoding.PEM).decode())
    files.key.touch(mode=0o600)
    files.key.write_text(key)
    return files


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_silent_connections_keep_nobody_from_the_vault(far: Far) -> None:
    """An address that opens connections and says nothing costs the others nothing."""
    files = await far.files("api")
    silent = [
        await asyncio.open_connection("127.0.0.1", far.listener.port, local_addr=("127.0.0.2", 0))
        for _ in range(VAULT_HANDSHAKES_MAX + 8)
    ]
    assert len(await greeting(far, client(files))) == 10
    for _, writer in silent:
        writer.close()
