"""The one owner of a PKCS#11 module in this process: its thread, its sessions, its re-opening.

python-pkcs11 wants one thread for each module, and closing one of two sessions logs the token out
for both; so every root of a module shares this. A PIN that the token refused is never tried again:
tokens lock after a few. When a session is lost the module is initialized anew, which also cures a
token that two processes, starting together, do not see.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.roots import errors
from strongroom.keys.roots.worker import Worker

PROVIDER = "pkcs11"
_TOKEN_TRIES = 5
_TOKEN_PAUSE_S = 0.1

_owners: dict[tuple[int, str], Module] = {}


class Module:
    """A loaded module and its logged-in sessions by token label; only `worker`'s thread uses it."""

    def __init__(self, path: str) -> None:
        self.worker = Worker(f"pkcs11 {os.path.basename(path)}")
        self._path = path
        self._sessions: dict[str, Any] = {}
        self._refused: dict[str, Secret[str]] = {}
        self._born = False

    def session(self, label: str, pin: Callable[[], Secret[str]]) -> Any:
        """Return the token's session; opens it and logs in when there is none."""
        if label not in self._sessions:
            self._sessions[label] = self._open(label, pin)
        return self._sessions[label]

    def writable(self, label: str) -> Any:
        """Return a second session that may make keys; the token must be logged in."""
        return self.token(label).open(rw=True)

    def reset(self) -> None:
        """Forget every session and initialize the module anew; roots open theirs again."""
        import pkcs11

        self._sessions.clear()
        library = self._library()
        with contextlib.suppress(pkcs11.PKCS11Error):
            library.finalize()
        with contextlib.suppress(pkcs11.PKCS11Error):
            library.initialize()

    def _library(self) -> Any:
        import pkcs11

        try:
            library = pkcs11.lib(self._path)
        except pkcs11.PKCS11Error:
            if not os.path.exists(self._path):
                raise errors.root_misconfigured(f"there is no module {self._path}") from None
            raise errors.root_unavailable("pkcs11: the module does not initialize") from None
        if not self._born:
            self._born = True
            if _loaded_before_fork(self._path):
                library.reinitialize()
        return library

    def token(self, label: str) -> Any:
        """Return the token; tries again for a while when it is not seen."""
        import pkcs11

        for attempt in range(_TOKEN_TRIES):
            try:
                return self._library().get_token(token_label=label)
            except pkcs11.MultipleTokensReturned:
                raise errors.root_key_refused(f"two tokens are called {label!r}") from None
            except pkcs11.PKCS11Error:
                time.sleep(_TOKEN_PAUSE_S * attempt)
                self.reset()
        raise errors.root_unavailable(f"pkcs11: no token {label!r} is there")

    def _open(self, label: str, pin: Callable[[], Secret[str]]) -> Any:
        import pkcs11

        given = pin()
        token = self.token(label)
        self._refuse_risk(label, token, given)
        try:
            return token.open(user_pin=given.reveal())
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            self._refused[label] = given
            raise errors.root_access_denied(
                PROVIDER, "the PIN is not right; it is not tried again until its file changes"
            ) from None
        except (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
            raise errors.root_access_denied(PROVIDER, type(error).__name__) from None

    def _refuse_risk(self, label: str, token: Any, given: Secret[str]) -> None:
        """Refuse a login that is known to fail, or whose failure would lock the token."""
        from pkcs11 import TokenFlag

        before = self._refused.get(label)
        if before is not None and before.matches(given):
            raise errors.root_access_denied(PROVIDER, "the PIN was refused before")
        if token.flags & (TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_FINAL_TRY):
            raise errors.root_access_denied(
                PROVIDER, "the PIN is locked or at its last try, which is left to a person"
            )


def module(path: str) -> Module:
    """Return this process's owner of a module."""
    if not os.path.isabs(path):
        raise errors.root_misconfigured("module must be a whole path")
    key = (os.getpid(), os.path.realpath(path))
    return _owners.setdefault(key, Module(key[1]))


def _loaded_before_fork(path: str) -> bool:
    """Whether a parent process had this module open: its state was copied, not ours to use."""
    return any(pid != os.getpid() and used == path for pid, used in _owners)


def translated(error: Exception) -> StrongroomError:
    """Return our error for one of the module's that is not about the wrapped bytes."""
    import pkcs11

    if isinstance(error, StrongroomError):
        return error
    if isinstance(error, pkcs11.NoSuchKey):
        return errors.root_key_refused("the token does not hold the key of that CKA_ID")
    return errors.root_unavailable(f"pkcs11: {type(error).__name__}")
