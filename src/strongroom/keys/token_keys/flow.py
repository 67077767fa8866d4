"""Token keys at work: made when due, signing, published, replaced, and gone for good.

They are keys of the installation, under its signed manifest: a row that was changed or brought
back signs nothing and verifies nothing. What one process changes, the others see within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from strongroom.journal import record
from strongroom.kernel.ids import uuid_of
from strongroom.keys import errors, records
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_become, may_seal
from strongroom.keys.envelope import fresh_key
from strongroom.keys.model import Draft, State, StoredKey
from strongroom.keys.naming import ACTOR, PREFIX, entry_of
from strongroom.keys.records import Snapshot
from strongroom.keys.tables import SERVICE
from strongroom.keys.token_keys import decide, signing
from strongroom.keys.token_keys.model import ALGORITHM, PURPOSE, AccessToken, PublicTokenKey
from strongroom.storage import Change

_VERBS = {"decrypt_only": "supersede", "compromised": "compromise", "destroyed": "destroy"}


class TokenKeys:
    """The keys that sign access tokens of one installation."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._clock = custody.clock
        self._stored: list[StoredKey] = []
        self._seq = 0
        self._signer: tuple[UUID, signing.TokenSigner] | None = None
        self._making = asyncio.Lock()

    async def published(self) -> list[PublicTokenKey]:
        """Return the public keys that verify access tokens, the newest first.

        Raises:
            StrongroomError: `key_record_forged` when a row was changed.
        """
        await self._current()
        return [
            signing.public_key(key, signs=may_seal(key.state), until=decide.until(key))
            for key in decide.verifying(self._stored, self._clock.now())
        ]

    async def sign(self, token: AccessToken) -> str:
        """Return an access token (RFC 9068), signed and in compact form.

        Raises:
            StrongroomError: `token_not_signable` for what is no access token of ours.
        """
        why = decide.fault(token, self._clock.now())
        if why is not None:
            raise errors.token_not_signable(why)
        key = await self._current()
        if self._signer is None or self._signer[0] != key.record.id:
            seed = await self._custody.open(key)
            self._signer = key.record.id, signing.TokenSigner(seed, key.public_key or b"")
        return self._signer[1].sign(token, mode=self._custody.mode)

    async def rotate(self, *, actor: str) -> list[PublicTokenKey]:
        """Make the next key; the former one verifies what it signed, ten minutes more."""
        async with self._making:
            await self._make(actor=actor, even_if_not_due=True)
        return await self.published()

    async def compromise(self, name: str, *, actor: str) -> list[PublicTokenKey]:
        """Take a key out of use at once, `svk_…`: no token of it is taken; make its successor.

        Raises:
            StrongroomError: `key_not_found`, `key_state_not_possible`.
        """
        wanted = uuid_of(name, PREFIX["service"])
        async with self._making:
            await self._read()
            key = next((k for k in self._stored if k.record.id == wanted), None)
            if key is None:
                raise errors.key_not_found()
            if not may_become(key.state, "compromised"):
                raise errors.key_state(f"{name} is {key.state}")
            await self._turn(key, "compromised", actor=actor)
        return await self.published()

    async def is_one(self, name: str) -> bool:
        """Return whether `svk_…` names a key that signs access tokens."""
        await self._read()
        wanted = uuid_of(name, PREFIX["service"])
        return any(key.record.id == wanted for key in self._stored)

    def forget(self) -> None:
        """Drop every key object."""
        self._stored, self._seq, self._signer = [], 0, None

    async def _current(self) -> StoredKey:
        """Return the key that signs now, made if it is due."""
        if not self._stored or self._seq < self._custody.seq:
            await self._read()
        now = self._clock.now()
        if decide.is_due(self._stored, now) or decide.over(self._stored, now):
            async with self._making:
                await self._make(actor=ACTOR)
                for old in decide.over(self._stored, now):
                    await self._turn(old, "destroyed", actor=ACTOR)
        key = decide.signing(self._stored)
        if key is None:
            raise errors.key_not_usable("no active key for access tokens")
        return key

    async def _read(self) -> None:
        found = await records.snapshot(self._custody.database)
        self._seq = self._custody.signer.verify_snapshot(found)
        self._stored = decide.ours(found.keys)

    async def _make(self, *, actor: str, even_if_not_due: bool = False) -> None:
        """Make the next key and close the one before, unless another process was faster."""

        async def build(found: Snapshot, change: Change) -> Draft | None:
            keys = decide.ours(found.keys)
            if not (even_if_not_due or decide.is_due(keys, self._clock.now())):
                return None
            return self._replace(change, keys, actor=actor)

        await self._custody.submit(build)
        await self._read()

    def _replace(self, change: Change, keys: Sequence[StoredKey], *, actor: str) -> Draft:
        seed = fresh_key()
        key = self._custody.new(
            "service",
            PURPOSE,
            ALGORITHM,
            1 + max((key.record.version for key in keys), default=0),
            kek_purpose="audit",
            region="",
            key=seed,
            public_key=signing.public_point(seed),
        )
        SERVICE.add(change, key)
        at = key.record.created_at
        record(change, entry_of("create", key, actor=actor), at=at)
        closed = [
            self._custody.changed(old, state="decrypt_only") for old in keys if may_seal(old.state)
        ]
        for old in closed:
            self._custody.put(change, old)
            record(change, entry_of("supersede", old, actor=actor), at=at)
        return Draft([key, *closed])

    async def _turn(self, key: StoredKey, state: State, *, actor: str) -> None:
        """Give a key another state; one that another process turned first is left as it is."""

        async def build(found: Snapshot, change: Change) -> Draft | None:
            now = next(k for k in found.keys if k.record.id == key.record.id)
            if not may_become(now.state, state):
                return None
            after = self._custody.changed(now, state=state)
            self._custody.put(change, after)
            record(change, entry_of(_VERBS[state], after, actor=actor), at=after.state_at)
            return Draft([after], [(after.record.id, state)])

        await self._custody.submit(build)
        await self._read()
