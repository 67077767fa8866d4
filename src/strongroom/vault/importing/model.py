"""The types of an import: its files, how far it has come, and one line of its input."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from strongroom.kernel.secret import Secret
from strongroom.vault.model import CardInput

Format = Literal["csv", "jsonl"]


class ImportFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where cards come from, where their tokens go, and where refused lines are told."""

    source: Path
    format: Format
    tokens: Path
    rejects: Path


class ImportState(msgspec.Struct, frozen=True, kw_only=True):
    """A row of vault.import_job: everything before `at_byte` is done, and in the two files."""

    merchant_id: UUID
    name: str
    id: UUID
    digest: bytes
    version: int = 1
    at_byte: int = 0
    lines: int = 0
    imported: int = 0
    rejected: int = 0
    tokens_bytes: int = 0
    rejects_bytes: int = 0
    created_at: datetime
    done_at: datetime | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A line that is a card the vault takes."""

    external_id: str
    card: CardInput
    brand: str


class Rejected(msgspec.Struct, frozen=True):
    """A line that is none: its number in the file, why, and at most a masked card number."""

    line: int
    code: str
    masked: str


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of a line. In CSV all of them are text."""

    external_id: str
    number: Secret[str]
    exp_month: int
    exp_year: int
    holder_name: Secret[str] | None = None
