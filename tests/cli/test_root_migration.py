"""The runbook of root migration, as it is printed, on a service that takes payments meanwhile."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.openbao import OpenBao, write_private
from tests.support.pay import card, pay
from tests.support.runbook import blocks, programs, walk
from tests.support.softhsm import PIN, SoftHsm
from tests.support.stack import Stack

pytestmark = pytest.mark.slow(65)

PAGE = "docs/operations/root-migration.md"


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    made = SoftHsm(tmp_path / "hsm")
    made.make_token("moving")
    return made


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    with OpenBao(tmp_path / "bao") as running:
        yield running


@pytest.mark.timeout(400)
def test_sealed_file_to_hsm_to_openbao(
    tmp_path: Path, hsm: SoftHsm, bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.config))
    service = Stack(tmp_path, environ=hsm.environment).start()
    try:
        _migrate(tmp_path, service, hsm, bao)
    finally:
        service.stop()


def _migrate(tmp_path: Path, service: Stack, hsm: SoftHsm, bao: OpenBao) -> None:
    path = programs(tmp_path / "bin")
    make, switch, rotate, retire, bao_switch, bao_finish = blocks(PAGE)
    variables = {
        "STRONGROOM_DATA_DIR": str(service.data_dir),
        "MODULE": hsm.module,
        "TOKEN": "moving",
        "BAO_ADDR": bao.address,
        **hsm.environment,
    }

    def run(script: str) -> str:
        done = walk(script, path, cwd=tmp_path, timeout_s=180, **variables)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        shop.sells()
        return done.stdout

    def restart() -> None:
        service.stop()
        service.start()
        shop.sells()

    shop = Shop(service)
    write_private(service.data_dir / "hsm.pin", PIN)
    run(make)
    assert "root" not in settings(service)
    run(switch)
    assert settings(service)["root"]["provider"] == "pkcs11"
    first = wrapping(service)
    restart()
    assert wrapping(service) == first
    assert "0 failed" in run(rotate)
    assert wrapping(service) == {settings(service)["root"]["id"]}
    run(retire)
    assert "former_roots" not in settings(service)
    for name in ("root.json", "root.key"):
        (service.data_dir / name).unlink()
    restart()
    hsm.remove()
    shop.sells()
    hsm.put_back()

    bao.make_key("strongroom")
    bao.token_for("strongroom", service.data_dir / "bao.token")
    (service.data_dir / "bao-ca.pem").write_bytes(bao.ca_file.read_bytes())
    (service.data_dir / "bao-ca.pem").chmod(0o600)
    run(bao_switch)
    restart()
    assert "openbao-transit" in run(bao_finish)
    assert wrapping(service) == {settings(service)["root"]["id"]}
    hsm.remove()
    restart()
    assert {"keys:root:switch", "keys:root:retire"} <= actions(service)


def settings(service: Stack) -> dict[str, Any]:
    return tomllib.loads((service.data_dir / "strongroom.toml").read_text())


def wrapping(service: Stack) -> set[str]:
    """Ids of the roots that wrap a key now."""
    found: set[str] = service.admin(_wrapping)
    return found


async def _wrapping(house: Any) -> set[str]:
    keys = await house.keyring.inventory()
    return {key.wrapped_by for key in keys if key.kind in ("kek", "record")}


def actions(service: Stack) -> set[str]:
    async def read(house: Any) -> set[str]:
        rows = await house.journal_database.fetch("SELECT DISTINCT action FROM journal.entry")
        return {row["action"] for row in rows}

    found: set[str] = service.admin(read)
    return found


class Shop:
    """A merchant with one card saved before anything moves."""

    def __init__(self, service: Stack) -> None:
        self._service = service
        made = service.call("POST", "/v1/tokens", {"card": card(cvc=None)})
        assert made.status == 201, made.body
        self._token = made.json["id"]

    def sells(self) -> None:
        """Take a payment with a new card, and one with the card saved at the beginning."""
        for method in ({"card": card()}, {"token": self._token, "cvc": "973"}):
            paid = pay(self._service, payment_method=method)
            assert (paid.status, paid.json["status"]) == (201, "captured"), paid.body
