"""Stacks whose parts die where a test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import truth
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose server dies where a test says."""
    running = Stack(
        tmp_path_factory.mktemp("crashing"),
        patience_s=1.0,
        server_module="tests.support.crashing",
    ).start()
    try:
        yield running
        truth.check(running)
    finally:
        running.stop()
