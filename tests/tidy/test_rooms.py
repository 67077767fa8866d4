"""In every room the same file name means the same thing, and a room is entered by its door only."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import PurePosixPath

import pytest

from tests.tidy.tree import PACKAGE, ROOT, imports, nodes, report, room_of, rooms, source, strings

DOOR_NAMES_MAX = 10
COMMON = {"__init__", "model", "decide", "flow", "records", "errors"}
"""File names that mean the same in every room; schema/ holds its migrations."""

OWN: dict[str, set[str]] = {
    "access": {
        "actions", "approvals", "break_glass", "engine", "policies", "residual", "reviews",
        "survey",
    },
    "api": {
        "app", "approving", "arrival", "build", "challenges", "endpoint", "forms", "headers",
        "intake", "limiting", "listening", "log", "metrics", "openapi", "page", "problems",
        "proxies", "render", "requestline", "router", "routes", "server", "settings", "strict",
        "tls", "token_model", "wire",
    },
    "app": {
        "callers", "ceremonies", "certificate_alarms", "certified", "compose", "console",
        "credentials", "databases", "edge", "elsewhere", "four_eyes", "four_eyes_settings",
        "handout", "hosting", "initialize", "joined", "leak_settings", "lifeline",
        "limit_settings", "limiting", "logs", "oauth", "origin", "people", "probing",
        "provisioning", "readiness", "review_sources", "roots", "sandboxing", "scanning",
        "sealed_face", "serving", "settings", "share_out", "spire", "supervisor", "trusted",
        "unsealing", "worker", "workload_settings",
    },
    "cli": {
        "access", "access_approvals", "access_reviews", "admin", "api_keys", "approvals",
        "asking", "break_glass", "ceremony", "ceremony_files", "certificates", "client",
        "client_keys", "command", "custodians", "demo", "doctor", "files", "findings",
        "first_payment", "four_eyes", "health_access", "health_machine", "health_root",
        "health_store", "installation", "journal", "key_inventory", "key_rotation",
        "oauth_clients", "operators", "places", "program", "receipt", "root_options", "roots",
        "running", "sandbox", "scan", "show", "signing_keys", "subjects", "token_keys", "vault",
        "workload",
    },
    "console": {
        "app", "assets", "confirm", "cookies", "forms", "headers", "page", "pages", "render",
        "static", "templates",
    },
    "detection": {"archives", "files", "scan", "streams", "tables"},
    "gateways": {
        "account", "declines", "reading", "registry", "sandbox", "sandbox_server", "signing",
        "stripe",
    },
    "identity": {
        "api_keys", "arrivals", "callers", "keytext", "levels", "lookup", "oauth", "oidc",
        "operators", "refusals", "replays", "signatures", "usage", "workloads",
    },
    "journal": {
        "audit", "export", "note", "offline", "sequencer", "slices", "tree",
        "verify", "witness",
    },
    "kernel": {
        "canonical", "clock", "conditions", "decided", "edge_limits", "escape", "ids", "lazy",
        "limits", "money", "networks", "ports", "screen", "secret",
    },
    "keys": {
        "anchor", "cache", "ceremony", "certificates", "client_keys", "custody", "desk",
        "dual_control", "envelope", "format_key", "foundation", "inventory", "listing", "material",
        "memory", "naming", "one_time", "peppers", "private_files", "roots", "rotation",
        "signatures", "subjects", "tables", "token_keys", "verifying",
    },
    "outbound": {"addresses", "client", "message", "origins", "wire"},
    "payments": {
        "attempt", "breaker", "context", "creating", "events", "idempotency", "operating",
        "recovery", "settling", "states", "writing",
    },
    "storage": {
        "change", "committer", "counters", "database", "datamap", "embedded", "embedded_cluster",
        "embedded_process", "embedded_programs", "embedded_settings", "embedded_watchdog",
        "installation", "migrate", "pool", "statement", "where",
    },
    "vault": {
        "brands", "client_encryption", "courier", "cvc", "desk", "egress", "entries", "fill",
        "formats", "fresh", "importing", "purge", "remote", "revealing", "rotation",
        "scrub", "subjects", "tokens",
    },
}  # fmt: skip
"""Room → the modules and folders that only it has; each says in its first line what it is for."""

SIDE_DOORS = {
    "strongroom.access.reviews": {"app", "cli", "console"},
    "strongroom.app.four_eyes": {"cli"},
    "strongroom.access.break_glass": {"api", "app", "cli", "console"},
    "strongroom.access.approvals": {"api", "app", "cli", "console"},
    "strongroom.app.ceremonies": {"cli"},
    "strongroom.app.share_out": {"cli"},
    "strongroom.app.unsealing": {"cli"},
    "strongroom.keys.ceremony": {"app", "cli"},
    "strongroom.app.roots": {"cli"},
    "strongroom.keys.roots": {"app", "cli"},
    "strongroom.keys.certificates": {"api", "app", "cli", "vault"},
    "strongroom.vault.remote": {"app"},
    "strongroom.app.handout": {"cli"},
    "strongroom.app.certificate_alarms": {"cli"},
    "strongroom.app.joined": {"cli"},
    "strongroom.identity.oidc": {"app", "console"},
    "strongroom.identity.workloads": {"app", "cli"},
    "strongroom.gateways.sandbox_server": {"app", "cli"},
    "strongroom.keys.anchor": {"app", "cli"},
    "strongroom.keys.dual_control": {"app", "cli"},
    "strongroom.keys.inventory": {"cli"},
    "strongroom.keys.rotation": {"app", "cli"},
    "strongroom.vault.rotation": {"app"},
    "strongroom.keys.subjects": {"cli"},
    "strongroom.identity.oauth": {"api", "app", "cli"},
    "strongroom.identity.operators": {"access", "app", "cli", "console"},
    "strongroom.identity.replays": {"app"},
    "strongroom.identity.api_keys": {"api", "app"},
    "strongroom.identity.signatures": {"app", "cli"},
    "strongroom.keys.verifying": {"identity", "cli"},
    "strongroom.outbound.message": {"vault"},
    "strongroom.outbound.wire": {"vault"},
    "strongroom.storage.counters": {"api", "app"},
    "strongroom.storage.counters.valkey": {"app"},
    "strongroom.storage.datamap": {"cli", "detection"},
    "strongroom.storage.embedded": {"app", "cli"},
    "strongroom.storage.installation": {"app", "cli"},
    "strongroom.storage.migrate": {"app", "cli"},
    "strongroom.vault.brands": {"detection"},
}
"""Modules that only the composition root and the commands need: they start and prepare things."""

WIDE_DOORS = {
    "api": 13, "app": 13, "gateways": 12, "identity": 17, "journal": 11, "keys": 19, "payments": 14,
    "storage": 16, "vault": 18,
}  # fmt: skip
"""Rooms with a larger door: every name is a type in a signature. They may shrink, never grow."""

DOORLESS = {"kernel"}
"""The kernel's modules are small vocabularies and are imported by name."""

