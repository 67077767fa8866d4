"""The payment journeys once more, with the vault apart: a process that alone has the keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys import test_payment
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole program, split."""
    running = Stack(tmp_path_factory.mktemp("split"), split=True).start()
    try:
        running.other_merchant, running.other_secret_key = running.add_merchant("Other merchant")
        yield running
    finally:
        running.stop()


globals().update({n: f for n, f in vars(test_payment).items() if n.startswith("test_")})
