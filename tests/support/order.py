"""Pytest plugin: files that take long are begun first, so that none runs alone at the end.

A module says how long it takes with `pytestmark = pytest.mark.slow(60)`, seconds on a quiet core.
The order within a file stays as it is.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by what their slow marks say."""
    seconds: dict[Path, int] = {}
    for item in items:
        marks = [mark.args[0] for mark in item.iter_markers("slow") if mark.args]
        seconds[item.path] = max([seconds.get(item.path, 0), *marks])
    items.sort(key=lambda item: -seconds[item.path])