SQL_HOMES = {"storage"}
"""Rooms whose every module may hold SQL; elsewhere it is records.py and schema/ only."""

READ_BY_TESTS = {"strongroom.storage.datamap"}
"""Modules that ship for the tests' sake: the data map is compared with the live catalog."""

_SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\s+\S+\s+SET\b|\bDELETE\s+FROM\b"
    r"|\b(CREATE|ALTER|DROP)\s+(TABLE|INDEX|SCHEMA|ROLE|FUNCTION)\b|\bTRUNCATE\s+\w"
    r"|^\s*(select|insert\s+into|update|delete\s+from|with)\s[\s\S]*\b(from|set|values|select)\b",
    re.DOTALL,
)
_IMPURE = {"asyncio", "time", "random", "secrets", "os", "socket", "ssl", "subprocess"}


def stray_modules(room: str, stems: set[str]) -> list[str]:
    return sorted(stems - COMMON - OWN.get(room, set()))


def door_names(tree: ast.Module) -> list[str] | None:
    """The literal `__all__` of a package, or None."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                return list(ast.literal_eval(node.value))
    return None


def door_faults(tree: ast.Module, *, names_max: int = DOOR_NAMES_MAX) -> list[str]:
    names = door_names(tree)
    if names is None:
        return ["has no __all__"]
    faults = [f"shows {len(names)} names"] if len(names) > names_max else []
    made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return faults + [
        f"defines {node.name}"
        for node in tree.body
        if isinstance(node, made) and node.name != "__getattr__"  # lazy doors open a room in parts
    ]


def inner_imports(room: str, tree: ast.Module, doors: dict[str, list[str]]) -> list[str]:
    """Imports that climb into another room past its door."""
    found = []
    for module, name, line in imports(tree):
        parts = module.split(".")
        if parts[0] != "strongroom" or len(parts) == 1:
            continue
        other = parts[1]
        if other == room or other in DOORLESS or room in SIDE_DOORS.get(module, ()):
            continue
        if len(parts) > 2 or (name and name not in doors.get(other, ())):
            found.append(f"{line}: {module} {name}")
    return found


def sql_strings(tree: ast.Module) -> list[str]:
    return [f"{line}: {text[:60]!r}" for text, line in strings(tree) if _SQL.search(text)]


def impurities(tree: ast.Module) -> list[str]:
    """What a deciding module must not have: waiting, clocks, chance, the outside world."""
    found = [
        f"{line}: imports {module}"
        for module, _, line in imports(tree)
        if module.split(".")[0] in _IMPURE or re.search(r"\.(flow|records)$", module)
    ]
    chance = {"uuid1", "uuid4", "uuid7", "new_id", "new_uuid7", "SystemClock"}
    found += [f"{line}: takes {name}" for _, name, line in imports(tree) if name in chance]
    waits = (ast.AsyncFunctionDef, ast.Await)
    found += [f"{node.lineno}: waits" for node in nodes(tree) if isinstance(node, waits)]
    return found


@pytest.mark.parametrize("room", rooms())
def test_room_has_only_known_files(room: str) -> None:
    stems = {path.stem for path in (PACKAGE / room).glob("*.py")}
    stray = stray_modules(room, stems)
    assert not stray, f"{room}: name these in OWN: {stray}"
    folders = {p.name for p in (PACKAGE / room).iterdir() if p.is_dir()} - {"__pycache__"}
    gone = OWN.get(room, set()) - stems - folders
    assert not gone, f"{room}: OWN names modules that do not exist: {gone}"
    assert folders <= {"schema"} | OWN.get(room, set()), f"{room}: unknown folders in {folders}"


@pytest.mark.parametrize("room", sorted(set(rooms()) - DOORLESS))
def test_door_is_small_and_only_a_door(room: str) -> None:
    tree = source()[f"src/strongroom/{room}/__init__.py"]
    faults = door_faults(tree, names_max=WIDE_DOORS.get(room, DOOR_NAMES_MAX))
    assert not faults, f"{room}/__init__.py {faults}"


def test_rooms_are_entered_by_their_doors() -> None:
    doors = {
        room: door_names(source()[f"src/strongroom/{room}/__init__.py"]) or [] for room in rooms()
    }
    found = [
        f"{name}:{line}"
        for name, tree in source().items()
        for line in inner_imports(room_of(name), tree, doors)
    ]
    assert not found, report(found)


def test_sql_lives_in_records() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in source().items()
        if PurePosixPath(name).name != "records.py" and room_of(name) not in SQL_HOMES
        for line in sql_strings(tree)
    ]
    assert not found, report(found)


def test_decisions_are_pure() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in source().items()
        if PurePosixPath(name).name == "decide.py"
        for line in impurities(tree)
    ]
    assert not found, report(found)


def test_every_records_module_is_protected() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    protected = {
        tuple(contract["protected_modules"]): contract["allowed_importers"]
        for contract in settings["contracts"]
        if contract["type"] == "protected"
    }
    for path in PACKAGE.glob("*/records.py"):
        room = f"strongroom.{path.parent.name}"
        assert protected.get((f"{room}.records",)) == [room], f"no contract protects {room}.records"


def test_every_module_has_a_reader() -> None:
    """A module nobody imports is dead, unless it is a way in."""
    read = {module for tree in source().values() for module, _, _ in imports(tree)}
    read |= {f"{m}.{n}" for tree in source().values() for m, n, _ in imports(tree) if n}
    read |= {text for tree in source().values() for text, _ in strings(tree)}  # python -m NAME
    ours = [module.split(".") for module in read if module.startswith("strongroom.")]
    read |= {".".join(parts[:end]) for parts in ours for end in range(1, len(parts))}
    ways_in = {"strongroom.cli", "strongroom"} | READ_BY_TESTS
    for name in source():
        dotted = name.removeprefix("src/").removesuffix(".py").replace("/", ".")
        dotted = dotted.removesuffix(".__init__")
        used = dotted in read
        is_way_in = dotted in ways_in or dotted.endswith(".__main__")
        assert used or is_way_in, f"{name} is imported by nobody"


def test_the_lints_see_what_they_forbid() -> None:
    assert stray_modules("vault", {"model", "helpers"}) == ["helpers"]
    assert door_faults(ast.parse("x = 1"))
    assert door_faults(ast.parse(f"__all__ = {[str(n) for n in range(DOOR_NAMES_MAX + 1)]}"))
    assert door_faults(ast.parse("__all__ = []\ndef f(): pass"))
    doors = {"vault": ["Vault"]}
    assert inner_imports("payments", ast.parse("from strongroom.vault.flow import x"), doors)
    assert inner_imports("payments", ast.parse("from strongroom.vault import flow"), doors)
    assert not inner_imports("payments", ast.parse("from strongroom.vault import Vault"), doors)
    for sql in ("SELECT a\nFROM b", "insert into t values (1)", "UPDATE {} SET a = 1"):
        assert sql_strings(ast.parse(f"q = {sql!r}")), sql
    assert not sql_strings(ast.parse("q = 'select a currency, please'"))
    assert impurities(ast.parse("import time")) and impurities(ast.parse("async def f(): pass"))
