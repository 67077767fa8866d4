"""The vault's tests once more, each verb over mutually authenticated TLS to a listening vault.

The functions are those of the other modules; only the vault they are given is another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.vault import CardVault, EgressPolicy
from tests.keys.house import House
from tests.vault import (
    test_cards,
    test_encrypted_cards,
    test_forward,
    test_kinds,
    test_reveal,
    test_vault,
)
from tests.vault.far import Service, far_vault
from tests.vault.gateway import FakeGateway


@pytest.fixture
async def vault(installed: House, gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[Any]:
    near = CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(private_origins=(gateway.origin,)),
        clock=installed.clock,
    )
    async with far_vault(installed, near, tmp_path / "tls") as far:
        yield Service(far, (await far.caller()).vault)
    await near.close()


OTHERWISE = {"test_a_code_dies_with_its_handle", "test_forgotten_codes_are_swept"}
"""What takes its moment over a connection: test_remote_calls.py says how it is there."""


def _taken(module: Any) -> dict[str, Any]:
    """Return a module's tests that are given a vault."""
    found = {}
    for name, function in vars(module).items():
        if name.startswith("test_") and name not in OTHERWISE and callable(function):
            code = function.__code__
            if "vault" in code.co_varnames[: code.co_argcount]:
                found[name] = function
    return found


for _module in (
    test_cards,
    test_encrypted_cards,
    test_forward,
    test_kinds,
    test_reveal,
    test_vault,
):
    globals().update(_taken(_module))
