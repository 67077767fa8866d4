"""Security codes in waiting: sealed under a key of their own that lives ten minutes at most.

The caller's handle holds the ciphertext, this room the key. When the attempt is answered, the
handle is dropped or garbage, or time is up, the key is gone and the ciphertext means nothing
(PCI DSS 3.3.1, 3.3.2). Nothing is ever written anywhere.
"""

from __future__ import annotations

import os
from weakref import finalize

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import CVC_HANDLE_TTL_S, CVC_HELD_MAX
from strongroom.kernel.secret import Cvc
from strongroom.vault import errors
from strongroom.vault.model import CvcHandle

_NONCE = bytes(12)
"""Each key seals exactly one value, so a fixed nonce never repeats under a key."""

_SWEEP_EVERY_S = 30


class CvcSafe:
    """Holds one key for each security code that waits for its attempt."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._next_sweep = 0.0
        self._keys: dict[bytes, tuple[float, AESGCM]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def hold(self, merchant: str, token: str, cvc: Cvc) -> CvcHandle:
        """Seal a code, bound to merchant and token.

        Raises:
            StrongroomError: `overloaded` when too many codes wait.
        """
        now = self._monotonic()
        if now >= self._next_sweep or len(self._keys) >= CVC_HELD_MAX:
            self.sweep()
        if len(self._keys) >= CVC_HELD_MAX:
            raise errors.too_many_cvcs()
        key = AESGCM(os.urandom(32))
        sealed = key.encrypt(_NONCE, cvc.reveal().encode(), _bound(merchant, token))
        handle = CvcHandle(sealed, os.urandom(CvcHandle.ID_BYTES))
        self._keys[handle.id] = (now + CVC_HANDLE_TTL_S, key)
        handle.watch = finalize(handle, self._forget, handle.id)
        handle.watch.atexit = False
        return handle

    def open(self, merchant: str, token: str, handle: CvcHandle) -> Cvc:
        """Return the code while it is held for this merchant and token.

        Raises:
            StrongroomError: `cvc_handle_invalid` otherwise.
        """
        held = self._keys.get(handle.id)
        if held is None or held[0] <= self._monotonic():
            self.drop(handle)
            raise errors.cvc_handle_invalid()
        try:
            clear = held[1].decrypt(_NONCE, handle.sealed, _bound(merchant, token))
        except InvalidTag:
            raise errors.cvc_handle_invalid() from None
        return Cvc(clear.decode())

    def drop(self, handle: CvcHandle | None) -> None:
        """Destroy the key of a code, if there is one."""
        if handle is not None:
            handle.entrust()
            self._forget(handle.id)

    def sweep(self) -> None:
        """Destroy the keys whose time is over."""
        now = self._monotonic()
        self._next_sweep = now + _SWEEP_EVERY_S
        for handle_id, (until, _) in list(self._keys.items()):
            if until <= now:
                self._forget(handle_id)

    def clear(self) -> None:
        """Destroy all keys."""
        self._keys.clear()

    def _forget(self, handle_id: bytes) -> None:
        self._keys.pop(handle_id, None)


def _bound(merchant: str, token: str) -> bytes:
    return f"cvc\0{merchant}\0{token}".encode()
