"""Fixtures of the journal's tests: a house with a database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.journal.support import House
from tests.support.postgres import drop_database, fresh_database


@pytest.fixture
async def house(postgres: EmbeddedPostgres) -> AsyncIterator[House]:
    name = await fresh_database(postgres)
    async with House(postgres, name) as house:
        yield house
    await drop_database(postgres, name)
