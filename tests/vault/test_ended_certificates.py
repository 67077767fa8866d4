"""What is revoked stays out: its successors, what expired, tokens that wait, an authority's all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from strongroom.kernel.errors import StrongroomError
from strongroom.keys.certificates import Signed, make_request, read_own, serial_numbers
from strongroom.vault.remote import come_back
from tests.vault.far import issue
from tests.vault.joined import LIFE_S, Face, certificate_of, listening


async def test_a_revoked_certificate_is_neither_renewed_nor_taken_back(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    await face.certificates.revoke_service("orders", actor="local:test", reason="host stolen")
    for ask in (face.renew, face.come_back):
        with pytest.raises(StrongroomError, match="join_refused"):
            await ask(files)
    (serial,) = serial_numbers([read_own(files.certificate.read_text()).der])
    assert serial in (await face.certificates.trust()).revoked
    (entry,) = await face.installed.entries("keys:certificate:revoke")
    assert json.loads(entry["body"])["reason"] == "host stolen"
    assert [c for c in await face.certificates.inventory() if c.role == "orders"] == []
    ended = [c for c in await face.certificates.inventory(ended=True) if c.role == "orders"]
    assert ended[0].revoked_at is not None


async def test_of_renewals_and_a_revocation_at_once_the_revocation_wins(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    renewals = [face.renew(files) for _ in range(6)]
    ending = face.certificates.revoke_service("orders", actor="local:test", reason="stolen")
    await asyncio.gather(*renewals, ending, return_exceptions=True)
    assert [c for c in await face.certificates.inventory() if c.role == "orders"] == []


async def test_a_distrusted_authority_is_gone_at_once(face: Face) -> None:
    """The key of the old authority leaked: its certificates are worth nothing from now on."""
    (old,) = [c for c in await face.certificates.inventory() if c.role == "authority"]
    await face.certificates.rotate_authority(actor="local:test", overlap_s=0)
    await face.certificates.revoke(old.serial, actor="local:test", reason="leaked")
    trusted = await face.certificates.trust()
    assert len(trusted.authorities) == 1
    assert x509.load_der_x509_certificate(trusted.authorities[0]).serial_number != int(
        old.serial, 16
    )


async def test_a_revoked_service_does_not_come_back_by_an_expired_certificate(
    face: Face, tmp_path: Path
) -> None:
    """The thief has the key of last hour's certificate; the service has renewed since."""
    stolen = await face.joined(tmp_path / "stolen")
    face.installed.clock.move(LIFE_S + 1)
    await face.come_back(stolen)
    await face.certificates.revoke_service("orders", actor="local:test", reason="host stolen")
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.come_back(stolen)


async def test_a_revoked_service_that_is_expired_wholly_is_revoked_too(
    face: Face, tmp_path: Path
) -> None:
    stolen = await face.joined(tmp_path / "stolen")
    face.installed.clock.move(LIFE_S + 1)
    await face.certificates.revoke_service("orders", actor="local:test", reason="host stolen")
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.come_back(stolen)


async def test_a_revoked_service_does_not_come_back_by_an_older_token(
    face: Face, tmp_path: Path
) -> None:
    older = await face.token()
    await face.joined(tmp_path / "orders")
    await face.certificates.revoke_service("orders", actor="local:test", reason="host stolen")
    with pytest.raises(StrongroomError, match="join_refused"):
        await face.join(older)
    assert isinstance(await face.join(await face.token()), Signed), "a new token brings it back"


async def test_what_was_renewed_from_a_revoked_certificate_is_revoked(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    other = certificate_of(await face.join(await face.token()))
    renewed = certificate_of(await face.renew(files))
    first = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    serial = f"{first.serial_number:040x}"
    await face.certificates.revoke(serial, actor="local:test", reason="key stolen")
    left = {int(c.serial, 16) for c in await face.certificates.inventory() if c.role == "orders"}
    assert renewed.serial_number not in left
    assert left == {other.serial_number}


async def test_what_a_revoked_authority_issued_does_not_come_back(
    face: Face, tmp_path: Path
) -> None:
    files = await face.joined(tmp_path / "orders")
    (old,) = [c for c in await face.certificates.inventory() if c.role == "authority"]
    await face.certificates.rotate_authority(actor="local:test", overlap_s=0)
    vault = await issue(face.certificates, "vault", tmp_path / "vault2")
    await face.certificates.revoke(old.serial, actor="local:test", reason="leaked")
    async with listening(face.certificates, face.joining, vault) as (listener, _):
        files = msgspec.structs.replace(files, authority=vault.authority)
        with pytest.raises(StrongroomError, match="join_refused"):
            await come_back(
                "127.0.0.1",
                listener.port,
                files=files,
                certificate=read_own(files.certificate.read_text()).der,
                trust_domain=face.certificates.domain,
                request=make_request("orders")[1],
            )
