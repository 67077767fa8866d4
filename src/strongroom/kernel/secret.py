"""Secret values that cannot leak by accident: every usual way out of the process gives a mask.

`repr`, `str`, `format`, pickling, copying, JSON encoding, comparison by value and iteration are
closed. `.reveal()` is the one word to grep for; a tidy test lists the modules that may say it.
A Python process cannot wipe a `str`; what that means is said in docs/threat-model/.
"""

from __future__ import annotations

import hmac
from typing import Generic, NoReturn, TypeVar

from strongroom.kernel.errors import StrongroomError

T = TypeVar("T", str, bytes)

MASK = "[secret]"


class Secret(Generic[T]):
    """Holds one `str` or `bytes` value and shows a mask wherever it is looked at."""

    __slots__ = ("__value",)

    def __init__(self, value: T) -> None:
        self.__value: T = value

    def reveal(self) -> T:
        """Return the clear value. Only modules on the tidy list may call this."""
        return self.__value

    def matches(self, other: Secret[T]) -> bool:
        """Compare two secrets in constant time."""
        return hmac.compare_digest(_bytes(self.__value), _bytes(other.__value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("secret values are never pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("secret values are never pickled or copied")

    def __bool__(self) -> bool:
        return len(self.__value) > 0


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


class Pan(Secret[str]):
    """A primary account number: 12 to 19 digits that pass the Luhn check (ISO/IEC 7812-1).

    Raises:
        StrongroomError: `incorrect_number`, without the value.
    """

    __slots__ = ()

    def __init__(self, digits: str) -> None:
        if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
            raise _incorrect_number()
        if not luhn_valid(digits):
            raise _incorrect_number()
        super().__init__(digits)


class Cvc(Secret[str]):
    """A card verification code of 3 or 4 digits: sensitive authentication data (PCI DSS 3.3.1).

    Raises:
        StrongroomError: `invalid_cvc`, without the value.
    """

    __slots__ = ()

    def __init__(self, digits: str) -> None:
        if not (digits.isascii() and digits.isdigit() and 3 <= len(digits) <= 4):
            raise StrongroomError(
                "invalid_cvc", "The security code must have 3 or 4 digits.", param="card.cvc"
            )
        super().__init__(digits)


class EncryptedCard(Secret[str]):
    """A card that a client encrypted for the vault. It is opaque to all but the vault and masked
    like a secret: until its ten minutes are over it stands for a card.
    """

    __slots__ = ()


_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def luhn_valid(digits: str) -> bool:
    """Return whether ASCII digits pass the Luhn check (ISO/IEC 7812-1 annex B)."""
    raw = digits.encode("ascii")
    odd, even = raw[-1::-2], raw[-2::-2].translate(_DOUBLED)
    return (sum(odd) + sum(even) - 48 * len(raw)) % 10 == 0


def _incorrect_number() -> StrongroomError:
    return StrongroomError(
        "incorrect_number", "The card number is not a valid card number.", param="card.number"
    )
