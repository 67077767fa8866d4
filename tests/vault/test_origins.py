"""The allow-list: what may be configured, which addresses may be reached, and TLS for real."""

from __future__ import annotations

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
from strongroom.vault.origins import Origins, address_allowed
from tests.vault.gateway import FakeGateway


def origins(mode: str = "test", **policy: tuple[str, ...]) -> Origins:
    return Origins(EgressPolicy(**policy), mode=mode, clock=SystemClock())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "policy"),
    [
        ("test", {"origins": ("http://api.example",)}),
        ("test", {"origins": ("http://127.0.0.1:1",)}),
        ("live", {"private_origins": ("http://127.0.0.1:1",)}),
        ("test", {"private_origins": ("http://10.0.0.1:1",)}),
        ("test", {"private_origins": ("http://sandbox:1",)}),
        ("test", {"origins": ("https://api.example/path",)}),
        ("test", {"origins": ("https://user@api.example",)}),
        ("test", {"origins": ("https://api.example:99999",)}),
        ("test", {"origins": ("https://*.example",)}),
        ("test", {"origins": ("ftp://api.example",)}),
        ("test", {"origins": ("",)}),
    ],
)
def test_unsafe_origins_stop_the_start(mode: str, policy: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(StrongroomError, match="egress_misconfigured"):
        origins(mode, **policy)


def test_an_origin_is_scheme_host_and_port() -> None:
    listed = origins(origins=("https://api.example", "https://b.example:8443/"))
    origin, target = listed.find("https://API.example:443/v1?a=b%20c")
    assert (origin.host, origin.port, origin.authority, target) == (
        "api.example",
        443,
        "api.example",
        "/v1?a=b%20c",
    )
    assert listed.find("https://b.example:8443")[1] == "/"
    for url in (
        "https://b.example/",
        "https://api.example:8443/",
        "https://api.example.evil/",
        "https://evilapi.example/",
        "https://api.example/é",
    ):
        with pytest.raises(NotSent):
            listed.find(url)


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.1.1", False, True),
        ("172.16.0.1", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("64:ff9b::7f00:1", False, True),
        ("64:ff9b::5db8:d822", True, True),
        ("2002:7f00:1::", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),  # noqa: S104
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, True),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    assert address_allowed(address, private=False) is public
    assert address_allowed(address, private=True) is private


async def test_one_private_address_among_public_ones_refuses_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name of a public gateway suddenly points inside."""
    found = [(socket.AF_INET, 1, 6, "", (ip, 443)) for ip in ("93.184.216.34", "10.0.0.1")]

    async def resolve(*_: object, **__: object) -> list[object]:
        return list(found)

    import asyncio

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    listed = origins(origins=("https://api.example",))
    origin, _ = listed.find("https://api.example/")
    with pytest.raises(NotSent, match="gateway_unavailable") as refused:
        await listed.addresses(origin)
    assert "10.0.0.1" in refused.value.detail
    found.pop()
    assert await listed.addresses(origin) == ["93.184.216.34"]


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
