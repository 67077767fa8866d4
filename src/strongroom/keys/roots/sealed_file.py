"""The root key in a sealed file: opened by a passphrase (Argon2id) or by a separate 0600 key file.

The file holds the root key wrapped with AES-256-GCM; everything else in it (format, mode,
installation, derivation parameters) is the additional data, so a changed word makes it useless.
It refuses files that others may read, files of another mode or installation, and weaker
derivation parameters than ours.
"""

from __future__ import annotations

import base64
import os
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import Clock, SystemClock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.limits import PASSPHRASE_MIN_CHARS
from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.envelope import NONCE_BYTES, fresh_key, unwrap_key, wrap_key
from strongroom.keys.model import KEY_BYTES, Mode, mode_fits, new_key_id
from strongroom.keys.private_files import create_private, read_private

FORMAT = "strongroom-root/1"
KEY_FILE_HEAD = "strongroom-root-key/1"
ARGON2ID: dict[str, str | int] = {"name": "argon2id", "memory_kib": 65_536, "passes": 3, "lanes": 4}
"""RFC 9106 section 4, second recommended option; other parameters in a file are refused."""

_SALT_BYTES = 16
_MAX_FILE_BYTES = 4_096


class _Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    root: str
    mode: str
    installation: str
    created_at: str
    unlock: dict[str, str | int]
    wrapped: str


class SealedFileRoot:
    """A root key that was opened from a sealed file; it lives in this process's memory only."""

    __slots__ = ("_aead", "_id", "_installation", "_mode")

    def __init__(self, root_id: str, mode: Mode, installation: UUID, key: Secret[bytes]) -> None:
        self._id = root_id
        self._mode: Mode = mode
        self._installation = installation
        self._aead = AESGCM(key.reveal())

    @property
    def id(self) -> str:
        """The public name of the root key."""
        return self._id

    @property
    def mode(self) -> Mode:
        """The world this root belongs to."""
        return self._mode

    @property
    def installation(self) -> UUID:
        """The installation this root belongs to."""
        return self._installation

    async def wrap(self, key: Secret[bytes], *, aad: bytes) -> bytes:
        """Return `key` wrapped under the root, bound to `aad`."""
        return wrap_key(self._aead, key, aad)

    async def unwrap(self, wrapped: bytes, *, aad: bytes) -> Secret[bytes]:
        """Return a key that was wrapped under this root with the same `aad`."""
        return unwrap_key(self._aead, wrapped, aad, what="a key-encryption key")

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        mode: Mode,
        installation: UUID,
        passphrase: Secret[str] | None = None,
        key_file: Path | None = None,
        clock: Clock | None = None,
    ) -> SealedFileRoot:
        """Make a new root key and its file; an existing file is never overwritten.

        Args:
            path: where the sealed file is made (mode 0600, in one step).
            mode: the world it belongs to.
            installation: the installation it belongs to.
            passphrase: opens the file; at least `PASSPHRASE_MIN_CHARS` characters.
            key_file: opens the file instead; made with mode 0600 when it does not exist.
            clock: gives the creation time.

        Raises:
            StrongroomError: `root_file_exists`, `passphrase_too_short`, `root_unlock_method`,
                `root_file_unsafe`.
        """
        if (passphrase is None) == (key_file is None):
            raise errors.one_unlock_method()
        if os.path.lexists(path):
            raise errors.root_file_exists(str(path))
        unlock: dict[str, str | int]
        if key_file is not None:
            unlock = {"name": "key-file"}
            if not os.path.lexists(key_file):
                create_private(key_file, _key_file_text(fresh_key()))
        else:
            if passphrase is None or len(passphrase.reveal()) < PASSPHRASE_MIN_CHARS:
                raise errors.passphrase_too_short(PASSPHRASE_MIN_CHARS)
            unlock = {**ARGON2ID, "salt": _b64(os.urandom(_SALT_BYTES))}
        head: dict[str, Any] = {
            "format": FORMAT,
            "root": id_from("root", new_key_id(mode)),
            "mode": mode,
            "installation": str(installation),
            "created_at": rfc3339_ms(_now(clock)),
            "unlock": unlock,
        }
        key, wrapping = fresh_key(), _unlock(unlock, str(path), passphrase, key_file)
        wrapped = wrap_key(AESGCM(wrapping.reveal()), key, dumps(head))
        create_private(path, dumps({**head, "wrapped": _b64(wrapped)}) + b"\n")
        return cls(head["root"], mode, installation, key)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        mode: Mode,
        installation: UUID,
        passphrase: Secret[str] | None = None,
        key_file: Path | None = None,
    ) -> SealedFileRoot:
        """Open a sealed file. With a passphrase this takes about a third of a second of CPU.

        Raises:
            StrongroomError: `root_file_missing`, `root_file_unsafe`, `root_file_damaged`,
                `root_other_world`, `root_not_opened`, `root_unlock_method`.
        """
        if (passphrase is None) == (key_file is None):
            raise errors.one_unlock_method()
        sealed = _parse(read_private(path, limit=_MAX_FILE_BYTES), str(path))
        if sealed.mode != mode:
            raise errors.root_other_world(f"mode ({sealed.mode})")
        if sealed.installation != str(installation):
            raise errors.root_other_world("installation")
        wrapping = _unlock(sealed.unlock, str(path), passphrase, key_file)
        key = _open_wrapped(sealed, wrapping, str(path))
        return cls(sealed.root, mode, installation, key)


