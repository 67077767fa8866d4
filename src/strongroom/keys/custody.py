"""How keys come to be and come back: made, wrapped, claimed in the database with a journal entry.

Two processes that make the same key at once: the claim lets exactly one in, the other takes what
the winner stored. A stored key is used only if it opens under its parent with its own record as
additional data, was made in this mode, and fits its check value.
"""

from __future__ import annotations

from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import id_from
from strongroom.kernel.secret import Secret
from strongroom.keys import errors, records
from strongroom.keys.envelope import (
    check_value,
    fresh_key,
    record_aad,
    unwrap_key,
    verify_key,
    wrap_key,
)
from strongroom.keys.material import public_key_of
from strongroom.keys.model import (
    AEAD,
    KeyRecord,
    Mode,
    RootProvider,
    StoredKey,
    mode_fits,
    new_key_id,
)
from strongroom.storage import Change, Committer, Database, Verdict

ACTOR = "strongroom"
PREFIX = {"kek": "kek", "dek": "dek", "index": "idx", "service": "svk"}
PURPOSES = ("data", "index", "token", "audit")


class Custody:
    """Makes, stores and opens keys of one installation under one root."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        root: RootProvider,
        *,
        region: str,
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._root = root
        self._clock = clock
        self._wrapping: dict[UUID, AESGCM] = {}
        self._active: dict[str, UUID] = {}
        self._closed = False
        self.region = region
        self.mode: Mode = root.mode
        self.installation = root.installation

    async def prepare(self) -> None:
        """Open every key-encryption key; make the ones of this region that are missing."""
        held = await records.keks(self._database)
        for purpose in PURPOSES:
            if not any(_is_for(key, purpose, self.region) for key in held):
                await self._make_kek(purpose)
        for key in await records.keks(self._database):
            await self._hold_kek(key)

    def forget(self) -> None:
        """Drop every key object; nothing opens afterwards."""
        self._closed = True
        self._wrapping.clear()
        self._active.clear()

    async def make_merchant_key(self, kind: str, merchant: UUID, version: int) -> None:
        """Make a merchant's data or index key; on return that version exists, ours or another's."""
        purpose, algorithm = ("data", AEAD) if kind == "dek" else ("index", "HS256")
        kek = self._active_kek(purpose)
        made = self._record(kind, purpose, algorithm, version, parent=str(kek), owner=str(merchant))
        stored = self._wrapped(made, fresh_key(), self._wrapping[kek])
        change = Change()
        records.add_merchant_key(change, stored)
        await self._commit(change, stored, merchant=id_from("mer", merchant))

    async def make_service_key(self, purpose: str, *, kek_purpose: str, algorithm: str) -> None:
        """Make a key of the installation; on return it exists, ours or another process's."""
        kek = self._active_kek(kek_purpose)
        made = self._record("service", purpose, algorithm, 1, parent=str(kek), region="")
        key = fresh_key()
        public = public_key_of(key) if algorithm == "Ed25519" else None
        stored = self._wrapped(made, key, self._wrapping[kek], public_key=public)
        change = Change()
        records.add_service_key(change, stored)
        await self._commit(change, stored, merchant=None)

    async def open(self, key: StoredKey) -> Secret[bytes]:
        """Return the clear key of a stored merchant or service key.

        Raises:
            StrongroomError: `key_not_usable` when it was exchanged, changed or destroyed.
        """
        if self._closed:
            raise errors.key_not_usable("the keyring is closed")
        parent = UUID(key.record.parent)
        if parent not in self._wrapping:
            kek = await records.kek_by_id(self._database, parent)
            if kek is None:
                raise errors.key_not_usable(f"the kek of {key.record.id} is missing")
            await self._hold_kek(kek)
        name = self._check(key)
        clear = unwrap_key(self._wrapping[parent], key.wrapped, self._aad(key.record), what=name)
        verify_key(clear, key.record, key.kcv)
        return clear

    async def _make_kek(self, purpose: str) -> None:
        made = self._record("kek", purpose, AEAD, 1, parent=self._root.id)
        key = fresh_key()
        wrapped = await self._root.wrap(key, aad=self._aad(made))
        stored = StoredKey(record=made, wrapped=wrapped, kcv=check_value(key, made), state="active")
        change = Change()
        records.add_kek(change, stored)
        await self._commit(change, stored, merchant=None)

    async def _hold_kek(self, key: StoredKey) -> None:
        record = key.record
        self._check(key)
        if record.parent != self._root.id:
            raise errors.key_not_usable(f"kek {record.id} is wrapped by root {record.parent}")
        clear = await self._root.unwrap(key.wrapped, aad=self._aad(record))
        verify_key(clear, record, key.kcv)
        self._wrapping[record.id] = AESGCM(clear.reveal())
        if key.state == "active" and record.region == self.region:
            self._active[record.purpose] = record.id

    def _check(self, key: StoredKey) -> str:
        name = id_from(PREFIX[key.record.kind], key.record.id)
        if not mode_fits(key.record.id, self.mode):
            raise errors.key_not_usable(f"{name} was made in another mode")
        if key.state == "destroyed":
            raise errors.key_not_usable(f"{name} is destroyed")
        return name

    def _active_kek(self, purpose: str) -> UUID:
        found = self._active.get(purpose)
        if found is None:
            raise errors.key_not_usable(f"no active kek for {purpose} in {self.region}")
        return found

    def _record(
        self,
        kind: str,
        purpose: str,
        algorithm: str,
        version: int,
        *,
        parent: str,
        owner: str = "",
        region: str | None = None,
    ) -> KeyRecord:
        return KeyRecord(
            kind=kind,
            id=new_key_id(self.mode),
            purpose=purpose,
            region=self.region if region is None else region,
            owner=owner,
            version=version,
            parent=parent,
            algorithm=algorithm,
            created_at=self._clock.now(),
        )

    def _wrapped(
        self,
        made: KeyRecord,
        key: Secret[bytes],
        wrapping: AESGCM,
        *,
        public_key: bytes | None = None,
    ) -> StoredKey:
        return StoredKey(
            record=made,
            wrapped=wrap_key(wrapping, key, self._aad(made)),
            kcv=check_value(key, made),
            state="active",
            public_key=public_key,
        )

    def _aad(self, made: KeyRecord) -> bytes:
        return record_aad(made, mode=self.mode, installation=self.installation)

    async def _commit(self, change: Change, key: StoredKey, *, merchant: str | None) -> bool:
        """Write a new key and its entry; return whether ours was the one that came to be."""
        made = key.record
        entry = Entry(
            action=f"keys:{made.kind}:create",
            subject=id_from(PREFIX[made.kind], made.id),
            outcome="success",
            merchant=merchant,
            actor=ACTOR,
            facts={
                "purpose": made.purpose,
                "version": made.version,
                "algorithm": made.algorithm,
                "bits": 256,
                "source": "os-csprng",
                "wrapped_by": parent_name(made),
                "check_value": key.kcv.hex()[:10],
            },
        )
        record(change, entry, at=made.created_at)
        return await self._committer.submit(change) is Verdict.COMMITTED


def parent_name(made: KeyRecord) -> str:
    """Return the outside name of the key that wraps this one."""
    return made.parent if made.kind == "kek" else id_from("kek", UUID(made.parent))


def _is_for(key: StoredKey, purpose: str, region: str) -> bool:
    return (key.record.purpose, key.record.region, key.state) == (purpose, region, "active")
