"""The courier keeps the rules of egress: its list, names that point inside, and TLS for real."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.vault import EgressPolicy, NotSent, OutboundRequest
from strongroom.vault.courier import Courier
from tests.vault.gateway import FakeGateway


async def test_one_private_address_among_public_ones_refuses_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name of a public gateway suddenly points inside."""
    found = [(socket.AF_INET, 1, 6, "", (ip, 443)) for ip in ("93.184.216.34", "10.0.0.1")]

    async def resolve(*_: object, **__: object) -> list[object]:
        return list(found)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    policy = EgressPolicy(origins=("https://api.example",))
    courier = Courier(policy, mode="test", clock=SystemClock())
    with pytest.raises(NotSent, match="gateway_unavailable") as refused:
        await courier.send(OutboundRequest(method="POST", url="https://api.example/"), b"{}")
    assert "10.0.0.1" in refused.value.detail


@pytest.mark.parametrize("url", ["https://other.example/", "https://api.example:8443/", "x"])
def test_only_listed_origins(url: str) -> None:
    policy = EgressPolicy(origins=("https://api.example",))
    courier = Courier(policy, mode="live", clock=SystemClock())
    courier.check(OutboundRequest(method="POST", url="https://api.example/v1"))
    with pytest.raises(NotSent) as refused:
        courier.check(OutboundRequest(method="POST", url=url))
    assert "egress_not_allowed" in refused.value.detail


def test_plain_http_is_for_tests() -> None:
    policy = EgressPolicy(private_origins=("http://127.0.0.1:1",))
    Courier(policy, mode="test", clock=SystemClock())
    with pytest.raises(StrongroomError, match="egress_misconfigured"):
        Courier(policy, mode="live", clock=SystemClock())


# --- TLS ---


def certificate(tmp: Path, names: list[str], *, days: int = 30) -> tuple[Path, Path]:
    """Make a self-signed certificate; returns certificate and key files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    hosts: list[x509.GeneralName] = []
    for host in names:
        try:
            hosts.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            hosts.append(x509.DNSName(host))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp / f"{names[0]}.pem", tmp / f"{names[0]}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def server_tls(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    return context


async def over_tls(gateway: FakeGateway, ca_file: Path | None) -> int:
    policy = EgressPolicy(private_origins=(gateway.origin,), ca_file=ca_file)
    courier = Courier(policy, mode="live", clock=SystemClock())
    try:
        request = OutboundRequest(method="POST", url=gateway.origin + "/")
        return (await courier.send(request, b"{}")).status
    finally:
        await courier.close()


async def test_tls_with_a_trusted_certificate(tmp_path: Path) -> None:
    cert_file, key_file = certificate(tmp_path, ["localhost"])
    gateway = await FakeGateway(tls=server_tls(cert_file, key_file)).start()
    try:
        assert await over_tls(gateway, cert_file) == 200
    finally:
        await gateway.stop()


@pytest.mark.parametrize("fault", ["unknown_authority", "other_name", "expired", "old_tls"])
async def test_tls_faults_send_nothing(tmp_path: Path, fault: str) -> None:
    names = ["other.example"] if fault == "other_name" else ["localhost"]
    cert_file, key_file = certificate(tmp_path, names, days=-1 if fault == "expired" else 30)
    context = server_tls(cert_file, key_file)
    if fault == "old_tls":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA256:ECDHE-ECDSA-AES128-SHA256")
    gateway = await FakeGateway(tls=context).start()
    try:
        with pytest.raises(NotSent):
            await over_tls(gateway, None if fault == "unknown_authority" else cert_file)
        assert not gateway.requests
    finally:
        await gateway.stop()


async def test_a_server_without_tls_gets_nothing(gateway: FakeGateway) -> None:
    origin = gateway.origin.replace("http://", "https://")
    policy = EgressPolicy(private_origins=(origin,))
    courier = Courier(policy, mode="live", clock=SystemClock())
    with pytest.raises(NotSent):
        await courier.send(OutboundRequest(method="POST", url=origin + "/"), b"{}")
    assert not gateway.requests
