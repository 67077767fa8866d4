"""The peppers under which API keys are hashed: one in use, and the one before while keys move.

A new pepper rests until every process knows it; until then new hashes are made under the former
one, so that no process meets a hash that it cannot make. Which keys still need the former one is
counted by the database itself, and it refuses to let a pepper go that is needed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from strongroom.journal import record
from strongroom.kernel.limits import KEY_CACHE_TTL_S, KEY_REST_S
from strongroom.keys import errors, records
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_open
from strongroom.keys.foundation import service_key
from strongroom.keys.material import KeyedHash
from strongroom.keys.model import MAC, Draft, KeyHash, StoredKey
from strongroom.keys.naming import entry_of
from strongroom.keys.records import Snapshot
from strongroom.keys.tables import table_of
from strongroom.storage import Change

PURPOSE = "api-key-pepper"
SETTLES = timedelta(seconds=KEY_CACHE_TTL_S + KEY_REST_S)
"""Longer than any process remembers a hash or a key."""

_KEK_PURPOSE = "token"
_DOMAIN = b"api-key"


class Peppers:
    """Hashes under every pepper in use. Make it with `Peppers.open`."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._held: list[tuple[datetime, KeyedHash]] = []

    @classmethod
    async def open(cls, custody: Custody) -> Peppers:
        """Open every pepper in use; make the first one if there is none."""
        await service_key(custody, PURPOSE, kek_purpose=_KEK_PURPOSE, algorithm=MAC)
        peppers = cls(custody)
        await peppers.refresh()
        return peppers

    def __call__(self, data: bytes) -> bytes:
        """Return the 32-byte keyed hash of `data` under the pepper for new hashes."""
        return self._ordered()[0](data)

    def hashes(self, text: bytes) -> list[KeyHash]:
        """Return the keyed hashes of a text under every pepper; new keys get the first."""
        return [KeyHash(pepper.version, pepper(text)) for pepper in self._ordered()]

    async def refresh(self) -> None:
        """Read the peppers again, after a key of the installation changed."""
        held = []
        for key in await records.service_keys(self._custody.database):
            if key.record.purpose == PURPOSE and may_open(key.state):
                clear = await self._custody.open(key)
                pepper = KeyedHash(clear, key.record.version, _DOMAIN)
                held.append((key.record.created_at, pepper))
        if not held:
            raise errors.key_not_usable("no pepper")
        self._held = sorted(held, key=lambda one: one[1].version, reverse=True)

    def forget(self) -> None:
        """Drop every pepper."""
        self._held = []

    async def rotate(self, *, actor: str) -> list[StoredKey]:
        """Make the next pepper; return it and the former one. Keys move to it as they are used.

        Raises:
            StrongroomError: `key_state_not_possible` while an older one is still in use.
        """
        turned: list[StoredKey] = []

        async def build(_: Snapshot, change: Change) -> Draft:
            found = await records.service_keys(self._custody.database)
            live = [k for k in found if k.record.purpose == PURPOSE and may_open(k.state)]
            if len(live) != 1:
                raise errors.key_state("the former pepper is still needed: destroy it first")
            former = self._custody.changed(live[0], state="decrypt_only")
            made = self._custody.new(
                "service",
                PURPOSE,
                MAC,
                former.record.version + 1,
                kek_purpose=_KEK_PURPOSE,
                region="",
            )
            table_of(made).add(change, made)
            self._custody.put(change, former)
            record(change, entry_of("create", made, actor=actor), at=made.record.created_at)
            record(change, entry_of("replace", former, actor=actor), at=former.state_at)
            turned[:] = [made, former]
            return Draft([made, former])

        await self._custody.submit(build)
        await self.refresh()
        return turned

    def _ordered(self) -> list[KeyedHash]:
        if not self._held:
            raise errors.key_not_usable("the keyring is closed")
        settled = self._custody.clock.now() - SETTLES
        first = next((pepper for made, pepper in self._held if made <= settled), self._held[-1][1])
        return [first, *(pepper for _, pepper in self._held if pepper is not first)]
