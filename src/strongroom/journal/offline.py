"""Checks an exported slice, or a single proof, with nothing but the file and the journal's key.

This module needs neither the store nor a database driver. It believes nothing the file says except
what the signed checkpoint's root bears out, and says plainly what that does and does not prove.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from strongroom.journal import errors
from strongroom.journal.model import Checkpoint, Problem, Proof, Recorded, SliceReport
from strongroom.journal.note import (
    VerifierKey,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_key,
)
from strongroom.journal.slices import (
    FORMAT,
    MAX_LINE_BYTES,
    SliceEnd,
    SliceEntry,
    SliceHeader,
    seal_text,
)
from strongroom.journal.tree import leaf_hash, root_from_inclusion
from strongroom.kernel.errors import StrongroomError

MAX_PROBLEMS = 1_000
"""Problems that are told in words; the rest is only counted."""

_recorded = msgspec.json.Decoder(Recorded)
_header = msgspec.json.Decoder(SliceHeader)
_entry = msgspec.json.Decoder(SliceEntry)
_end = msgspec.json.Decoder(SliceEnd)


def verify_proof(given: Proof | Mapping[str, Any], *, public_key: str) -> Recorded:
    """Check one entry's proof, as read from the API or as a `Proof`, and return the entry.

    Raises:
        StrongroomError: `proof_invalid` or `journal_note_invalid` with what is wrong.
    """
    proof = _proof(given)
    checkpoint = open_checkpoint(proof.checkpoint, [parse_key(public_key)])
    body = proof.entry.encode()
    root = root_from_inclusion(
        proof.index, checkpoint.size, leaf_hash(body), _hashes(proof.hashes) or []
    )
    if checkpoint.size != proof.size or root != checkpoint.root:
        raise errors.proof_invalid(
            "The entry, its index or its hashes do not lead to the signed root."
        )
    try:
        return _recorded.decode(body)
    except msgspec.MsgspecError:
        raise errors.proof_invalid("What is proven is not a journal entry.") from None


def _proof(given: Proof | Mapping[str, Any]) -> Proof:
    if isinstance(given, Proof):
        return given
    try:
        return msgspec.convert(given, Proof)
    except msgspec.MsgspecError:
        raise errors.proof_invalid("This is not a proof of a journal entry.") from None


def verify_slice(
    path: Path,
    *,
    public_key: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> SliceReport:
    """Check a slice file line by line and explain every problem.

    Without `public_key` the key in the file is used, which shows only that the file agrees with
    itself. `progress` is called with the number of entries checked so far.
    """
    with open(path, "rb") as file:
        return _Checker(file, public_key).run(progress)


class _Checker:
    """One pass over one file."""

    def __init__(self, file: BinaryIO, public_key: str | None) -> None:
        self._lines = _read(file)
        self._given = public_key
        self._report = SliceReport(key_given=public_key is not None)
        self._digest = sha256()
        self._checkpoint = Checkpoint(size=0, root=b"", note="")
        self._header: SliceHeader | None = None
        self._key: VerifierKey | None = None
        self._last_id = ""
        self._expected = 0

    def run(self, progress: Callable[[int], None] | None) -> SliceReport:
        if not self._open():
            return self._report
        ended = False
        for number, line in enumerate(self._lines, start=2):
            if ended:
                self._problem("after_end", f"line {number}", "Lines stand after the last one.")
                break
            if line.startswith(b'{"count"'):
                self._close(number, line)
                ended = True
                continue
            self._digest.update(line)
            self._entry(number, line)
            if progress is not None and self._report.entries % 1_000 == 0:
                progress(self._report.entries)
        if not ended:
            self._problem("cut_short", "end of file", "The last line is missing: the file was cut.")
        self._conclude()
        return self._report

    def _open(self) -> bool:
        """Read the header and the signed checkpoint; False when there is nothing to check by."""
        line = next(self._lines, b"")
        self._digest.update(line)
        try:
            header = self._header = _header.decode(line)
            if header.format != FORMAT:
                raise msgspec.ValidationError
        except msgspec.MsgspecError:
            self._problem("not_a_slice", "line 1", f"The file is not a {FORMAT} file.")
            return False
        self._expected = header.first
        try:
            self._key = self._choose_key(header)
            self._report.key = self._key.text()
            self._checkpoint = self._open_checkpoint(header, self._key)
        except StrongroomError as error:
            self._problem("checkpoint_invalid", "line 1", error.public)
            return False
        self._report.origin = header.origin
        self._report.size = self._checkpoint.size
        return True

    def _choose_key(self, header: SliceHeader) -> VerifierKey:
        named = parse_key(header.key)
        if self._given is None:
            return named
        given = parse_key(self._given)
        if given != named:
            self._problem(
                "other_key",
                "line 1",
                f"The file names the key {header.key}, not the one that was given.",
            )
        return given

    def _open_checkpoint(self, header: SliceHeader, key: VerifierKey) -> Checkpoint:
        """Return the checkpoint; when it is not signed, what it says is still used to go on."""
        try:
            return open_checkpoint(header.checkpoint, [key])
        except StrongroomError as error:
            text = header.checkpoint.rpartition("\n\n")[0] + "\n"
            _, size, root = parse_checkpoint(text)
            self._problem(
                "checkpoint_invalid",
                "line 1",
                f"The checkpoint is not signed by the journal's key: {error.public}",
            )
            return Checkpoint(size=size, root=root, note=header.checkpoint)

    def _entry(self, number: int, line: bytes) -> None:
        where = f"line {number}"
        try:
            entry = _entry.decode(line)
        except msgspec.MsgspecError:
            self._problem("line_malformed", where, "The line is not an entry of a slice.")
            return
        report = self._report
        report.entries += 1
        body = entry.body.encode(errors="surrogatepass")
        root = root_from_inclusion(
            entry.index, self._checkpoint.size, leaf_hash(body), _hashes(entry.proof) or []
        )
        try:
            recorded = _recorded.decode(body)
            where = f"line {number}, entry {recorded.id}"
        except msgspec.MsgspecError:
            self._problem("line_malformed", where, "Its body is not a journal entry.")
            return
        if root != self._checkpoint.root:
            self._problem(
                "entry_changed",
                where,
                f"It is not what was signed at index {entry.index}: its content, its index or its "
                "proof was changed.",
            )
        self._place(where, entry, recorded)

    def _place(self, where: str, entry: SliceEntry, recorded: Recorded) -> None:
        header, report = self._header, self._report
        report.first = entry.index if report.first is None else min(report.first, entry.index)
        report.last = entry.index if report.last is None else max(report.last, entry.index)
        if header is not None and header.kind == "selection":
            if recorded.merchant != header.merchant:
                self._problem("entry_foreign", where, "It is not of the merchant the file is for.")
            if recorded.id <= self._last_id:
                self._problem("out_of_order", where, "It stands out of order, or twice.")
            self._last_id = recorded.id
            return
        if entry.index < self._expected:
            self._problem("out_of_order", where, "It stands out of order, or twice.")
        elif entry.index > self._expected:
            self._missing(where, entry.index)
        self._expected = max(self._expected, entry.index + 1)

    def _missing(self, where: str, before: int) -> None:
        span = f"{self._expected} to {before - 1}"
        self._problem("entry_missing", where, f"The entries with indexes {span} were taken out.")

    def _close(self, number: int, line: bytes) -> None:
        where = f"line {number}"
        try:
            end = _end.decode(line)
        except msgspec.MsgspecError:
            self._problem("line_malformed", where, "The last line is malformed.")
            return
        if end.count != self._report.entries:
            self._problem(
                "count_wrong",
                where,
                f"The file says it has {end.count} entries, but has {self._report.entries}.",
            )
        if end.sha256 != self._digest.hexdigest():
            self._problem(
                "file_changed", where, "The file is not the one that was exported: lines changed."
            )
        if end.seal is not None:
            self._check_seal(where, end.seal)

    def _check_seal(self, where: str, seal: str) -> None:
        if self._key is None:
            return
        expected = seal_text(self._key.name, self._digest.hexdigest())
        try:
            fits = open_note(seal, [self._key]) == expected
        except StrongroomError:
            fits = False
        if not fits:
            self._problem("seal_broken", where, "The exporter's seal does not fit the file.")
            return
        self._report.statements.append(
            "The exporter's seal fits: nothing was changed or taken out since the file was made."
        )

    def _conclude(self) -> None:
        header, report = self._header, self._report
        if header is None:
            return
        if header.kind == "range":
            if self._expected < header.end:
                self._missing("end of file", header.end)
            report.complete = report.ok
        if report.ok:
            report.statements[:0] = [self._verdict(header)]
        if not report.key_given:
            report.statements.append(
                "The key was taken from the file itself: compare it with the one you were given "
                "before you believe anything else here."
            )

    def _verdict(self, header: SliceHeader) -> str:
        report = self._report
        if header.kind == "selection":
            return (
                f"All {report.entries} entries are in the journal, unchanged. That the merchant "
                "has no others, a selection cannot prove."
            )
        if report.entries == 0:
            return f"The slice is empty; the journal had {report.size} entries."
        if report.entries == report.size:
            return f"These are all {report.size} entries of the journal, unchanged and in order."
        return (
            f"These are all entries with indexes {report.first} to {report.last} of "
            f"{report.size}, unchanged and in order; none between them is missing."
        )

    def _problem(self, code: str, where: str, message: str) -> None:
        self._report.problem_count += 1
        if len(self._report.problems) < MAX_PROBLEMS:
            self._report.problems.append(Problem(code=code, where=where, message=message))


def _read(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES):
        yield line


def _hashes(encoded: list[str]) -> list[bytes] | None:
    try:
        return [base64.b64decode(text, validate=True) for text in encoded]
    except (binascii.Error, ValueError):
        return None
