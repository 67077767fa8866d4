"""One installation for all pages, and one browser for the tests of a file.

The browser ends with its file: Playwright keeps an event loop in this thread, beside which no test
with one of its own could run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.console.support import Site
from tests.support.chromium import chromium, chromium_path
from tests.support.oidc_provider import Provider


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("console"), provider)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium_path()
    with chromium() as running:
        yield running
