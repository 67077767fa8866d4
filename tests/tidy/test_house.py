"""The way the house is run: make targets, CI, and the rule that CI never skips."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import strongroom
from tests.tidy.tree import PACKAGE, ROOT, files, name_of, rooms

TARGETS = {"help", "install", "run", "test", "check", "fuzz", "format", "bench", "lock", "clean"}
SCRIPTS = (ROOT / ".ci" / "run", *sorted((ROOT / "scripts").iterdir()))


def test_every_make_target_is_there_and_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z]+):.*?## \S", text, re.MULTILINE))
    made = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    assert explained == made == TARGETS


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_are_executable_sound_and_read(path: Path) -> None:
    assert os.access(path, os.X_OK)
    shell = "bash" if path.read_text().startswith("#!/usr/bin/env bash") else "sh"
    subprocess.run([shell, "-n", str(path)], check=True)
    readers = (ROOT / "Makefile").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert name_of(path) in readers


def test_ci_runs_the_checks_and_the_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"set -euo pipefail", "export CI=true", "make check", "make test"} <= set(lines)


def test_data_directories_keys_and_environments_are_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/.venv/", "/.strongroom/", "*.key", "ready.json", "__pycache__/"} <= set(ignored)


def test_every_room_has_its_floor() -> None:
    """Each package stands in the layers contract, and no floor names a room that never comes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if c["type"] == "layers")
    assert layers["exhaustive"] is True
    names = [name.strip() for layer in layers["layers"] for name in layer.split("|")]
    built = {name for name in names if not name.startswith("(")}
    assert set(rooms()) <= built | {name.strip("()") for name in names}
    assert built - set(rooms()) <= {path.stem for path in PACKAGE.glob("*.py")}


def test_the_version_is_one() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert not released or released[0] == strongroom.__version__


def test_no_file_is_huge() -> None:
    """Vendored things included: a large file is data, and data is made or fetched by a lock."""
    large = [name_of(path) for path in files() if path.stat().st_size > 1_000_000]
    assert not large, large


def _pytest(folder: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "PYTEST"))}
    env |= {
        "PYTHONPATH": str(ROOT),
        "CI": "true" if ci else "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    arguments = ["-p", "tests.support.ci", "-p", "no:cacheprovider", "-c", os.devnull, str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(folder), *arguments],
        env=env, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "skip",
    [
        "import pytest\ndef test_a(): pytest.skip('not today')",
        "from pytest import mark\n@mark.skip(reason='not today')\ndef test_a(): pass",
        "import pytest\npytest.skip('not today', allow_module_level=True)",
    ],
)
def test_ci_fails_a_skip(tmp_path: Path, skip: str) -> None:
    (tmp_path / "test_skip.py").write_text(skip + "\n")
    run = _pytest(tmp_path, ci=True)
    assert run.returncode not in (0, 5), run.stdout
    assert "skipped under CI=true: Skipped: not today" in run.stdout
    assert _pytest(tmp_path, ci=False).returncode in (0, 5)


def test_the_rule_against_skips_is_switched_on(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.hasplugin("tests.support.ci")
