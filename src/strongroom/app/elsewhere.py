"""What a process without keys has in their place: the remote vault, and hashes asked for.

Nothing here can open a record, sign or hash by itself: the keys stay with the vault's process.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from strongroom.app.settings import Settings, VaultAddress, address_of
from strongroom.identity.api_keys import Hashed
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import KEY_CACHE_SIZE, KEY_CACHE_TTL_S
from strongroom.kernel.secret import Secret
from strongroom.keys import KeyDesk, KeyHash
from strongroom.vault.remote import Caller, Dialer, Files

T = TypeVar("T")


def dial(settings: Settings, vault: VaultAddress) -> Caller:
    """Return the way to the vault that the settings name; the first call connects."""
    host, port = address_of(vault.address)
    files = Files(
        settings.path(vault.authority), settings.path(vault.certificate), settings.path(vault.key)
    )
    return Caller(Dialer(host, port, files=files, trust_domain=settings.trust_domain))


class _Asked(Generic[T]):
    """What the vault answers to texts, remembered for minutes.

    What is remembered is found by a hash under a key of this process only; no text is kept.
    """

    def __init__(self, ask: Callable[[Secret[bytes]], Awaitable[T]], *, clock: Clock) -> None:
        self._ask = ask
        self._monotonic = clock.monotonic
        self._blind = os.urandom(32)
        self._kept: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def __call__(self, data: bytes) -> T | Awaitable[T]:
        """Return the answer, or what to await for it."""
        blind = hashlib.blake2b(data, key=self._blind, digest_size=32).digest()
        kept = self._kept.get(blind)
        if kept is not None and kept[0] > self._monotonic():
            self._kept.move_to_end(blind)
            return kept[1]
        return self._asked(blind, data)

    async def _asked(self, blind: bytes, data: bytes) -> T:
        answer = await self._ask(Secret(data))
        self._kept[blind] = (self._monotonic() + KEY_CACHE_TTL_S, answer)
        while len(self._kept) > KEY_CACHE_SIZE:
            self._kept.popitem(last=False)
        return answer


class RemoteHasher(_Asked[bytes]):
    """The keyed hash under the pepper, asked from the vault."""

    def __init__(self, desk: KeyDesk, *, clock: Clock) -> None:
        super().__init__(desk.hash_api_key, clock=clock)


class RemoteHashes(_Asked[Sequence[Hashed]]):
    """The keyed hashes of API keys under every pepper in use, asked from the vault.

    A new pepper is not used before every process has forgotten what it remembers from before.
    """

    def __init__(self, desk: KeyDesk, *, clock: Clock) -> None:
        async def ask(text: Secret[bytes]) -> Sequence[Hashed]:
            return hashed(await desk.api_key_hashes(text))

        super().__init__(ask, clock=clock)


def hashed(found: Iterable[KeyHash]) -> list[Hashed]:
    """Return hashes of the keys' room as identity takes them."""
    return [Hashed(pepper_version=one.version, digest=one.digest) for one in found]


def keys_elsewhere() -> StrongroomError:
    """Return `keys_elsewhere`: what was asked needs keys, and this process has none."""
    return StrongroomError(
        "keys_elsewhere",
        "The keys are with the vault's process. Run this command where the vault runs.",
    )


def payments_elsewhere() -> StrongroomError:
    """Return `payments_elsewhere`: what was asked needs payments, and this process has none."""
    return StrongroomError(
        "payments_elsewhere",
        "Merchants and payments are not the vault's. Run this command where the API runs, or with "
        "the owner's database URL.",
    )
