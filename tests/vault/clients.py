"""The key document of a vault as clients get it, and what the vault says of a message."""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.api.routes.vault_keys import document_answer
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import EncryptedCard
from strongroom.vault import CardVault


async def document(vault: CardVault, merchant: str) -> dict[str, Any]:
    """Return the document that GET /v1/vault/keys shows, decoded."""
    answer = document_answer(await vault.client_keys(merchant), live=False)
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return decoded


async def said(vault: CardVault, merchant: str, text: str) -> str:
    """Return `accepted`, or the code with which the vault refuses a message."""
    try:
        await vault.tokenize_encrypted(merchant, EncryptedCard(text), saved=False, actor="key_t")
    except StrongroomError as error:
        return error.code
    return "accepted"
