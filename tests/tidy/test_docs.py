"""What the documents tell is true: commands, make targets, error codes, links, decisions."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.tidy.tree import ROOT, name_of, nodes, report, source, strings, texts

DECISIONS = ROOT / "docs" / "decisions"
PAGES = {name: text for name, text in texts().items() if name.endswith(".md")}
_FENCE = re.compile(r"^```(?:sh|shell|bash|console|text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_BUILTIN_ERRORS = {"Exception", "ValueError", "TypeError", "RuntimeError", "OSError"}
_CODE = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")


def said(text: str, program: str) -> Iterator[list[str]]:
    """Words after `program` in every fenced line and every code span that begins with it."""
    lines = [line for block in _FENCE.findall(text) for line in block.splitlines()]
    lines += _SPAN.findall(_FENCE.sub("", text))
    for line in lines:
        bare = re.sub(r"^\s*(?:\$\s+)?(?:[A-Z_]+=\S+\s+)*", "", line).removeprefix(".venv/bin/")
        if bare.split(" ")[0] == program:
            command = re.split(r"[|>&;]|\s#", bare)[0].replace("…", "").replace("'", "")
            yield shlex.split(command)[1:]


def command_fault(root: Any, words: list[str]) -> str | None:
    """Why `strongroom WORDS` is not a real command line, or None."""
    command = root
    for word in words:
        inner = getattr(command, "commands", None)
        if word.startswith("-"):
            names = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            if word.split("=")[0] not in names:
                return f"{word} is no option of '{command.name}'"
        elif inner is not None:
            if word not in inner:
                return f"'{word}' is no command of '{command.name}'"
            command = inner[word]
    return None


def root_command() -> Any:
    cli = importlib.import_module("strongroom.cli")
    app = getattr(cli, "app", None)
    assert isinstance(app, typer.Typer), "strongroom.cli.app is the Typer application"
    return typer.main.get_command(app)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def error_codes(tree: ast.Module) -> set[str]:
    """Codes given to StrongroomError or to a class that says it is one of its kind."""
    kinds = {"StrongroomError"} | {
        node.name
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "StrongroomError" for base in node.bases)
    }
    foreign = {
        id(inner)
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in _BUILTIN_ERRORS for base in node.bases)
        for inner in ast.walk(node)
    }
    found = set()
    for node in nodes(tree):
        if not isinstance(node, ast.Call) or not node.args or id(node) in foreign:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        is_super = isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
        first = node.args[0]
        if (name in kinds or is_super) and isinstance(first, ast.Constant):
            code = first.value
            found |= {code} if isinstance(code, str) and _CODE.match(code) else set()
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_docs_are_real(page: str) -> None:
    commands = list(said(PAGES[page], "strongroom"))
    if not commands:
        return
    root = root_command()
    faults = [f"{page}: {fault}" for words in commands if (fault := command_fault(root, words))]
    assert not faults, report(faults)


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_in_the_docs_are_real(page: str) -> None:
    named = {words[0] for words in said(PAGES[page], "make") if words}
    assert named <= make_targets(), named - make_targets()


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    targets = [link for link in _LINK.findall(PAGES[page]) if "://" not in link]
    broken = [link for link in targets if not (here / link).exists()]
    assert not broken, broken


def test_every_page_is_named_by_another() -> None:
    """A page nobody points to is a page nobody reads."""
    roots = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    for page in set(PAGES) - roots:
        folder = page.rsplit("/", 1)[0] + "/"
        short = page.rsplit("/", 1)[1]
        readers = [n for n, text in texts().items() if n != page and (short in text)]
        readers += [n for n, text in PAGES.items() if n in roots and folder in text]
        assert readers, f"{page} is named nowhere; link it from the README or from its neighbors"


def test_error_codes_and_their_page_agree() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    listed = set(re.findall(r"^\|\s*`([a-z][a-z0-9_]*)`", page, re.MULTILINE))
    listed |= set(re.findall(r"^#+\s+`([a-z][a-z0-9_]*)`", page, re.MULTILINE))
    raised = {code: name for name, tree in source().items() for code in error_codes(tree)}
    unlisted = [f"{code} ({name})" for code, name in sorted(raised.items()) if code not in listed]
    assert not unlisted, report(["docs/errors.md does not tell of:", *unlisted])
    spoken = {text for tree in source().values() for text, _ in strings(tree)}
    assert not listed - spoken, f"docs/errors.md tells of codes nobody raises: {listed - spoken}"


def test_decisions_are_numbered_and_have_one_form() -> None:
    pages = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    assert pages
    for number, path in enumerate(pages, 1):
        assert path.name.startswith(f"{number:04d}-"), name_of(path)
        text = path.read_text()
        assert text.startswith(f"# {number:04d}: "), name_of(path)
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert parts[:3] == ["Context", "Decision", "Consequences"], (name_of(path), parts)


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads
    assert heads[0] == "[Unreleased]"
    for head in heads[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", head), head
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}, kinds


def _lists(*, json: bool = False) -> None:
    """A command of the self-check below."""


def test_the_lints_see_what_they_forbid() -> None:
    page = (
        "```sh\n$ A=1 strongroom keys list --json | jq .\n```\nsay `strongroom nope` and `make it`"
    )
    assert list(said(page, "strongroom")) == [["keys", "list", "--json"], ["nope"]]
    assert list(said(page, "make")) == [["it"]]
    app, keys = typer.Typer(name="strongroom"), typer.Typer()
    keys.command("list")(_lists)
    keys.command("show")(lambda: None)
    app.add_typer(keys, name="keys")
    root = typer.main.get_command(app)
    assert command_fault(root, ["keys", "list", "--json"]) is None
    assert command_fault(root, ["keys", "drop"]) == "'drop' is no command of 'keys'"
    assert command_fault(root, ["keys", "list", "--all"])
    inner = "class R(Exception):\n def __init__(self): super().__init__('refused')"
    assert error_codes(ast.parse(inner)) == set()
    code = "class E(StrongroomError): ...\nraise E('a_b', 'x')\nraise StrongroomError('c', 'y')"
    assert error_codes(ast.parse(code)) == {"a_b", "c"}
