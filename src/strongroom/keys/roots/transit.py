"""A root key in the transit engine of OpenBao or Vault: one version of an AES-256-GCM key.

Before each call the key is looked at: a key that is exportable, derived, backed up in clear, or
that was deleted and made anew under the same name is refused. The version is fixed: rotating the
key in OpenBao changes nothing here until a root of the new version is made and migrated to.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.keys.errors import key_not_usable
from strongroom.keys.model import Mode
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import TransitSpec
from strongroom.keys.roots.remote import WRAPPED_MAX_BYTES, Facts
from strongroom.keys.roots.transit_http import PROVIDER, Refused, TransitHttp
from strongroom.keys.roots.transit_login import TransitLogin, denied
from strongroom.keys.roots.worker import Worker

T = TypeVar("T")
KIND = "aes256-gcm96"
_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]{40,}={0,2}")


class _Key(msgspec.Struct, frozen=True):
    type: str
    exportable: bool
    allow_plaintext_backup: bool
    derived: bool
    latest_version: int
    keys: dict[str, int | str | dict[str, Any]]
    deletion_allowed: bool = False
    imported_key: bool = False
    soft_deleted: bool = False
    min_decryption_version: int = 1


class _KeyAnswer(msgspec.Struct, frozen=True):
    data: _Key


class _Ciphertext(msgspec.Struct, frozen=True):
    ciphertext: str


class _CiphertextAnswer(msgspec.Struct, frozen=True):
    data: _Ciphertext


class _Plaintext(msgspec.Struct, frozen=True):
    plaintext: str

    def __repr__(self) -> str:
        return "_Plaintext([secret])"


class _PlaintextAnswer(msgspec.Struct, frozen=True):
    data: _Plaintext

    def __repr__(self) -> str:
        return "_PlaintextAnswer([secret])"


class _Nothing(msgspec.Struct, frozen=True):
    pass


class TransitBackend:
    """One key version of one transit engine."""

    def __init__(self, spec: TransitSpec, *, mode: Mode, folder: Path) -> None:
        self._spec = spec
        self._http = TransitHttp(
            spec.address,
            ca_file=folder / spec.ca_file if spec.ca_file else None,
            namespace=spec.namespace,
            timeout_s=spec.timeout_s,
            test=mode == "test",
        )
        self._login = TransitLogin(spec, folder, self._http)
        self.worker = Worker(PROVIDER, interrupt=self._http.interrupt, idle=self._login.idle)

    def connect(self) -> None:
        """Look at the token and at the key."""
        self._asked(lambda: self._login.look())
        self._look()

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        """Return 32 bytes encrypted by the engine: its ciphertext as it gives it."""
        self._look()
        body = {
            "plaintext": _b64(key),
            "associated_data": _b64(aad),
            "key_version": self._spec.key_version,
        }
        try:
            wrapped = self._call("POST", "encrypt", body, _CiphertextAnswer).data.ciphertext
        except Refused:
            raise errors.root_key_refused("the transit key does not encrypt") from None
        if not self._is_ours(wrapped):
            raise errors.root_unavailable(f"{PROVIDER}: a ciphertext that is not understood")
        return wrapped.encode()

    def decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what was encrypted; a ciphertext of another key version is not even sent."""
        text = wrapped.decode("ascii", "replace")
        if not self._is_ours(text):
            raise key_not_usable("a wrapped key names another version of the transit key")
        self._look()
        body = {"ciphertext": text, "associated_data": _b64(aad)}
        try:
            answer = self._call("POST", "decrypt", body, _PlaintextAnswer)
            return base64.b64decode(answer.data.plaintext, validate=True)
        except Refused:
            raise key_not_usable("a key does not open under the transit key") from None
        except ValueError:
            raise errors.root_unavailable(f"{PROVIDER}: an answer that is not understood") from None

    def name_key(self) -> TransitSpec:
        """Return the spec with version and time of making; makes the key when it is not there."""
        self._asked(lambda: self._login.look())
        try:
            found = self._call("GET", "keys", None, _KeyAnswer).data
        except Refused as refused:
            if refused.status != 404:
                raise errors.root_key_refused("it cannot be read") from None
            found = self._made()
        version = self._spec.key_version or found.latest_version
        named = msgspec.structs.replace(
            self._spec, key_version=version, key_made=_made_at(found, version)
        )
        _check(found, named)
        return named

    def facts(self) -> Facts:
        """Return what doctor shows."""
        found = self._look()
        return {
            "key": f"{self._spec.mount}/{self._spec.key}",
            "key_version": self._spec.key_version,
            "mechanism": found.type,
            "mechanisms": [found.type],
            "extractable": found.exportable or found.allow_plaintext_backup,
            "always_inside": not found.imported_key,
            "deletion_allowed": found.deletion_allowed,
            "token_ttl_s": self._login.ttl_s or 0,
            "root_token": "root" in self._login.policies,
        }

    def close(self) -> None:
        """End the thread that renews the token."""
        self.worker.close()

    def _look(self) -> _Key:
        try:
            found = self._call("GET", "keys", None, _KeyAnswer).data
        except Refused as refused:
            missing = "is not there" if refused.status == 404 else "cannot be read"
            raise errors.root_key_refused(f"the transit key {missing}") from None
        _check(found, self._spec)
        return found

    def _made(self) -> _Key:
        try:
            self._call("POST", "keys", {"type": KIND}, _Nothing)
            return self._call("GET", "keys", None, _KeyAnswer).data
        except Refused:
            raise errors.root_key_refused("the transit key cannot be made") from None

    def _is_ours(self, ciphertext: str) -> bool:
        fits = _CIPHERTEXT.fullmatch(ciphertext) if len(ciphertext) <= WRAPPED_MAX_BYTES else None
        return fits is not None and int(fits[1]) == self._spec.key_version

    def _call(self, method: str, verb: str, body: Any, to: type[T]) -> T:
        path = (self._spec.mount, verb, self._spec.key)
        return self._asked(
            lambda: self._http.call(method, path, body, token=self._login.token(), to=to)
        )

    def _asked(self, work: Callable[[], T]) -> T:
        """Do the work; once more with a new token when this one is refused."""
        try:
            return work()
        except Refused as refused:
            if refused.status != 403:
                raise
        except StrongroomError as error:
            if error.code != "root_access_denied":
                raise
        if not self._login.again():
            raise denied("the token is expired, revoked, or may not use the key")
        try:
            return work()
        except Refused as refused:
            if refused.status != 403:
                raise
        raise denied("the token may not use the key")


