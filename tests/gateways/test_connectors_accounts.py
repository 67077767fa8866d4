"""Accounts that cannot be right never start; routing is what the settings say; the room is pure."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import strongroom.gateways
from strongroom.gateways import GatewayAccount, Routing, registry, route
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

GOOD: dict[str, Any] = {
    "name": "stripe-eu",
    "connector": "stripe",
    "base_url": "https://api.stripe.com",
    "secret": Secret("sk_test_1"),
}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "Stripe EU"}, "name"),
        ({"base_url": "http://api.stripe.com"}, "base_url"),
        ({"base_url": "https://api.stripe.com/"}, "base_url"),
        ({"base_url": "https://user@api.stripe.com"}, "base_url"),
        ({"base_url": "https://api.stripe.com\n"}, "base_url"),
        ({"base_url": "ftp://127.0.0.1"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"base_url": "http://127.0.0.1:1", "live": True}, "base_url"),
        ({"secret": Secret("")}, "secret"),
        ({"secret": Secret("sk_test_1\r\nX: 1")}, "secret"),
        ({"secret": Secret("sk_live_1")}, "secret"),
        ({"secret": Secret("pk_test_1")}, "secret"),
        ({"live": True}, "secret"),
        ({"webhook_secrets": (Secret(""),)}, "webhook_secrets"),
        ({"connector": "sandbox", "live": True}, "live"),
    ],
)
def test_wrong_accounts_are_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(StrongroomError) as caught:
        GatewayAccount(**GOOD | change)
    assert (caught.value.code, caught.value.param) == ("gateway_misconfigured", param)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"secret": Secret("rk_live_1"), "live": True},
        {"base_url": "http://127.0.0.1:8080"},
        {"base_url": "http://[::1]:8080"},
        {"base_url": "https://gateway.internal:8443"},
        {"connector": "sandbox", "secret": Secret("sbx_sk_1"), "base_url": "http://localhost:1"},
    ],
)
def test_right_accounts_are_taken(change: dict[str, Any]) -> None:
    account = GatewayAccount(**GOOD | change)
    assert "_1" not in repr(account)
    (connector,) = registry([account]).values()
    assert connector.name == "stripe-eu"
    assert connector.capabilities.origins == (account.base_url,)


def test_two_accounts_of_one_name_are_refused() -> None:
    account = GatewayAccount(**GOOD)
    with pytest.raises(StrongroomError, match="gateway_misconfigured"):
        registry([account, account])


def test_two_accounts_at_one_gateway_are_fine() -> None:
    other = GatewayAccount(**GOOD | {"name": "stripe-us", "secret": Secret("sk_test_2")})
    assert set(registry([GatewayAccount(**GOOD), other])) == {"stripe-eu", "stripe-us"}


def test_routing() -> None:
    routing = Routing("sandbox", {"mer_1": "stripe-eu"})
    assert route(routing, merchant="mer_1") == "stripe-eu"
    assert route(routing, merchant="mer_2") == "sandbox"


ALLOWED = {
    "__future__", "collections", "datetime", "enum", "hashlib", "hmac", "json", "msgspec", "re",
    "strongroom", "types", "typing", "urllib",
}  # fmt: skip


def test_connectors_do_no_io() -> None:
    """Everything but the sandbox program imports only what cannot reach outside."""
    room = Path(strongroom.gateways.__file__).parent
    files = [path for path in room.rglob("*.py") if "sandbox_server" not in path.parts]
    assert len(files) > 10
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            for name in names:
                assert name.split(".")[0] in ALLOWED, f"{path.name} imports {name}"
                assert not name.startswith("urllib.request"), path.name
            assert not (isinstance(node, ast.Name) and node.id in ("open", "print")), path.name
