"""A custodian's files: the sealed private keys (0600, Argon2id passphrase) and the public card.

Made and opened on the custodian's own machine; nothing but the card ever leaves it. The private
file refuses other derivation parameters than ours, and any change of a word of it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import unicodedata
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_uuid7, uuid_of
from strongroom.kernel.limits import PASSPHRASE_MIN_CHARS
from strongroom.kernel.secret import Secret
from strongroom.keys.dual_control import errors
from strongroom.keys.dual_control.model import Card, acknowledgement_statement, custodian_id
from strongroom.keys.errors import passphrase_too_short
from strongroom.keys.private_files import create_private, read_private

FORMAT = "strongroom-custodian-key/1"
CARD_FORMAT = "strongroom-custodian/1"
_ARGON2ID: dict[str, str | int] = {
    "name": "argon2id",
    "memory_kib": 65_536,
    "passes": 3,
    "lanes": 4,
}
_NONCE_BYTES, _KEY_BYTES, _SALT_BYTES = 12, 32, 16
_MAX_FILE_BYTES = 8_192
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    card: Card
    unlock: dict[str, str | int]
    wrapped: str


class CustodianKey:
    """A custodian's opened private keys; they live in this process's memory only."""

    __slots__ = ("_exchange", "_signing", "card")

    def __init__(self, card: Card, seeds: Secret[bytes]) -> None:
        both = seeds.reveal()
        self.card = card
        self._signing = Ed25519PrivateKey.from_private_bytes(both[:_KEY_BYTES])
        self._exchange = X25519PrivateKey.from_private_bytes(both[_KEY_BYTES:])

    def sign(self, statement: bytes) -> bytes:
        """Return the custodian's Ed25519 signature."""
        return self._signing.sign(statement)

    def open(self, sealed: bytes, *, info: bytes) -> Secret[bytes] | None:
        """Return what was sealed to this custodian with the same `info`, or None."""
        return open_with(self._exchange, sealed, info=info)

    @classmethod
    def create(
        cls, path: Path, *, name: str, passphrase: Secret[str], at: datetime
    ) -> CustodianKey:
        """Make new keys and their sealed file; the acknowledgement is signed with them.

        Raises:
            StrongroomError: `custodian_name_invalid`, `passphrase_too_short`, `root_file_exists`.
        """
        if not _NAME.match(name):
            raise StrongroomError(
                "custodian_name_invalid",
                "A custodian's name is 1 to 64 of a-z, 0-9, dot, hyphen and underscore: the name "
                "this person has as operator.",
            )
        if len(passphrase.reveal()) < PASSPHRASE_MIN_CHARS:
            raise passphrase_too_short(PASSPHRASE_MIN_CHARS)
        seeds = Secret(os.urandom(2 * _KEY_BYTES))
        card = _new_card(name, seeds, rfc3339_ms(at))
        unlock = {**_ARGON2ID, "salt": _b64(os.urandom(_SALT_BYTES))}
        head = {"format": FORMAT, "card": msgspec.to_builtins(card), "unlock": unlock}
        nonce = os.urandom(_NONCE_BYTES)
        wrapping = AESGCM(_derived(passphrase, unlock, str(path)))
        wrapped = nonce + wrapping.encrypt(nonce, seeds.reveal(), dumps(head))
        create_private(path, dumps({**head, "wrapped": _b64(wrapped)}) + b"\n")
        return cls(card, seeds)

    @classmethod
    def open_file(cls, path: Path, *, passphrase: Secret[str]) -> CustodianKey:
        """Open a sealed file; takes about a third of a second of CPU.

        Raises:
            StrongroomError: `custodian_file_invalid`, `custodian_not_opened`, `root_file_unsafe`,
                `root_file_missing`.
        """
        try:
            file = msgspec.json.decode(read_private(path, limit=_MAX_FILE_BYTES), type=_File)
        except msgspec.MsgspecError:
            raise errors.custodian_file_invalid(str(path)) from None
        if file.format != FORMAT:
            raise errors.custodian_file_invalid(str(path))
        head = msgspec.to_builtins(file)
        wrapped = decoded(head.pop("wrapped"), str(path))
        wrapping = AESGCM(_derived(passphrase, file.unlock, str(path)))
        try:
            seeds = wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], dumps(head))
        except (InvalidTag, ValueError):
            raise errors.custodian_not_opened(str(path)) from None
        if len(seeds) != 2 * _KEY_BYTES:
            raise errors.custodian_file_invalid(str(path))
        return cls(file.card, Secret(seeds))


