"""The journal's types: an entry to write, an entry as recorded, a checkpoint, a proof, a report.

`Entry` refuses at construction everything that is not plain text or a plain number, so that no
`Pan`, `Cvc` or `Secret` can get near the journal.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import msgspec

from strongroom.journal import errors

Fact = str | int | bool

_ACTION = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*:[a-z][a-z0-9_]*\Z")
_OPTIONAL_TEXT = (str, type(None))
_FACT = (str, int, bool)
_MAX_INT = 2**53 - 1
"""Largest integer that every JSON reader takes exactly (RFC 8785 section 3.2.2.3)."""

_known_actions: set[str] = set()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One fact to be recorded: who did what to which thing, how it ended and why.

    `action` is `room:subject:verb`, such as `payments:payment:authorize`. `merchant` is None for
    what concerns the installation itself. `facts` are flat; personal values stand in them only as
    tokens or salted commitments.

    Raises:
        StrongroomError: `journal_refused` when a field is not plain text, number or truth value.
    """

    action: str
    subject: str
    outcome: str
    merchant: str | None
    actor: str
    reason: str | None = None
    facts: dict[str, Fact] = {}
    request: str | None = None

    def __post_init__(self) -> None:
        if type(self.action) is not str or self.action not in _known_actions:
            _learn_action(self.action)
        for text in (self.subject, self.outcome, self.actor):
            if type(text) is not str:
                raise errors.refused("subject, outcome and actor must be plain text")
        for optional in (self.merchant, self.reason, self.request):
            if type(optional) not in _OPTIONAL_TEXT:
                raise errors.refused("merchant, reason and request must be plain text or None")
        for name, value in self.facts.items():
            if type(name) is not str or not name.isascii() or type(value) not in _FACT:
                raise errors.refused("facts must map ASCII text to text, integers or truth values")
            if type(value) is int and not -_MAX_INT <= value <= _MAX_INT:
                raise errors.refused("integers beyond 2^53-1 have no canonical JSON form")


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry as it stands in the journal."""

    id: str
    at: str
    merchant: str | None
    actor: str
    action: str
    subject: str
    outcome: str
    reason: str | None
    facts: dict[str, Fact]
    request: str | None


class Batch(msgspec.Struct, frozen=True):
    """A committed group of entries and, once sequenced, its place in the tree."""

    id: UUID
    first_index: int
    size: int


class StoredEntry(msgspec.Struct, frozen=True):
    """A row of journal.entry, with all that finds it."""

    merchant_id: UUID
    id: UUID
    batch_id: UUID
    n: int
    at: datetime
    action: str
    subject: str
    body: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement: the journal had `size` entries and this root. `note` carries it."""

    size: int
    root: bytes
    note: str
    at: datetime | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to check one entry offline against the journal's public key.

    `entry` is the exact recorded text, `hashes` the audit path in base64, `checkpoint` the note.
    """

    entry: str
    index: int
    size: int
    hashes: list[str]
    checkpoint: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: a stable `code`, where it is, and what it means for people."""

    code: str
    where: str
    message: str


class StoreReport(msgspec.Struct, kw_only=True):
    """What `verify_store` found. `problems` is cut at a limit; `problem_count` is not."""

    size: int = 0
    entries: int = 0
    batches: int = 0
    tiles: int = 0
    checkpoints: int = 0
    unsequenced: int = 0
    root: bytes = b""
    problem_count: int = 0
    problems: list[Problem] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


class SliceReport(msgspec.Struct, kw_only=True):
    """What `verify_slice` found, and how much its verdict is worth.

    `complete` says whether the file proves that no entry between its first and last is missing.
    `key_given` is False when the key was taken from the file itself, which anyone can make.
    """

    origin: str = ""
    key: str = ""
    key_given: bool = False
    size: int = 0
    entries: int = 0
    first: int | None = None
    last: int | None = None
    complete: bool = False
    statements: list[str] = []
    problem_count: int = 0
    problems: list[Problem] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


def _learn_action(action: str) -> None:
    if type(action) is not str or not _ACTION.match(action):
        raise errors.refused("the action is not of the form room:subject:verb")
    _known_actions.add(action)