def name_key(spec: TransitSpec, *, mode: Mode, folder: Path) -> TransitSpec:
    """Return the spec with its key named, made when it is not there."""
    backend = TransitBackend(spec, mode=mode, folder=folder)
    try:
        return backend.worker.run(backend.name_key, timeout_s=spec.timeout_s)
    finally:
        backend.close()


def _check(found: _Key, spec: TransitSpec) -> None:
    """Refuse a key that could leave, or that is not the one pinned."""
    if found.type != KIND:
        raise errors.root_key_refused(f"the transit key is not {KIND}")
    for name in ("exportable", "allow_plaintext_backup", "derived", "soft_deleted"):
        if getattr(found, name):
            raise errors.root_key_refused(f"the transit key is {name}")
    if found.min_decryption_version > spec.key_version:
        raise errors.root_key_refused("min_decryption_version is above the root's version")
    if _made_at(found, spec.key_version) != spec.key_made:
        raise errors.root_key_refused("the transit key was made anew under the same name")


def _made_at(found: _Key, version: int) -> str:
    """Return when a version was made, as the engine says it: another key has another time."""
    made = found.keys.get(str(version))
    if made is None:
        raise errors.root_key_refused(f"the transit key has no version {version}")
    if isinstance(made, dict):
        return str(made.get("creation_time", ""))
    return str(made)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
