"""The receipt of a shredding: canonical JSON under the installation's Ed25519 key. No I/O.

It names installation, mode, merchant, the data subject's keyed hash, the destroyed keys, the time,
what was removed, who asked and why; never the reference itself. Anyone with the public key that
`strongroom subjects key` prints can check it offline.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.kernel.canonical import dumps
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ports import Signer
from strongroom.keys import errors
from strongroom.keys.subjects.model import Shredded

FORMAT = "strongroom-shred-receipt/1"
_RECEIPT = b"strongroom shred receipt\n"
_LINE = b"strongroom shred ledger line\n"
_KEY_BYTES = 32
FILE_BYTES_MAX = 65_536


def sign_receipt(receipt: dict[str, Any], signer: Signer) -> bytes:
    """Return the signature over a receipt."""
    return signer.sign(_RECEIPT + dumps(receipt))


def sign_line(line: dict[str, Any], signer: Signer) -> bytes:
    """Return the signature over a line of the ledger file."""
    return signer.sign(_LINE + dumps(line))


def receipt_holds(receipt: dict[str, Any], signature: bytes, public_key: bytes) -> bool:
    """Return whether a receipt was signed by this key."""
    return _holds(_RECEIPT + dumps(receipt), signature, public_key)


def line_holds(line: dict[str, Any], signature: bytes, public_key: bytes) -> bool:
    """Return whether a line of the ledger file was signed by this key."""
    return _holds(_LINE + dumps(line), signature, public_key)


def sealed(receipt: dict[str, Any], signature: bytes, signer: Signer) -> Shredded:
    """Return a receipt as callers get it."""
    return Shredded(
        receipt=receipt,
        signature=base64.b64encode(signature).decode(),
        key=base64.b64encode(signer.public_key).decode(),
    )


def verify_receipt(data: bytes, *, key: str) -> dict[str, Any]:
    """Return the receipt inside a file that was signed by `key`.

    Args:
        data: the file, as the API or the command answered it.
        key: the public key, as `strongroom subjects key` prints it.

    Raises:
        StrongroomError: `shred_receipt_invalid` when it is no receipt of ours or was changed,
            `shred_key_invalid` when the key is not a key.
    """
    public_key = _public_key(key)
    try:
        if len(data) > FILE_BYTES_MAX:
            raise errors.shred_receipt_invalid()
        told = msgspec.json.decode(data, type=Shredded)
        signature = base64.b64decode(told.signature, validate=True)
        fine = told.receipt.get("format") == FORMAT
        fine = fine and receipt_holds(told.receipt, signature, public_key)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, StrongroomError):
        raise errors.shred_receipt_invalid() from None
    if not fine:
        raise errors.shred_receipt_invalid()
    return told.receipt


def _public_key(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raise errors.shred_key_invalid() from None
    if len(raw) != _KEY_BYTES:
        raise errors.shred_key_invalid()
    return raw


def _holds(data: bytes, signature: bytes, public_key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
