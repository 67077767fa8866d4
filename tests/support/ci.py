"""Pytest plugin: with CI=true a skipped test is a failed test, because a green run must have run.

Enabled by `pytest_plugins = ["tests.support.ci"]` in tests/conftest.py. Expected failures (xfail)
are untouched; strict mode already fails them when they start to pass.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def _fail_when_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"skipped under CI=true: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of one test into its failure."""
    report = yield
    _fail_when_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a collection error."""
    report = yield
    _fail_when_skipped(report)
    return report
