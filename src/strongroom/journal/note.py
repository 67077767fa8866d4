"""Signed notes (C2SP signed-note) and checkpoints (C2SP tlog-checkpoint), signed with Ed25519.

A note is a text, an empty line and signature lines `— name base64(key id || signature)`. A
checkpoint is a note whose text is origin, tree size and root. Keys are written as
`name+id+base64(0x01 || public key)`, the form that other note verifiers read. No I/O here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.journal import errors
from strongroom.journal.model import Checkpoint
from strongroom.journal.tree import HASH_BYTES
from strongroom.kernel.ports import Signer

ED25519 = b"\x01"
"""Signature type identifier byte (C2SP signed-note, "Signature types")."""

MAX_NOTE_CHARS = 65_536
MAX_SIGNATURES = 16
"""A verifier must take 16 signatures and may refuse more (C2SP signed-note, "Format")."""

_KEY_BYTES = 32
_ID_BYTES = 4


class VerifierKey(msgspec.Struct, frozen=True):
    """The public half of a note key: who signs, and how to check it."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name || 0x0A || 0x01 || public key)."""
        hashed = sha256(self.name.encode() + b"\n" + ED25519 + self.public_key)
        return hashed.digest()[:_ID_BYTES]

    def text(self) -> str:
        """Return `name+id+base64`, the form an auditor keeps."""
        return f"{self.name}+{self.key_id.hex()}+{_b64(ED25519 + self.public_key)}"

    def check(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` over `data` is by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, data)
        except InvalidSignature:
            return False
        return True


def verifier_key(signer: Signer) -> VerifierKey:
    """Return the public half of a signer."""
    _check_name(signer.name)
    if len(signer.public_key) != _KEY_BYTES:
        raise errors.note_invalid("An Ed25519 public key has 32 bytes.")
    return VerifierKey(signer.name, signer.public_key)


def parse_key(text: str) -> VerifierKey:
    """Read a key in the form `name+id+base64`.

    Raises:
        StrongroomError: `journal_note_invalid` when it is malformed or its id does not fit.
    """
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    _check_name(name)
    raw = _unb64(encoded)
    if raw[:1] != ED25519 or len(raw) != 1 + _KEY_BYTES:
        raise errors.note_invalid("The journal key is not an Ed25519 note key.")
    key = VerifierKey(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise errors.note_invalid("The journal key is damaged: its id does not fit the key.")
    return key


def sign_note(text: str, signer: Signer) -> str:
    """Return `text` (which ends with a newline) as a note signed by `signer`."""
    _check_text(text)
    key = verifier_key(signer)
    line = _b64(key.key_id + signer.sign(text.encode()))
    return f"{text}\n— {key.name} {line}\n"


def open_note(note: str, keys: Iterable[VerifierKey]) -> str:
    """Return the text of a note after at least one of `keys` is found to have signed it.

    Signatures by unknown keys are ignored; one bad signature by a known key rejects the note.

    Raises:
        StrongroomError: `journal_note_invalid` with the reason.
    """
    text, signatures = _split(note)
    known = {(key.name, key.key_id): key for key in keys}
    verified = False
    for name, raw in signatures:
        key = known.get((name, raw[:_ID_BYTES]))
        if key is None:
            continue
        if not key.check(raw[_ID_BYTES:], text.encode()):
            raise errors.note_invalid(f"The signature by key {name} does not fit the text.")
        verified = True
    if not verified:
        raise errors.note_invalid("The note is not signed by any of the given keys.")
    return text


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """Return the text of a checkpoint (C2SP tlog-checkpoint, "Note text")."""
    return f"{origin}\n{size}\n{_b64(root)}\n"


def parse_checkpoint(text: str, origin: str | None = None) -> tuple[str, int, bytes]:
    """Return origin, size and root of a checkpoint text.

    Raises:
        StrongroomError: `journal_note_invalid` when malformed or of another origin.
    """
    lines = text.split("\n")
    if len(lines) < 4 or "" in lines[:-1] or lines[-1] != "":
        raise errors.note_invalid("The checkpoint is not origin, size and root.")
    if origin is not None and lines[0] != origin:
        raise errors.note_invalid("The checkpoint is of another journal.")
    root = _unb64(lines[2])
    if not (lines[1].isascii() and lines[1].isdigit()) or str(int(lines[1])) != lines[1]:
        raise errors.note_invalid("The checkpoint's size is not a plain number.")
    if len(root) != HASH_BYTES:
        raise errors.note_invalid("The checkpoint's root is not a SHA-256 hash.")
    return lines[0], int(lines[1]), root


def sign_checkpoint(size: int, root: bytes, signer: Signer) -> Checkpoint:
    """Return a signed checkpoint; the signer's name is the journal's origin."""
    note = sign_note(checkpoint_text(signer.name, size, root), signer)
    return Checkpoint(size=size, root=root, note=note)


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint in a note that one of `keys` signed for its own origin.

    Raises:
        StrongroomError: `journal_note_invalid` with the reason.
    """
    trusted = list(keys)
    origin, size, root = parse_checkpoint(open_note(note, trusted))
    if origin not in {key.name for key in trusted}:
        raise errors.note_invalid("The checkpoint is of another journal than its key.")
    return Checkpoint(size=size, root=root, note=note)


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_CHARS or any(c < " " and c != "\n" for c in note):
        raise errors.note_invalid("The note is too long or has control characters.")
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise errors.note_invalid("The note has no signatures.")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise errors.note_invalid("The note has too many signatures.")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise errors.note_invalid("The note has a malformed signature line.")
    _check_name(parts[1])
    raw = _unb64(parts[2])
    if len(raw) <= _ID_BYTES:
        raise errors.note_invalid("The note has a malformed signature line.")
    return parts[1], raw


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise errors.note_invalid("A note's text ends with a newline and has no controls.")


def _check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() for c in name):
        raise errors.note_invalid("A key name is not empty and has neither spaces nor plus signs.")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.note_invalid("The note has malformed base64.") from None
