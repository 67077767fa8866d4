"""What processes without keys may ask of the keys: a hash, a list, a token; never a key.

The keyring lives in one process. Where the vault runs alone, the others hold a `KeyDesk` that asks
it (`strongroom.vault.remote`); where all is one process, `LocalDesk` answers at once.
"""

from __future__ import annotations

from typing import Protocol

from strongroom.kernel.secret import Secret
from strongroom.keys.certificates.flow import Certificates
from strongroom.keys.certificates.model import Trust
from strongroom.keys.flow import Keyring
from strongroom.keys.model import KeyHash, KeyInfo
from strongroom.keys.one_time import OneTimeCodes, OneTimeSecret
from strongroom.keys.token_keys import AccessToken, PublicTokenKey


class KeyDesk(Protocol):
    """The narrow side of the keyring that other processes need."""

    async def hash_api_key(self, text: Secret[bytes]) -> bytes:
        """Return the 32-byte keyed hash under the pepper, which stays where it is."""
        ...

    async def api_key_hashes(self, text: Secret[bytes]) -> list[KeyHash]:
        """Return the keyed hashes under every pepper in use; new keys get the first."""
        ...

    async def inventory(self) -> list[KeyInfo]:
        """Return what may be known of every key."""
        ...

    async def new_one_time_secret(self, operator: str) -> OneTimeSecret:
        """Return a fresh secret of one-time codes: sealed to keep, and in clear to show once."""
        ...

    async def match_one_time_code(
        self, operator: str, sealed: bytes, code: Secret[str]
    ) -> int | None:
        """Return the time step that a code belongs to, or None; the secret stays where it is."""
        ...

    async def sign_access_token(self, token: AccessToken) -> str:
        """Return an access token, signed; nothing else is ever signed by its key.

        Raises:
            StrongroomError: `token_not_signable`.
        """
        ...

    async def access_token_keys(self) -> list[PublicTokenKey]:
        """Return the public keys that verify access tokens now, the newest first."""
        ...

    async def trust(self) -> Trust:
        """Return which authorities of certificates are trusted, and what is revoked."""
        ...


class LocalDesk:
    """The desk of the keyring in this process."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._certificates = Certificates.of(keyring)

    async def hash_api_key(self, text: Secret[bytes]) -> bytes:
        """Return the 32-byte keyed hash under the pepper."""
        return self._keyring.api_key_hasher()(text.reveal())

    async def api_key_hashes(self, text: Secret[bytes]) -> list[KeyHash]:
        """Return the keyed hashes under every pepper in use; new keys get the first."""
        return self._keyring.api_key_hasher().hashes(text.reveal())

    async def inventory(self) -> list[KeyInfo]:
        """Return what may be known of every key."""
        return await self._keyring.inventory()

    async def new_one_time_secret(self, operator: str) -> OneTimeSecret:
        """Return a fresh secret of one-time codes: sealed to keep, and in clear to show once."""
        return (await OneTimeCodes.open(self._keyring.custody)).new(operator)

    async def match_one_time_code(
        self, operator: str, sealed: bytes, code: Secret[str]
    ) -> int | None:
        """Return the time step that a code belongs to, or None; the secret stays where it is."""
        custody = self._keyring.custody
        codes = await OneTimeCodes.open(custody)
        return codes.match(operator, sealed, code, now=custody.clock.now())

    async def sign_access_token(self, token: AccessToken) -> str:
        """Return an access token, signed."""
        return await self._keyring.token_keys.sign(token)

    async def access_token_keys(self) -> list[PublicTokenKey]:
        """Return the public keys that verify access tokens now, the newest first."""
        return await self._keyring.token_keys.published()

    async def trust(self) -> Trust:
        """Return which authorities of certificates are trusted, and what is revoked."""
        return await self._certificates.trust()