def _parse(data: bytes, path: str) -> _Sealed:
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        known = sealed.format == FORMAT and sealed.mode in ("test", "live")
        marked = known and mode_fits(uuid_of(sealed.root, "root"), _mode(sealed.mode))
    except (msgspec.MsgspecError, StrongroomError, UnicodeDecodeError):
        raise errors.root_file_damaged(path) from None
    if not marked:
        raise errors.root_file_damaged(path)
    return sealed


def _mode(text: str) -> Mode:
    return "live" if text == "live" else "test"


def _open_wrapped(sealed: _Sealed, wrapping: Secret[bytes], path: str) -> Secret[bytes]:
    head = msgspec.to_builtins(sealed)
    wrapped = _unb64(head.pop("wrapped"), path)
    try:
        key = Secret(
            AESGCM(wrapping.reveal()).decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], dumps(head)
            )
        )
    except (InvalidTag, ValueError):
        raise errors.root_not_opened(path) from None
    if len(key.reveal()) != KEY_BYTES:
        raise errors.root_file_damaged(path)
    return key


def _unlock(
    unlock: dict[str, str | int], path: str, passphrase: Secret[str] | None, key_file: Path | None
) -> Secret[bytes]:
    """Return the key that wraps the root key, from the passphrase or the key file."""
    if unlock.get("name") == "key-file":
        if key_file is None:
            raise errors.root_not_opened(path)
        return _read_key_file(key_file)
    salt = unlock.get("salt")
    if {**ARGON2ID, "salt": salt} != unlock or not isinstance(salt, str):
        raise errors.root_file_damaged(path)
    if passphrase is None:
        raise errors.root_not_opened(path)
    derivation = Argon2id(
        salt=_unb64(salt, path), length=KEY_BYTES, iterations=3, lanes=4, memory_cost=65_536
    )
    text = unicodedata.normalize("NFC", passphrase.reveal())
    return Secret(derivation.derive(text.encode()))


def _key_file_text(key: Secret[bytes]) -> bytes:
    return f"{KEY_FILE_HEAD} {_b64(key.reveal())}\n".encode()


def _read_key_file(path: Path) -> Secret[bytes]:
    head, _, rest = read_private(path, limit=_MAX_FILE_BYTES).strip().partition(b" ")
    key = Secret(_unb64(rest.decode("ascii", "replace"), str(path)))
    if head != KEY_FILE_HEAD.encode() or len(key.reveal()) != KEY_BYTES:
        raise errors.root_file_damaged(str(path))
    return key


def _now(clock: Clock | None) -> datetime:
    return (clock or SystemClock()).now()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise errors.root_file_damaged(path) from None
