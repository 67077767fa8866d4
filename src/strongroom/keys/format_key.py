"""Format-preserving encryption of digits, for one legacy export: AES-256-FF1 (NIST SP 800-38G).

What comes out is as long as what went in and stays in PCI DSS scope: whoever has the key turns it
back. FF3 and FF3-1 are not here: NIST withdrew them. The library takes the key as text, so a copy
of it lives in this process until it ends; the export runs in a process of its own.
"""

from __future__ import annotations

from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Pan, Secret
from strongroom.keys import errors
from strongroom.keys.custody import Custody
from strongroom.keys.foundation import service_key

ALGORITHM = "A256FF1"
DIGITS_MIN = 6
"""The second public draft of SP 800-38G revision 1 requires a domain of a million values."""

_ALPHABET = "0123456789"


class FormatKey:
    """One merchant's key; the tweak binds what it makes to that merchant and to a field."""

    __slots__ = ("_key", "_merchant")

    def __init__(self, key: Secret[bytes], merchant: str) -> None:
        self._key = key
        self._merchant = merchant.encode()

    def encrypt(self, number: Pan, *, field: str) -> str:
        """Return digits in the place of a card number's.

        Raises:
            StrongroomError: `key_not_usable` when there are too few digits.
        """
        return encrypt_digits(self._key, self._merchant + b"\0" + field.encode(), number)


async def format_key(custody: Custody, merchant: str) -> FormatKey:
    """Return a merchant's key; it is made when it is first asked for."""
    purpose = f"ff1-{uuid_of(merchant, 'mer').hex}"
    stored = await service_key(custody, purpose, kek_purpose="token", algorithm=ALGORITHM)
    return FormatKey(await custody.open(stored), merchant)


def encrypt_digits(key: Secret[bytes], tweak: bytes, number: Secret[str]) -> str:
    """Return AES-FF1 of decimal digits under a key and a tweak."""
    from fastfpe import ff1  # type: ignore[import-untyped]

    digits = number.reveal()
    if len(digits) < DIGITS_MIN:
        raise errors.key_not_usable("FF1 needs a domain of at least a million values")
    return str(ff1.encrypt(key.reveal().hex(), tweak.hex(), _ALPHABET, digits))
