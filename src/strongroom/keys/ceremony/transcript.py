"""The transcript of ceremonies: one line for each step, chained by hash and signed.

Each process that leads a ceremony signs with a key of its own that it forgets at its end; what
custodians state is signed with theirs. Cutting the end off shows only against the head that was
journaled. No line holds a share or a key.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.keys.ceremony import errors
from strongroom.keys.dual_control import Card, parse_card
from strongroom.keys.dual_control.custodian_file import decoded, signed_by

START = "0" * 64
_MAX_FILE_BYTES = 16 * 1024 * 1024
Fact = str | int


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step. `signature` is over the canonical form of all the other fields."""

    n: int
    at: str
    ceremony: str
    step: str
    facts: dict[str, str | int]
    key: str
    previous: str
    signature: str


class Report(msgspec.Struct, kw_only=True):
    """What checking a transcript found; `head` is what the journal names."""

    lines: int = 0
    head: str = START
    ceremonies: list[str] = []
    statements: int = 0
    problems: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Transcript:
    """Appends the steps of one ceremony to a transcript's file, each line durable at once."""

    def __init__(self, path: Path, ceremony: str, *, clock: Clock) -> None:
        self._path = path
        self._ceremony = ceremony
        self._clock = clock
        self._key = Ed25519PrivateKey.generate()

    def add(self, step: str, facts: Mapping[str, Fact]) -> None:
        """Write one step after whatever is the last line now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._path, flags, 0o600), "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = _lines(_read(self._path))
            unsigned = {
                "n": len(before) + 1,
                "at": rfc3339_ms(self._clock.now()),
                "ceremony": self._ceremony,
                "step": step,
                "facts": dict(facts),
                "key": _b64(self._key.public_key().public_bytes_raw()),
                "previous": hashlib.sha256(before[-1]).hexdigest() if before else START,
            }
            line = dumps({**unsigned, "signature": _b64(self._key.sign(dumps(unsigned)))})
            file.write(line + b"\n")
            os.fsync(file.fileno())

    def add_card(self, card: Card) -> None:
        """Write a custodian's card with its signed acknowledgement."""
        self.add("custodian", {"card": msgspec.json.encode(card).decode()})

    def add_statement(self, step: str, custodian: str, statement: bytes, signature: bytes) -> None:
        """Write what a custodian signed."""
        self.add(
            step,
            {
                "custodian": custodian,
                "statement": statement.decode(),
                "signature": _b64(signature),
            },
        )


def verify(path: Path, *, head: str | None = None) -> Report:
    """Check a transcript's chain and every signature in it, offline.

    Args:
        path: the file.
        head: the hash that the journal names; some line must have it.
    """
    report = Report()
    known: dict[str, str] = {}
    seen = {START}
    begun: set[str] = set()
    for number, raw in enumerate(_lines(_read(path)), 1):
        line = _line(raw, number, report)
        if line is None:
            break
        if line.step == "begin":
            begun.add(line.key)
            report.ceremonies.append(f"{line.ceremony} {line.at}")
        if line.key not in begun:
            report.problems.append(f"line {number}: of a ceremony that was not begun")
        _check_people(line, number, known, report)
        report.head = hashlib.sha256(raw).hexdigest()
        report.lines = number
        seen.add(report.head)
    if head is not None and head not in seen:
        report.problems.append("the journaled head is not in the file: lines were cut off")
    return report


def head_of(path: Path) -> str:
    """Return the hash of the last line."""
    lines = _lines(_read(path))
    return hashlib.sha256(lines[-1]).hexdigest() if lines else START


def _line(raw: bytes, number: int, report: Report) -> Line | None:
    """Return the line if its form, number, chain and signature hold; else say what is wrong."""
    try:
        line = msgspec.json.decode(raw, type=Line)
        whole = msgspec.to_builtins(line)
        if dumps(whole) != raw:
            raise errors.transcript_invalid("not canonical")
        whole.pop("signature")
        signature, key = decoded(line.signature, "line"), decoded(line.key, "line")
    except (msgspec.MsgspecError, StrongroomError):
        report.problems.append(f"line {number}: not a line of a transcript")
        return None
    if line.n != number or line.previous != report.head:
        report.problems.append(f"line {number}: the chain is broken before it")
    if not signed_by(key, signature, dumps(whole)):
        report.problems.append(f"line {number}: its signature does not hold")
    return line


def _check_people(line: Line, number: int, known: dict[str, str], report: Report) -> None:
    """Check a custodian's card or signed statement; cards come before what they signed."""
    facts = line.facts
    try:
        if line.step == "custodian":
            card = parse_card(str(facts["card"]).encode(), f"line {number}")
            known[card.custodian] = card.signing_key
            report.statements += 1
        elif "statement" in facts:
            key = decoded(known[str(facts["custodian"])], "card")
            signature = decoded(str(facts["signature"]), "line")
            if not signed_by(key, signature, str(facts["statement"]).encode()):
                raise errors.transcript_invalid("statement")
            report.statements += 1
    except (KeyError, StrongroomError):
        report.problems.append(f"line {number}: a custodian's signature does not hold")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return b""
    if len(data) > _MAX_FILE_BYTES:
        raise errors.transcript_invalid(f"{path} is too large")
    return data


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
