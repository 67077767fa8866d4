"""Modules, functions and nesting stay small enough to be read in one go (docs/decisions/0001)."""

from __future__ import annotations

import ast

from tests.tidy.tree import nodes, parsed, report, source, texts

MODULE_LINES_MAX = 400
TEST_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
NESTING_MAX = 3

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match)


def long_functions(tree: ast.Module) -> list[str]:
    return [
        f"{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in nodes(tree)
        if isinstance(node, _FUNCTIONS)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def depth_of(node: ast.AST) -> int:
    """How deep branches and loops nest; `elif` is a step aside, `try` and `with` decide nothing."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
            continue
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        step = 1 if isinstance(child, _NESTING) and not is_elif else 0
        deepest = max(deepest, step + depth_of(child))
    return deepest


def deep_functions(tree: ast.Module) -> list[str]:
    return [
        f"{node.lineno}: {node.name} nests {depth_of(node)} deep"
        for node in nodes(tree)
        if isinstance(node, _FUNCTIONS) and depth_of(node) > NESTING_MAX
    ]


def test_modules_are_short() -> None:
    long = [
        f"{name}: {lines} lines"
        for name, text in texts().items()
        if name.endswith(".py")
        and (lines := text.count("\n"))
        > (TEST_LINES_MAX if name.startswith("tests/") else MODULE_LINES_MAX)
    ]
    assert not long, report(long)


def test_functions_are_short() -> None:
    found = [f"{name}:{line}" for name, tree in parsed().items() for line in long_functions(tree)]
    assert not found, report(found)


def test_control_flow_is_shallow() -> None:
    found = [f"{name}:{line}" for name, tree in source().items() for line in deep_functions(tree)]
    assert not found, report(found)


def test_the_lint_sees_a_long_and_a_deep_function() -> None:
    body = "\n".join(f"    x = {n}" for n in range(FUNCTION_LINES_MAX))
    assert long_functions(ast.parse(f"def f():\n{body}\n"))
    deep = "def f():\n if a:\n  for b in c:\n   while d:\n    if e:\n     pass\n"
    assert deep_functions(ast.parse(deep))
    flat = "def f():\n if a:\n  pass\n elif b:\n  pass\n elif c:\n  pass\n elif d:\n  pass\n"
    assert not deep_functions(ast.parse(flat))
