"""What the tidy tests read: the repository's own files, parsed once."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "strongroom"
_SKIPPED = {
    ".venv",
    ".git",
    ".cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".strongroom",
    "__pycache__",
    "build",
    "dist",
}
_BINARY = {".png", ".ico", ".gz", ".zst", ".woff2", ".pyc", ".p12", ".der"}


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository that is ours to keep tidy."""
    found = [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not _SKIPPED.intersection(path.relative_to(ROOT).parts)
    ]
    return tuple(found)


@cache
def texts() -> dict[str, str]:
    """Name → text of every text file, locks and the licence left out: they are not our words."""
    ours = {}
    for path in files():
        name = name_of(path)
        locked = name.startswith("requirements/") and name.endswith(".txt")
        if path.suffix not in _BINARY and not locked and name != "LICENSE":
            ours[name] = path.read_text(encoding="utf-8")
    return ours


def name_of(path: Path) -> str:
    """The path as people write it: relative to the repository, with slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed() -> dict[str, ast.Module]:
    """Name → syntax tree of every Python file; kept out of the collector's way, they stay."""
    gc.disable()
    trees = {name: ast.parse(text) for name, text in texts().items() if name.endswith(".py")}
    for tree in trees.values():
        nodes(tree)
    gc.freeze()
    gc.enable()
    return trees


@cache
def source() -> dict[str, ast.Module]:
    """Name → syntax tree of the Python files that ship."""
    return {name: tree for name, tree in parsed().items() if name.startswith("src/")}


def room_of(name: str) -> str:
    """`vault` for src/strongroom/vault/egress.py, `app` for src/strongroom/app.py."""
    return name.removeprefix("src/strongroom/").removesuffix(".py").split("/")[0]


@cache
def rooms() -> tuple[str, ...]:
    """The rooms that exist: packages below src/strongroom."""
    return tuple(sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a tree; walked once, because many tests look at every file."""
    return tuple(ast.walk(tree))


@cache
def imports(tree: ast.Module) -> list[tuple[str, str, int]]:
    """(module, name, line) of every import; the name is empty for `import module`."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name, node.lineno) for alias in node.names]
    return found


@cache
def docstrings(tree: ast.Module) -> set[int]:
    """`id` of each constant that is a docstring or a comment-like string statement."""
    return {
        id(node.value)
        for node in nodes(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


@cache
def strings(tree: ast.Module) -> list[tuple[str, int]]:
    """(text, line) of every string that is not a docstring; f-strings with `{}` for their holes."""
    quiet = docstrings(tree)
    parts: set[int] = set()
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in node.values}
            pieces = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            found.append(("".join(str(piece) for piece in pieces), node.lineno))
    return found + [
        (node.value, node.lineno)
        for node in nodes(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in quiet | parts
    ]


def report(findings: list[str]) -> str:
    """One finding a line, for an assertion that tells everything at once."""
    return "\n" + "\n".join(findings)