def seal_to(exchange_key: bytes, secret: Secret[bytes], *, info: bytes) -> bytes:
    """Return `secret` encrypted (HPKE, RFC 9180) to an X25519 key, bound to `info`.

    Raises:
        StrongroomError: `custodian_file_invalid` for a key of low order.
    """
    try:
        public = X25519PublicKey.from_public_bytes(exchange_key)
        return _HPKE.encrypt(secret.reveal(), public, info=info)
    except ValueError:
        raise errors.custodian_file_invalid("of the receiver") from None


def open_with(private: X25519PrivateKey, sealed: bytes, *, info: bytes) -> Secret[bytes] | None:
    """Return what was sealed to this key with the same `info`, or None for any other cause."""
    try:
        return Secret(_HPKE.decrypt(sealed, private, info=info))
    except (InvalidTag, ValueError):
        return None


def read_card(path: Path) -> Card:
    """Return a custodian's public card, its acknowledgement verified.

    Raises:
        StrongroomError: `custodian_file_invalid`.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        raise errors.custodian_file_invalid(str(path)) from None
    return parse_card(text, str(path))


def parse_card(text: bytes, where: str) -> Card:
    """Return the card in `text`; `where` names it in a refusal."""
    try:
        card = msgspec.json.decode(text, type=Card)
        uuid_of(card.custodian, "cus")
        acknowledged = datetime.fromisoformat(card.acknowledged_at)
    except (msgspec.MsgspecError, StrongroomError, ValueError):
        raise errors.custodian_file_invalid(where) from None
    fine = card.format == CARD_FORMAT and _NAME.match(card.name) is not None
    fine = fine and rfc3339_ms(acknowledged) == card.acknowledged_at
    keys = [decoded(text, where) for text in (card.signing_key, card.exchange_key)]
    if not fine or any(len(key) != _KEY_BYTES for key in keys):
        raise errors.custodian_file_invalid(where)
    statement = acknowledgement_of(card)
    if not signed_by(keys[0], decoded(card.acknowledgement, where), statement):
        raise errors.custodian_file_invalid(where)
    return card


def acknowledgement_of(card: Card) -> bytes:
    """Return the statement that a card's acknowledgement is the signature of."""
    return acknowledgement_statement(
        custodian=card.custodian,
        name=card.name,
        signing_key=card.signing_key,
        exchange_key=card.exchange_key,
        at=card.acknowledged_at,
    )


def signed_by(signing_key: bytes, signature: bytes, statement: bytes) -> bool:
    """Return whether this is the key's signature over the statement."""
    try:
        Ed25519PublicKey.from_public_bytes(signing_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def decoded(text: str, where: str) -> bytes:
    """Return what base64 text holds; anything but one canonical form is refused."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.custodian_file_invalid(where) from None
    if _b64(data) != text:
        raise errors.custodian_file_invalid(where)
    return data


def _new_card(name: str, seeds: Secret[bytes], at: str) -> Card:
    both = seeds.reveal()
    signing = Ed25519PrivateKey.from_private_bytes(both[:_KEY_BYTES])
    exchange = X25519PrivateKey.from_private_bytes(both[_KEY_BYTES:])
    custodian = custodian_id(new_uuid7())
    keys = {
        "signing_key": _b64(signing.public_key().public_bytes_raw()),
        "exchange_key": _b64(exchange.public_key().public_bytes_raw()),
    }
    statement = acknowledgement_statement(custodian=custodian, name=name, at=at, **keys)
    return Card(
        format=CARD_FORMAT,
        custodian=custodian,
        name=name,
        acknowledged_at=at,
        acknowledgement=_b64(signing.sign(statement)),
        **keys,
    )


def _derived(passphrase: Secret[str], unlock: dict[str, str | int], where: str) -> bytes:
    salt = unlock.get("salt")
    if {**_ARGON2ID, "salt": salt} != unlock or not isinstance(salt, str):
        raise errors.custodian_file_invalid(where)
    derivation = Argon2id(
        salt=decoded(salt, where), length=_KEY_BYTES, iterations=3, lanes=4, memory_cost=65_536
    )
    return derivation.derive(unicodedata.normalize("NFC", passphrase.reveal()).encode())


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
