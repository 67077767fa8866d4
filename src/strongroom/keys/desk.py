"""What processes without keys may ask of the keys: a hash, a list; never a key.

The keyring lives in one process. Where the vault runs alone, the others hold a `KeyDesk` that asks
it (`strongroom.vault.remote`); where all is one process, `LocalDesk` answers at once.
"""

from __future__ import annotations

from typing import Protocol

from strongroom.kernel.secret import Secret
from strongroom.keys.flow import Keyring
from strongroom.keys.model import KeyInfo


class KeyDesk(Protocol):
    """The narrow side of the keyring that other processes need."""

    async def hash_api_key(self, text: Secret[bytes]) -> bytes:
        """Return the 32-byte keyed hash under the pepper, which stays where it is."""
        ...

    async def inventory(self) -> list[KeyInfo]:
        """Return what may be known of every key."""
        ...


class LocalDesk:
    """The desk of the keyring in this process."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def hash_api_key(self, text: Secret[bytes]) -> bytes:
        """Return the 32-byte keyed hash under the pepper."""
        return self._keyring.api_key_hasher()(text.reveal())

    async def inventory(self) -> list[KeyInfo]:
        """Return what may be known of every key."""
        return await self._keyring.inventory()
