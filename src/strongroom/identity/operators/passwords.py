"""Passwords: Argon2id off the event loop, a few at a time, and which ones are good enough.

A password is only ever the first of two factors. Who has none is compared with a decoy, so that the
time taken tells nothing about an account.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from strongroom.identity.operators import errors
from strongroom.identity.operators.common import WORDS
from strongroom.kernel.edge_limits import (
    PASSWORD_CHARS_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_HASHES_AT_ONCE,
    PASSWORD_HASHES_WAITING,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

T = TypeVar("T")

MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
"""The second of OWASP's equal choices for Argon2id: 19 MiB, so that two at once fit anywhere."""

_LEET = str.maketrans("0134578@$!|+", "oleastbasilt")
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_PART_MIN = 4


class Passwords:
    """Hashes and compares passwords in threads of its own; the event loop never waits for one."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(PASSWORD_HASHES_AT_ONCE, "passwords")
        self._waiting = 0
        self._decoy: str | None = None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: Secret[str]) -> str:
        """Return a password's Argon2id hash with its parameters and salt."""
        return await self._apart(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, stored: str | None, password: Secret[str]) -> bool:
        """Return whether a password is the stored one; without one, take as long and say no.

        Raises:
            StrongroomError: `overloaded` when too many wait.
        """
        against = stored or self._decoy
        if against is None:
            self._decoy = against = await self.hash(Secret(secrets.token_urlsafe()))
        too_long = len(password.reveal()) > PASSWORD_CHARS_MAX
        given = Secret("") if too_long else password
        same = await self._apart(lambda: self._verified(against, given))
        return same and stored is not None and not too_long

    async def is_any_of(self, former: Sequence[str], password: Secret[str]) -> bool:
        """Return whether a password is one of the former ones."""
        for stored in former:
            if await self.matches(stored, password):
                return True
        return False

    def _verified(self, stored: str, password: Secret[str]) -> bool:
        try:
            return self._hasher.verify(stored, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _apart(self, work: Callable[[], T]) -> T:
        if self._waiting >= PASSWORD_HASHES_WAITING:
            raise _busy()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def check(password: Secret[str], *, about: Sequence[str]) -> None:
    """Refuse a new password that is too short, of one kind, common, or about the person.

    Args:
        password: what somebody wants to take.
        about: login and name of the account.

    Raises:
        StrongroomError: `password_refused`, saying what is missing.
    """
    text = _normal(password.reveal())
    if not PASSWORD_CHARS_MIN <= len(text) <= PASSWORD_CHARS_MAX:
        raise errors.password_refused(
            f"A password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters."
        )
    if not (any(c.isalpha() for c in text) and any(c.isdigit() for c in text)):
        raise errors.password_refused("A password has letters and digits.")
    if len(set(text.casefold())) < PASSWORD_CHARS_MIN // 2:
        raise errors.password_refused("The password repeats too few characters.")
    if _is_common(text):
        raise errors.password_refused("The password is a common one with decoration.")
    if _is_about(text, about):
        raise errors.password_refused("The password holds the login or the name.")


def _is_common(text: str) -> bool:
    """Return whether a word that everybody tries is all that a password has besides decoration.

    Taken off are capitals, digits and signs at the ends, and those that stand for letters.
    """
    plain = text.casefold()
    bare = {_EDGES.sub("", plain), _EDGES.sub("", plain).translate(_LEET)}
    bare |= {_EDGES.sub("", plain.translate(_LEET)), re.sub(r"[\W\d_]+", "", plain)}
    bare.add(re.sub(r"[\W\d_]+", "", _EDGES.sub("", plain).translate(_LEET)))
    return any(_made_of_words(word) for word in bare) or "".join(sorted(bare)) == ""


def _made_of_words(word: str) -> bool:
    if word in WORDS:
        return True
    return any(
        word[:cut] in WORDS and word[cut:] in WORDS
        for cut in range(_PART_MIN, len(word) - _PART_MIN + 1)
    )


def _is_about(text: str, about: Sequence[str]) -> bool:
    plain = text.casefold()
    words = [part for known in about for part in re.split(r"[\W_]+", known.casefold())]
    return any(len(word) >= _PART_MIN and word in plain for word in words)


def _normal(text: str) -> str:
    """Return one spelling for what several keyboards type (NIST SP 800-63B 3.1.1.2)."""
    return unicodedata.normalize("NFC", text)


def _bytes(password: Secret[str]) -> bytes:
    return _normal(password.reveal()).encode("utf-8", "surrogatepass")


def _busy() -> StrongroomError:
    return StrongroomError(
        "overloaded",
        "The service is busy. Try again shortly.",
        retryable=True,
        retry_after_s=1,
    )
