"""One-time codes (TOTP, RFC 6238): secrets that are made, kept sealed and used beside the keys.

A process without keys can ask whether a code fits, never for the secret: who takes over the API's
host cannot make tomorrow's codes. Each sealed secret is bound to its account.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

import msgspec
import pyotp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kernel.secret import Secret
from strongroom.keys.custody import Custody
from strongroom.keys.envelope import decrypt, encrypt, header, parts, world
from strongroom.keys.foundation import service_key
from strongroom.keys.model import AEAD

PURPOSE = "one-time-codes"
STEP_S = 30
STEPS_AROUND = 1
"""A phone's clock may be half a minute off (RFC 6238 5.2); more would only help who guesses."""

_CODE_DIGITS = 6
_CODE_CHARS_MAX = 32


class OneTimeSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh secret: sealed to keep, and in base32 to show once."""

    sealed: bytes
    secret: Secret[str]


class OneTimeCodes:
    """Seals secrets of one-time codes and compares codes, under a key of the installation."""

    @classmethod
    async def open(cls, custody: Custody) -> OneTimeCodes:
        """Open the key; make it if there is none."""
        stored = await service_key(custody, PURPOSE, kek_purpose="token", algorithm=AEAD)
        head = header(stored.record.id, stored.record.version)
        bound = world(custody.mode, "", custody.installation, "") + parts(PURPOSE.encode(), head)
        return cls(await custody.open(stored), head, bound)

    def __init__(self, key: Secret[bytes], head: bytes, bound: bytes) -> None:
        self._aead = AESGCM(key.reveal())
        self._head = head
        self._bound = bound

    def new(self, account: str) -> OneTimeSecret:
        """Return a fresh secret of 160 bits for an account (RFC 4226 section 4, R6)."""
        secret = pyotp.random_base32()
        sealed = encrypt(self._aead, self._head, secret.encode(), self._bound_to(account))
        return OneTimeSecret(sealed=sealed, secret=Secret(secret))

    def match(self, account: str, sealed: bytes, code: Secret[str], *, now: datetime) -> int | None:
        """Return the time step whose code was given, or None.

        Every step is compared, in constant time each, whether one fitted before or not.

        Raises:
            StrongroomError: `record_not_opened` when the secret is not this account's.
        """
        codes = pyotp.TOTP(decrypt(self._aead, sealed, self._bound_to(account)).decode())
        given = normalized(code.reveal())
        now_step = int(now.timestamp()) // STEP_S
        found = None
        for step in range(now_step - STEPS_AROUND, now_step + STEPS_AROUND + 1):
            fits = pyotp.utils.strings_equal(codes.generate_otp(step), given)
            found = step if fits and found is None else found
        return found

    def _bound_to(self, account: str) -> bytes:
        return self._bound + parts(account.encode())


def normalized(code: str) -> str:
    """Return a code as six ASCII digits, or an empty text; spaces and wide digits are forgiven."""
    if len(code) > _CODE_CHARS_MAX:
        return ""
    digits = "".join(unicodedata.normalize("NFKC", code).split()).replace("-", "")
    return digits if len(digits) == _CODE_DIGITS and digits.isascii() and digits.isdigit() else ""
