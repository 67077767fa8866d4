"""The SQL of used messages, and nobody else's."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from strongroom.storage import Change, Claim, Database

MESSAGE = Claim(
    "vault.client_message",
    {"merchant_id": "uuid", "id": "uuid", "expires_at": "timestamptz"},
    key=("merchant_id", "id"),
    id_column="id",
)


def use(change: Change, merchant: UUID, message: UUID, *, until: datetime) -> None:
    """Claim a message for its one use."""
    change.add(MESSAGE, (merchant, message, until))


async def forget(database: Database, now: datetime) -> None:
    """Delete used messages that nothing would take any more."""
    await database.execute("DELETE FROM vault.client_message WHERE expires_at < $1", now)
