"""A root key in an HSM: AES-256 made inside the token, sensitive, never extractable.

`aes-gcm` where the token can: nonce | ciphertext | tag, always with additional data (SoftHSM 2.6.1
crashes without). Else `aes-key-wrap-pad` (SP 800-38F) with an HMAC over additional data and blob
under a second key of the token, because that wrap binds nothing. A key that could leave, that
exists twice, or that has another size is refused.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.envelope import NONCE_BYTES, parts
from strongroom.keys.errors import key_not_usable
from strongroom.keys.model import KEY_BYTES
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import Pkcs11Spec
from strongroom.keys.roots.pkcs11_module import module, translated
from strongroom.keys.roots.remote import Facts

T = TypeVar("T")
_MAC_BYTES = 32
_ID_BYTES = 16
_WRONG_BYTES = (
    "EncryptedDataInvalid", "EncryptedDataLenRange", "DataInvalid", "DataLenRange",
    "WrappedKeyInvalid", "WrappedKeyLenRange", "SignatureInvalid",
)  # fmt: skip
"""What tokens say of bytes or additional data that were changed; SoftHSM says GeneralError."""

_NOT_THE_SESSION = ("PinIncorrect", "PinLocked", "MultipleObjectsReturned")


class Pkcs11Backend:
    """One key of one token; every method runs in the module's own thread."""

    def __init__(self, spec: Pkcs11Spec, pin: Callable[[], Secret[str]]) -> None:
        self._spec = spec
        self._pin = pin
        self._module = module(spec.module)
        self.worker = self._module.worker

    def connect(self) -> None:
        """Log in and look at the key."""
        self._retried(self._checked_key)

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        """Return 32 bytes encrypted inside the token."""
        return self._retried(lambda: self._encrypt(key, aad))

    def decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what was encrypted.

        A token that answers "general error" may have lost its session or met changed bytes: it is
        asked to encrypt and decrypt something else, and only if it can the bytes are to blame.
        """
        if len(wrapped) < NONCE_BYTES + KEY_BYTES:
            raise key_not_usable("a key wrapped by the HSM is too short")
        return self._retried(lambda: self._told_apart(wrapped, aad))

    def name_key(self, label: str) -> Pkcs11Spec:
        """Return the spec with its mechanism and CKA_ID; makes the key when none is named."""
        return self._retried(lambda: self._named(label))

    def facts(self) -> Facts:
        """Return what doctor shows."""
        return self._retried(self._facts)

    def close(self) -> None:
        """Keep the module: other roots of this process may use it."""

    def _retried(self, work: Callable[[], T]) -> T:
        """Do the work; once more with a new session when the token or its session was lost."""
        import pkcs11

        try:
            return work()
        except pkcs11.PKCS11Error as error:
            if type(error).__name__ in _NOT_THE_SESSION:
                raise translated(error) from None
        self._module.reset()
        try:
            return work()
        except pkcs11.PKCS11Error as error:
            raise translated(error) from None

    def _told_apart(self, wrapped: bytes, aad: bytes) -> bytes:
        import pkcs11

        try:
            return self._decrypt(wrapped, aad)
        except pkcs11.PKCS11Error as error:
            name = type(error).__name__
            if name not in _WRONG_BYTES and not (name == "GeneralError" and self.works()):
                raise
        raise key_not_usable("a key does not open under the root key in the HSM")

    def works(self) -> bool:
        """Return whether the key encrypts and decrypts."""
        import pkcs11

        probe = os.urandom(KEY_BYTES)
        try:
            return self._decrypt(self._encrypt(probe, b"probe"), b"probe") == probe
        except (pkcs11.PKCS11Error, StrongroomError):
            return False

    def _encrypt(self, key: bytes, aad: bytes) -> bytes:
        if self._spec.mechanism == "aes-gcm":
            nonce = os.urandom(NONCE_BYTES)
            return nonce + bytes(self._key().encrypt(key, **_gcm(nonce, aad)))
        return self._wrap_with_mac(key, aad)

    def _decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        if self._spec.mechanism == "aes-gcm":
            nonce, text = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return bytes(self._key().decrypt(text, **_gcm(nonce, aad)))
        return self._unwrap_with_mac(wrapped, aad)

    def _wrap_with_mac(self, key: bytes, aad: bytes) -> bytes:
        from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

        given = self._session().create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: key,
                Attribute.TOKEN: False,
                Attribute.EXTRACTABLE: True,
                Attribute.SENSITIVE: False,
            }
        )
        try:
            blob = bytes(self._key().wrap_key(given, mechanism=Mechanism.AES_KEY_WRAP_PAD))
        finally:
            given.destroy()
        return self._mac(blob, aad) + blob

    def _unwrap_with_mac(self, wrapped: bytes, aad: bytes) -> bytes:
        from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

        mac, blob = wrapped[:_MAC_BYTES], wrapped[_MAC_BYTES:]
        if not hmac.compare_digest(self._mac(blob, aad), mac):
            raise key_not_usable("a key does not fit its authentication code under the HSM")
        found = self._key().unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            blob,
            mechanism=Mechanism.AES_KEY_WRAP_PAD,
            template={
                Attribute.TOKEN: False,
                Attribute.EXTRACTABLE: True,
                Attribute.SENSITIVE: False,
            },
        )
        try:
            return bytes(found[Attribute.VALUE])
        finally:
            found.destroy()

    def _mac(self, blob: bytes, aad: bytes) -> bytes:
        from pkcs11 import KeyType, Mechanism

        key = _only_key(self._session(), self._spec, KeyType.GENERIC_SECRET)
        return bytes(key.sign(parts(aad, blob), mechanism=Mechanism.SHA256_HMAC))

    def _named(self, label: str) -> Pkcs11Spec:
        from pkcs11 import Mechanism

        self._session()
        offered = self._module.token(self._spec.token_label).slot.get_mechanisms()
        usual = "aes-gcm" if Mechanism.AES_GCM in offered else "aes-key-wrap-pad"
        key_id = self._spec.key_id or os.urandom(_ID_BYTES).hex()
        named = msgspec.structs.replace(
            self._spec, key_id=key_id, mechanism=self._spec.mechanism or usual
        )
        if not self._spec.key_id:
            session = self._module.writable(named.token_label)
            try:
                _make(session, named, label)
            finally:
                session.close()
        made = Pkcs11Backend(named, self._pin)
        made.connect()
        if not made.works():
            raise errors.root_key_refused(
                f"{named.mechanism} does not work with it; name another mechanism"
            )
        return named

    def _session(self) -> Any:
        return self._module.session(self._spec.token_label, self._pin)

    def _key(self) -> Any:
        from pkcs11 import KeyType

        return _only_key(self._session(), self._spec, KeyType.AES)

    def _checked_key(self) -> None:
        from pkcs11 import KeyType

        if not self._spec.key_id or not self._spec.mechanism:
            raise errors.root_misconfigured("key_id and mechanism are missing")
        self._key()
        if self._spec.mechanism == "aes-key-wrap-pad":
            _only_key(self._session(), self._spec, KeyType.GENERIC_SECRET)

    def _facts(self) -> Facts:
        from pkcs11 import Attribute, Mechanism

        key, token = self._key(), self._module.token(self._spec.token_label)
        offered = token.slot.get_mechanisms()
        used = ("AES_GCM", "AES_KEY_WRAP_PAD", "SHA256_HMAC", "AES_KEY_GEN")
        return {
            "token": self._spec.token_label,
            "key_id": self._spec.key_id,
            "mechanism": self._spec.mechanism,
            "mechanisms": [name for name in used if Mechanism[name] in offered],
            "extractable": bool(key[Attribute.EXTRACTABLE]),
            "always_inside": bool(
                key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.ALWAYS_SENSITIVE]
            ),
        }


def name_key(spec: Pkcs11Spec, pin: Secret[str], *, label: str) -> Pkcs11Spec:
    """Return the spec with CKA_ID and mechanism; makes the key in the token when it names none."""
    backend = Pkcs11Backend(spec, lambda: pin)
    return backend.worker.run(lambda: backend.name_key(label), timeout_s=spec.timeout_s)


def _refuse_weak(key: Any) -> None:
    """Refuse a key that is not 256 bits, is readable, or could be taken out of the token."""
    from pkcs11 import Attribute

    if key[Attribute.EXTRACTABLE]:
        raise errors.root_key_refused("it is extractable: it could leave the HSM")
    if not key[Attribute.SENSITIVE]:
        raise errors.root_key_refused("it is not sensitive: its value can be read")
    if key[Attribute.VALUE_LEN] != KEY_BYTES:
        raise errors.root_key_refused("it does not have 256 bits")


def _make(session: Any, spec: Pkcs11Spec, label: str) -> None:
    """Make the root key, and for key wrap the one that authenticates, inside the token."""
    from pkcs11 import Attribute, KeyType

    fixed = {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.PRIVATE: True,
        Attribute.MODIFIABLE: False,
    }
    gcm = spec.mechanism == "aes-gcm"
    can = {
        Attribute.ENCRYPT: gcm,
        Attribute.DECRYPT: gcm,
        Attribute.WRAP: not gcm,
        Attribute.UNWRAP: not gcm,
    }
    made = {"id": _key_id(spec), "label": label, "store": True}
    session.generate_key(KeyType.AES, 256, template={**fixed, **can}, **made)
    if not gcm:
        signs = {Attribute.SIGN: True, Attribute.VERIFY: True}
        session.generate_key(KeyType.GENERIC_SECRET, 256, template={**fixed, **signs}, **made)


def _only_key(session: Any, spec: Pkcs11Spec, kind: Any) -> Any:
    from pkcs11 import Attribute, NoSuchKey, ObjectClass

    found = list(
        session.get_objects(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: kind,
                Attribute.ID: _key_id(spec),
                Attribute.TOKEN: True,
            }
        )
    )
    if not found:
        raise NoSuchKey  # also what a token says that was pulled out; `_retried` looks again
    if len(found) > 1:
        raise errors.root_key_refused("the token has two keys of that CKA_ID")
    _refuse_weak(found[0])
    return found[0]


def _key_id(spec: Pkcs11Spec) -> bytes:
    try:
        return bytes.fromhex(spec.key_id)
    except ValueError:
        raise errors.root_misconfigured("key_id is not hex") from None


def _gcm(nonce: bytes, aad: bytes) -> dict[str, Any]:
    from pkcs11 import Mechanism
    from pkcs11.mechanisms import GCMParams

    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, aad, 128)}
