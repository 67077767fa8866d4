"""The installation under attack: two server processes on one port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole program with two server processes and a second merchant."""
    running = Stack(tmp_path_factory.mktemp("target"), workers=2).start()
    try:
        running.other_merchant, running.other_secret_key = running.add_merchant("Other merchant")
        yield running
    finally:
        running.stop()
