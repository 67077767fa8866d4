"""The types of subject keys: a stored key with its end, and the signed receipt of a shredding."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from strongroom.keys.model import StoredKey


class SubjectKey(msgspec.Struct, frozen=True, kw_only=True):
    """A data subject's key as it stands in the database; `key.wrapped` is empty once destroyed."""

    merchant: UUID
    subject: UUID
    key: StoredKey
    destroyed_by: str | None = None
    destroyed_reason: str | None = None
    destroyed_request: str | None = None
    cards_removed: int | None = None

    @property
    def version(self) -> int:
        """The key's version; a person who comes back after a shredding gets the next one."""
        return self.key.record.version

    @property
    def destroyed(self) -> bool:
        """Whether the key is gone."""
        return self.key.state == "destroyed"


class Shredded(msgspec.Struct, frozen=True, kw_only=True):
    """A signed receipt. `receipt` is what was signed, in canonical JSON."""

    receipt: dict[str, Any]
    signature: str
    key: str
