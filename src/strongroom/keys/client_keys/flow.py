"""Client keys at work: made when due, published, opened once and held, erased when retired.

A stored key is used only when its record is signed as it stands and its public key follows from its
seed: a changed row opens nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from strongroom.journal import record
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.limits import CLIENT_KEYS_RELOAD_S, CLIENT_KEYS_TTL_S
from strongroom.keys import errors, records
from strongroom.keys.client_keys import decide, suites
from strongroom.keys.client_keys.model import (
    ALGORITHM,
    SUITES,
    ClientKey,
    OpeningKey,
    PublicClientKey,
)
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_become
from strongroom.keys.model import Draft, State
from strongroom.keys.naming import ACTOR, PREFIX, entry_of
from strongroom.keys.records import Snapshot
from strongroom.keys.tables import CLIENT
from strongroom.storage import Change

_VERBS = {"decrypt_only": "supersede", "compromised": "compromise", "destroyed": "destroy"}
_FOR_GOOD = ("compromised", "destroyed")


class ClientKeys:
    """The client keys of one installation."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._clock = custody.clock
        self._stored: dict[str, ClientKey] = {}
        self._opening: dict[str, OpeningKey] = {}
        self._read_at: float | None = None
        self._making = asyncio.Lock()

    async def published(self) -> list[PublicClientKey]:
        """Return the public keys that clients may encrypt to, each suite's newest first.

        Raises:
            StrongroomError: `key_record_forged` when a row was changed.
        """
        now = self._clock.now()
        await self._refresh(CLIENT_KEYS_TTL_S)
        if decide.due(list(self._stored.values()), now):
            await self.upkeep()
        return [_public(key) for key in decide.published(self._stored.values(), now)]

    async def find(self, kid: str) -> OpeningKey | None:
        """Return the private key that a message names, or None when there is none that opens."""
        await self._refresh(CLIENT_KEYS_TTL_S)
        if kid not in self._stored:
            await self._refresh(CLIENT_KEYS_RELOAD_S)
        stored = self._stored.get(kid)
        if stored is None or not decide.opens(stored, self._clock.now()):
            return None
        if kid not in self._opening:
            self._opening[kid] = await self._open(stored)
        return self._opening[kid]

    async def upkeep(self) -> int:
        """Make the keys that are due and erase those that are retired; returns how many."""
        async with self._making:
            await self._read()
            now = self._clock.now()
            wanted = decide.due(list(self._stored.values()), now)
            for suite, version in wanted:
                await self._make(suite, version)
            await self._turn(decide.ended(self._stored.values(), now), "decrypt_only")
            gone = decide.over(self._stored.values(), now)
            await self._turn(gone, "destroyed")
            await self._read()
            return len(wanted) + len(gone)

    async def rotate(self, *, actor: str, suite: str | None = None) -> list[PublicClientKey]:
        """Make the next key of a suite, or of all; the former ones are published no longer."""
        chosen = SUITES if suite is None else (suite,)
        if any(name not in SUITES for name in chosen):
            raise errors.client_suite_unknown(SUITES)
        async with self._making:
            await self._read()
            former = [
                key
                for key in self._stored.values()
                if key.suite in chosen and key.key.state == "active"
            ]
            for name in chosen:
                version = decide.next_version(self._stored.values(), name)
                await self._make(name, version, actor=actor)
            await self._turn(former, "decrypt_only", actor=actor)
            await self._read()
        return await self.published()

    async def compromise(self, name: str, *, actor: str) -> list[PublicClientKey]:
        """Take a key out of use at once, `cek_…`: it opens nothing more, and has a successor.

        Raises:
            StrongroomError: `key_not_found`, `key_state_not_possible`.
        """
        wanted = uuid_of(name, PREFIX["client"])
        async with self._making:
            await self._read()
            for key in self._stored.values():
                if key.key.record.id == wanted:
                    break
            else:
                raise errors.key_not_found()
            if not may_become(key.key.state, "compromised"):
                raise errors.key_state(f"{name} is {key.key.state}")
            await self._turn([key], "compromised", actor=actor)
        await self.upkeep()
        return await self.published()

    def forget(self) -> None:
        """Drop every key object."""
        self._opening.clear()
        self._stored.clear()
        self._read_at = None

    async def _refresh(self, age_s: float) -> None:
        if self._read_at is None or self._clock.monotonic() - self._read_at >= age_s:
            await self._read()

    async def _read(self) -> None:
        found: dict[str, ClientKey] = {}
        for key in await records.client_keys(self._custody.database):
            self._custody.verify(key)
            kid = suites.jwk_of(key.record.purpose, key.public_key or b"")["kid"]
            found[kid] = decide.with_times(key, kid)
        self._stored = found
        self._read_at = self._clock.monotonic()
        now = self._clock.now()
        for kid in [kid for kid in self._opening if not _opens(found.get(kid), now)]:
            del self._opening[kid]

    async def _open(self, key: ClientKey) -> OpeningKey:
        seed = await self._custody.open(key.key)
        if suites.public_bytes(key.suite, seed) != key.key.public_key:
            raise errors.key_not_usable(f"client key {key.kid} does not fit its public key")
        return suites.opening_key(key.suite, seed)

    async def _make(self, suite: str, version: int, *, actor: str = ACTOR) -> None:
        seed = suites.fresh_seed(suite)
        key = self._custody.new(
            "client",
            suite,
            ALGORITHM[suite],
            version,
            kek_purpose="token",
            region="",
            key=seed,
            public_key=suites.public_bytes(suite, seed),
        )
        change = Change()
        CLIENT.add(change, key)
        record(change, entry_of("create", key, actor=actor), at=key.record.created_at)
        await self._custody.committer.submit(change)

    async def _turn(self, keys: Iterable[ClientKey], state: State, *, actor: str = ACTOR) -> None:
        """Give keys another state; one that another process turned first is left as it is."""
        for key in keys:
            kid = key.kid

            async def build(_: Snapshot, change: Change, *, kid: str = kid) -> Draft | None:
                await self._read()
                now = self._stored[kid].key
                if now.state == state:
                    return None
                after = self._custody.changed(now, state=state)
                self._custody.put(change, after)
                record(change, entry_of(_VERBS[state], after, actor=actor), at=after.state_at)
                return Draft(revoked=[(after.record.id, state)] if state in _FOR_GOOD else ())

            await self._custody.submit(build)


def _opens(key: ClientKey | None, now: datetime) -> bool:
    return key is not None and decide.opens(key, now)


def _public(key: ClientKey) -> PublicClientKey:
    return PublicClientKey(
        kid=key.kid,
        suite=key.suite,
        jwk=suites.jwk_of(key.suite, key.key.public_key or b""),
        not_before=key.key.record.created_at,
        not_after=key.not_after,
    )
