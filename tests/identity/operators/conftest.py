"""One database with its keys for each module's tests, and one process of ours on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strongroom.journal import MARKER
from strongroom.keys import Keyring, SealedFileRoot
from strongroom.storage import Committer
from tests.identity.operators.support import Desk, House
from tests.identity.support import MovableClock
from tests.support.database import TestDatabase


@pytest.fixture
async def house(pg: TestDatabase, tmp_path: Path) -> AsyncIterator[House]:
    clock = MovableClock()
    owner = await pg.database("strongroom_owner")
    vault = await pg.database("strongroom_vault")
    committer = await Committer(pg.target("strongroom_vault"), marker=MARKER, writers=1).open()
    root = SealedFileRoot.create(
        tmp_path / "root.json",
        key_file=tmp_path / "root.key",
        mode="test",
        installation=pg.installation,
    )
    keyring = await Keyring.open(vault, committer, root, clock=clock)
    try:
        yield House(pg, owner, keyring, clock)
    finally:
        keyring.close()
        await committer.close()


@pytest.fixture
async def desk(house: House) -> AsyncIterator[Desk]:
    async with house.process() as made:
        yield made
