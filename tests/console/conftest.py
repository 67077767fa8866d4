"""One installation and one browser for all pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console.support import Site
from tests.support.chromium import chromium, chromium_path
from tests.support.oidc_provider import Provider


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("console"), provider)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium_path()
    with chromium() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
