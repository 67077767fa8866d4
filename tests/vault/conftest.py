from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strongroom.kernel.secret import Cvc, Pan, Secret
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.vault import CardInput, CardVault, EgressPolicy
from tests.keys.house import House, house
from tests.vault.gateway import FakeGateway
from tests.vault.joined import Face, facing

PAN = "4242424242424242"


def a_card(number: str = PAN, *, cvc: str | None = None, holder: str | None = None) -> CardInput:
    return CardInput(
        number=Pan(number),
        exp_month=12,
        exp_year=2031,
        cvc=None if cvc is None else Cvc(cvc),
        holder_name=None if holder is None else Secret(holder),
    )


@pytest.fixture
async def installed(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[House]:
    """A fresh installation in test mode."""
    async with house(postgres, tmp_path) as built:
        yield built


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    """A plain HTTP server that answers as the test says."""
    server = await FakeGateway().start()
    yield server
    await server.stop()


@pytest.fixture
async def vault(installed: House, gateway: FakeGateway) -> AsyncIterator[CardVault]:
    """A vault on a real database that may send to the gateway of the test."""
    made = CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(private_origins=(gateway.origin,)),
        clock=installed.clock,
    )
    yield made
    await made.close()


@pytest.fixture
async def face(installed: House, tmp_path: Path) -> AsyncIterator[Face]:
    """The face that gives certificates, on a port of this machine."""
    async with facing(installed, tmp_path) as made:
        yield made
