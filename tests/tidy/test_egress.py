"""Two ways out, one set of rules: outbound's client, and the vault's `forward` over its sockets.

The exceptions are programs of ours beside the service: the sandbox gateway, the supervisor and the
commands, which speak to this machine, storage, which speaks to its database, root providers,
which speak to the one key service that the settings name, and the unseal socket in the data
directory.
"""

from __future__ import annotations

import ast

from tests.tidy.tree import imports, nodes, report, source

WAYS_OUT = {"socket", "ssl", "http.client", "urllib.request", "urllib3", "aiohttp", "smtplib"}
_CONNECTS = {"open_connection", "open_unix_connection", "create_connection"}
_MAY_CONNECT = (
    "src/strongroom/outbound/",
    "src/strongroom/vault/",
    "src/strongroom/keys/roots/",
    "src/strongroom/keys/ceremony/channel.py",
    "src/strongroom/storage/",
    "src/strongroom/app/",
    "src/strongroom/api/listening.py",
    "src/strongroom/api/tls.py",
    "src/strongroom/cli/",
    "src/strongroom/gateways/sandbox_server/",
)
_PURE = "src/strongroom/gateways/"
_NOT_PURE = "src/strongroom/gateways/sandbox_server/"


def ways_out(tree: ast.Module) -> list[str]:
    found = [f"{line}: imports {name}" for name, _, line in imports(tree) if name in WAYS_OUT]
    return found + [
        f"{node.lineno}: {node.attr}"
        for node in nodes(tree)
        if isinstance(node, ast.Attribute) and node.attr in _CONNECTS
    ]


def test_only_named_rooms_can_connect() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in source().items()
        if not name.startswith(_MAY_CONNECT)
        for line in ways_out(tree)
    ]
    assert not found, report(found)


def test_connectors_build_and_parse_without_io() -> None:
    found = [
        f"{name}:{line}: imports {module}"
        for name, tree in source().items()
        if name.startswith(_PURE) and not name.startswith(_NOT_PURE)
        for module, _, line in imports(tree)
        if module.split(".")[0] in {"asyncio", "os", "random", "secrets", "subprocess", "time"}
    ]
    assert not found, report(found)


def test_the_lint_sees_a_way_out() -> None:
    for code in ("import socket", "from aiohttp import ClientSession", "loop.create_connection(p)"):
        assert ways_out(ast.parse(code)), code
    assert not ways_out(ast.parse("import urllib.parse"))
