"""One database for each test, and one process of ours on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.identity.support import House, Process
from tests.support.database import TestDatabase


@pytest.fixture
async def house(pg: TestDatabase) -> House:
    return House(pg, await pg.database("strongroom_owner"))


@pytest.fixture
async def process(house: House) -> AsyncIterator[Process]:
    async with house.process() as made:
        yield made


@pytest.fixture
async def merchant(process: Process) -> str:
    return (await process.identity.create_merchant("Shop", actor="local:test")).id
