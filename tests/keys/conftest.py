from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.keys.house import House, house


@pytest.fixture
async def installed(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[House]:
    """A fresh installation in test mode."""
    async with house(postgres, tmp_path) as built:
        yield built
