"""Every error code of the house has one HTTP status, one title, and a line in docs/errors.md."""

from __future__ import annotations

import ast
import re

from strongroom.api import problems
from strongroom.kernel.errors import StrongroomError
from tests.tidy.tree import ROOT, report, source

_CODE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*\Z")
_LINE = re.compile(r"^\| `([a-z0-9_]+)` \| (\d{3}|–) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def codes_in(tree: ast.Module) -> set[str]:
    """Codes that a module gives to StrongroomError: literally, by a subclass, by an enum, or
    through a helper of the same module whose first parameter is the code.
    """
    bases = {"StrongroomError", *_subclasses(tree)}
    helpers = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(_passes_on(call, node, bases) for call in _calls(node))
    }
    found: set[str] = set()
    for call in _calls(tree):
        name = _name(call.func)
        if name in bases | helpers or _is_super_init(call, tree):
            found |= _literals(call, tree)
    return found


def _subclasses(tree: ast.Module) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(_name(base) in {"StrongroomError", "NotSent"} for base in node.bases)
    }


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _passes_on(call: ast.Call, function: ast.FunctionDef, bases: set[str]) -> bool:
    """Whether a function hands its first parameter on as the code of an error."""
    names = [argument.arg for argument in function.args.args if argument.arg != "self"]
    first = call.args[0] if call.args else None
    return bool(
        _name(call.func) in bases and names and isinstance(first, ast.Name) and first.id == names[0]
    )


def _is_super_init(call: ast.Call, tree: ast.Module) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "__init__"
        and isinstance(function.value, ast.Call)
        and _name(function.value.func) == "super"
        and bool(_subclasses(tree))
    )


def _literals(call: ast.Call, tree: ast.Module) -> set[str]:
    if not call.args:
        return set()
    first = call.args[0]
    if isinstance(first, ast.Attribute) and first.attr == "value":  # StrongroomError(refusal.value)
        return {
            node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str) and _CODE.match(node.value.value)
        }  # fmt: skip
    options = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
    return {
        option.value
        for option in options
        if isinstance(option, ast.Constant)
        and isinstance(option.value, str)
        and _CODE.match(option.value)
    }


def all_codes() -> dict[str, str]:
    return {code: name for name, tree in source().items() for code in codes_in(tree)}


def documented() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "errors.md").read_text()
    return {code: (status, title) for code, status, title, _ in _LINE.findall(text)}


def test_every_code_in_the_source_has_its_status() -> None:
    known = set(problems.PROBLEMS) | problems.NEVER_ANSWERED
    missing = [f"{name}: {code}" for code, name in all_codes().items() if code not in known]
    assert not missing, report(sorted(missing))


def test_no_code_is_both_answered_and_not() -> None:
    assert not set(problems.PROBLEMS) & problems.NEVER_ANSWERED


def test_no_code_is_dead() -> None:
    text = "\n".join(ast.unparse(tree) for name, tree in source().items()
                     if not name.endswith("api/problems.py"))  # fmt: skip
    known = set(problems.PROBLEMS) | problems.NEVER_ANSWERED
    dead = sorted(code for code in known if f"'{code}'" not in text)
    assert not dead, report(dead)


def test_the_page_says_the_same_as_the_table() -> None:
    told = documented()
    wanted = {code: (str(status), title) for code, (status, title) in problems.PROBLEMS.items()}
    shown = {code: line for code, line in told.items() if line[0] != "–"}
    assert shown == wanted
    assert set(told) - set(shown) == problems.NEVER_ANSWERED


def test_unknown_and_inner_codes_read_as_internal_error() -> None:
    for code in ("journal_damaged", "never_heard_of"):
        shown = problems.shown(StrongroomError(code, "inner words"))
        assert shown.code == "internal_error" and "inner" not in shown.public


def test_the_reader_of_codes_sees_every_way_to_make_one() -> None:
    module = ast.parse(
        "import enum\n"
        "class A(enum.Enum):\n    B = 'by_enum'\n"
        "def refused(r): return StrongroomError(r.value, 'x')\n"
        "def helper(code, public): return StrongroomError(code, public)\n"
        "raise helper('by_helper', 'x')\n"
        "raise StrongroomError('literal_one', 'x')\n"
        "class Own(StrongroomError):\n"
        "    def __init__(self): super().__init__('by_subclass', 'x')\n"
    )
    assert codes_in(module) == {"by_enum", "by_helper", "literal_one", "by_subclass"}
