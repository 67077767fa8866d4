"""A running sandbox gateway, reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strongroom.gateways.sandbox_server import Settings, running
from strongroom.kernel.secret import Secret
from tests.gateways.sandbox_support import (
    KEY,
    Client,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(Settings(secret=Secret(KEY), late_s=60.0)) as url:
        yield url


@pytest.fixture
def gateway(server: str) -> Client:
    client = Client(server)
    assert client.control("reset").status == 200
    assert client.control("webhook", url=None).status == 200
    return client
