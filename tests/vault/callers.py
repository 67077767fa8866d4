"""Who asks the vault, and a policy that remembers what it was asked."""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.vault import CardVault
from tests.vault.conftest import a_card

AMEX = "378282246310005"


class Operator(msgspec.Struct):
    id: str = "op_1"


class Policy:
    """Stands in the place of the access room's check; says yes or no and remembers the question."""

    def __init__(self, *, allow: bool = True) -> None:
        self.asked: list[dict[str, Any]] = []
        self._allow = allow

    def __call__(self, principal: object, /, **question: Any) -> None:
        self.asked.append({"principal": principal, **question})
        if not self._allow:
            raise StrongroomError("permission_denied", "Not allowed.")


async def tokenize(vault: CardVault, merchant: str, *args: Any, saved: bool = False) -> str:
    card = a_card(*args)
    return (await vault.tokenize(merchant, card, saved=saved, actor="key_1")).token
