"""How services get certificates: over real TLS, once by a token, then by what they have."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)

from strongroom.app.certified import Certified, There
from strongroom.kernel.edge_limits import JOIN_CONNECTIONS_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import (
    Signed,
    key_id_of,
    make_request,
    read_own,
)
from strongroom.keys.certificates.authority import CertificateSigner
from strongroom.vault.remote import (
    Files,
    join,
)
from tests.vault.joined import LIFE_S, Face, certificate_of


async def test_a_token_gives_one_certificate_that_others_can_read(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spiffe import X509Svid

        pem = files.certificate.read_bytes()
        leaf_pem = pem[pem.index(b"-----BEGIN CERTIFICATE") :]
        svid = X509Svid.parse(leaf_pem, pem[: pem.index(b"-----BEGIN CERTIFICATE")])
    assert str(svid.spiffe_id) == f"spiffe://{face.certificates.domain}/svc/orders"
    leaf = svid.leaf
    assert leaf.subject != leaf.issuer
    assert not leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    life = leaf.not_valid_after_utc - face.installed.clock.now()
    assert 3500 < life.total_seconds() <= LIFE_S
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    openssl = shutil.which("openssl")
    assert openssl is not None
    run = subprocess.run(
        [
            openssl, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
            str(files.authority), str(files.certificate),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    entries = [
        json.loads(e["body"]) for e in await face.installed.entries("keys:certificate:issue")
    ]
    assert "join" in {entry["facts"].get("method") for entry in entries}
    assert await face.installed.entries("keys:join_token:create")


async def test_a_token_is_good_once_however_many_bring_it_at_once(face: Face) -> None:
    token = await face.token()
    tries = await asyncio.gather(*(face.join(token) for _ in range(8)), return_exceptions=True)
    won = [one for one in tries if isinstance(one, Signed)]
    lost = [one for one in tries if isinstance(one, StrongroomError)]
    assert len(won) == 1 and {one.code for one in lost} == {"join_refused"}
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.join(token)
    orders = [c for c in await face.certificates.inventory() if c.role == "orders"]
    assert len(orders) == 1
    assert {reason for _, reason, _ in face.refusals} == {"join_refused"}


async def test_an_old_an_unknown_and_a_broken_token_give_nothing(face: Face) -> None:
    token = await face.token(minutes=1)
    face.installed.clock.move(61)
    foreign = Secret(token.reveal()[:10] + "A" * 33 + token.reveal()[43:])
    heard = set()
    for given in (token, foreign):
        with pytest.raises(StrongroomError, match="join_refused") as refusal:
            await face.join(given)
        heard.add(refusal.value.public)
    assert len(heard) == 1, "one sentence for every reason"
    for text in ("", "srj1.x.y", token.reveal() + ".A", "srj2" + token.reveal()[4:]):
        with pytest.raises(StrongroomError, match="join_token_unreadable"):
            await face.join(Secret(text))
    for service in ("vault", "authority", "Orders", "a/b", "", "x" * 41):
        with pytest.raises(StrongroomError, match="join_token_invalid"):
            await face.token(service)


async def test_no_token_stands_in_the_database(face: Face) -> None:
    token = (await face.token()).reveal()
    rows = await face.installed.sql("SELECT t::text AS line FROM keys.join_token t")
    secret = token.split(".")[1]
    assert rows and all(secret not in row["line"] for row in rows)


async def test_a_token_is_not_shown_to_who_is_not_the_vault(face: Face, tmp_path: Path) -> None:
    """Another authority, and a service of ours that poses as the vault, hear no secret."""
    other = CertificateSigner(Secret(bytes(range(32))), domain=face.certificates.domain)
    now = datetime.now(UTC)
    theirs = other.authority(now)
    made, key = other.sign("vault", authority=theirs, now=now, life=timedelta(hours=1))
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(key.reveal() + made.public_bytes(Encoding.PEM).decode())
    stranger.chmod(0o600)
    made = theirs
    service = await face.joined(tmp_path / "posing")
    own = read_own(service.certificate.read_text())
    for file, shown in ((stranger, made.public_bytes(Encoding.DER)), (service.certificate, None)):
        authorities = [shown] if shown else list((await face.certificates.trust()).authorities)
        heard: list[bytes] = []
        token = await face.token()
        async with posing(file, authorities, heard) as port:
            with pytest.raises(StrongroomError, match=r"not_the_vault|vault_unavailable"):
                await join("127.0.0.1", port, token=token, trust_domain=None, request=b"x")
        assert heard and b"join" not in b"".join(heard)
    assert own.spiffe_id.endswith("/svc/orders")
    await face.join(await face.token())


@asynccontextmanager
async def posing(
    certificate: Path, authorities: list[bytes], heard: list[bytes]
) -> AsyncIterator[int]:
    """Answer as a vault would, with a certificate that is not the vault's."""
    from base64 import b64encode

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["strongroom-join/1"])

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        told = {"authorities": [b64encode(one).decode() for one in authorities]}
        writer.write(json.dumps(told).encode() + b"\n")
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_renewal_is_by_the_old_certificate_only(face: Face, tmp_path: Path) -> None:
    files = await face.joined(tmp_path / "orders")
    before = read_own(files.certificate.read_text())
    again = await face.renew(files)
    assert again.certificate != before.der
    assert again.spiffe_id == before.spiffe_id
    with pytest.raises(StrongroomError, match=r"join_refused|vault_unavailable"):
        await face.renew(face.vault)  # no client's certificate, and the vault joins nobody
    no_one = Files(files.authority, files.certificate, files.key)
    context_without = ssl.create_default_context(cafile=str(no_one.authority))
    context_without.check_hostname = False
    context_without.set_alpn_protocols(["strongroom-join/1"])
    reader, writer = await asyncio.open_connection(*face.at, ssl=context_without)
    writer.write(b'{"ask":"renew","request":""}\n')
    assert json.loads(await reader.readline())["error"] == "join_refused"
    writer.close()
    assert ("unknown", "renew_no_certificate", "127.0.0.1") in face.refusals


