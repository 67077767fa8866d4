"""Fixtures that every room's tests share: a real PostgreSQL, and the whole program running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from strongroom.kernel.decided import run_under
from strongroom.storage.embedded import EmbeddedPostgres
from tests.support.database import TestDatabase, migrated_database
from tests.support.postgres import postgres, stopped_cluster
from tests.support.stack import Stack

pytest_plugins = ["tests.support.ci", "tests.support.order"]

__all__ = ["pg", "postgres", "stack", "stopped_cluster"]


@pytest.fixture
async def pg(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    """A migrated database of the test's own on the session's server."""
    async with migrated_database(postgres) as database:
        yield database


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole program, shared by tests that leave it healthy."""
    running = Stack(tmp_path_factory.mktemp("stack")).start()
    try:
        running.other_merchant, running.other_secret_key = running.add_merchant("Other merchant")
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def nothing_decided() -> None:
    """No test runs under what another one was let do: all share this thread's context."""
    run_under(None)