async def test_who_was_away_comes_back_by_its_key_for_a_week(face: Face, tmp_path: Path) -> None:
    """Real time for TLS, moved time for the authority: the certificate is expired to it."""
    files = await face.joined(tmp_path / "orders")
    face.installed.clock.move(LIFE_S + 1)
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.renew(files)
    back = await face.come_back(files)
    assert certificate_of(back).not_valid_after_utc > face.installed.clock.now()
    face.installed.clock.move(8 * 24 * 3600)
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.come_back(files)


async def test_coming_back_takes_the_key_and_this_connections_challenge(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    thief = tmp_path / "thief"
    thief.mkdir()
    stolen = Files(files.authority, files.certificate, thief / "other.pem")
    stolen.key.touch(mode=0o600)
    stolen.key.write_text(make_request("orders")[0].reveal())
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.come_back(stolen)
    signed: list[bytes] = []
    request = make_request("orders")[1]

    async def exchange(*lines: dict[str, Any]) -> list[dict[str, Any]]:
        context = ssl.create_default_context(cafile=str(files.authority))
        context.check_hostname = False
        context.set_alpn_protocols(["strongroom-join/1"])
        reader, writer = await asyncio.open_connection(*face.at, ssl=context)
        answers = []
        for line in lines:
            writer.write(json.dumps(line).encode() + b"\n")
            answers.append(json.loads(await reader.readline()))
        writer.close()
        return answers

    from base64 import b64decode, b64encode

    from strongroom.keys.certificates import sign_return

    (challenged,) = await exchange({"ask": "challenge"})
    key = Secret(files.key.read_text())
    challenge = b64decode(challenged["challenge"])
    signed.append(sign_return(key, challenge=challenge, request=request))
    replayed = {
        "ask": "return",
        "request": b64encode(request).decode(),
        "certificate": b64encode(read_own(files.certificate.read_text()).der).decode(),
        "signature": b64encode(signed[0]).decode(),
    }
    (_, answer) = await exchange({"ask": "challenge"}, replayed)
    assert answer["error"] == "join_refused"


@pytest.mark.parametrize("kind", ["garbage", "rsa", "p384", "unsigned", "huge"])
async def test_a_hostile_request_gets_nothing_and_keeps_the_token(face: Face, kind: str) -> None:
    token = await face.token()
    with pytest.raises(StrongroomError, match=r"certificate_request_refused|vault_unavailable"):
        await face.join(token, hostile(kind))
    assert isinstance(await face.join(token), Signed), "what was refused did not use the token"


def hostile(kind: str) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Strongroom authority")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if kind == "garbage":
        return b"\x30\x82\xff\xff" + bytes(64)
    if kind == "rsa":
        key: Any = rsa.generate_private_key(65537, 2048)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    if kind == "p384":
        key = ec.generate_private_key(ec.SECP384R1())
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    good = load_pem_private_key(make_request("orders")[0].reveal().encode(), None)
    assert isinstance(good, ec.EllipticCurvePrivateKey)
    made = builder.sign(good, hashes.SHA256()).public_bytes(Encoding.DER)
    return made[:-1] + bytes([made[-1] ^ 1]) if kind == "unsigned" else made + bytes(3000)


async def test_what_a_request_says_of_itself_is_not_believed(face: Face) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    vault = x509.UniformResourceIdentifier(f"spiffe://{face.certificates.domain}/svc/vault")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")]))
        .add_extension(x509.SubjectAlternativeName([vault]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    made = certificate_of(await face.join(await face.token(), request))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"spiffe://{face.certificates.domain}/svc/orders"
    ]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_a_new_authority_is_trusted_before_it_signs_and_an_old_one_while_it_is_used(
    face: Face, tmp_path: Path
) -> None:
    clock = face.installed.clock
    old = await face.joined(tmp_path / "old")
    first = read_own(old.certificate.read_text()).issuer_key_id
    await face.certificates.rotate_authority(actor="local:test", overlap_s=60)
    before = await face.certificates.trust()
    assert len(before.authorities) == 2 and key_id_of(before.authorities[0]) == first
    clock.move(61)
    during = await face.certificates.trust()
    assert len(during.authorities) == 2 and key_id_of(during.authorities[0]) != first
    held = Certified(
        "orders",
        old,
        There(
            face.at,
            files=old,
            token_file=tmp_path / "none",
            trust_domain=face.certificates.domain,
        ),
        trust=face.certificates.trust,
        clock=clock,
    )
    assert await held.step(), "a certificate of the old authority is renewed by the new one"
    assert read_own(old.certificate.read_text()).issuer_key_id != first
    assert old.authority.read_text().count("BEGIN CERTIFICATE") == 2
    await face.certificates.revoke_service("vault", actor="local:test", reason="end of test")
    clock.move(91 * 24 * 3600)
    after = await face.certificates.trust()
    assert [key_id_of(one) for one in after.authorities] == [key_id_of(during.authorities[0])]


async def test_an_authority_written_into_the_database_is_not_trusted(face: Face) -> None:
    await face.installed.sql(
        "INSERT INTO keys.certificate SELECT gen_random_uuid(), role, 2, "
        "decode(repeat('ab', 20), 'hex'), spiffe_id, not_before, not_after, certificate, issued_by,"
        " issuer, now() FROM keys.certificate WHERE role = 'authority'"
    )
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await face.certificates.trust()


async def test_a_stranger_asks_a_few_questions_and_no_more(face: Face) -> None:
    """Each costs reads of the database, and nobody has proved anything yet."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["strongroom-join/1"])
    reader, writer = await asyncio.open_connection(*face.at, ssl=context)
    writer.write(b'{"ask":"trust"}\n{"ask":"challenge"}\n' * 50)
    answers = (await reader.read()).splitlines()
    assert 2 <= len(answers) <= 4
    writer.close()


async def test_silent_connections_keep_nobody_from_a_certificate(face: Face) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["strongroom-join/1"])
    silent = [
        await asyncio.open_connection(*face.at, ssl=context, local_addr=("127.0.0.2", 0))
        for _ in range(JOIN_CONNECTIONS_MAX + 8)
    ]
    assert isinstance(await face.join(await face.token()), Signed)
    for _, writer in silent:
        writer.close()
