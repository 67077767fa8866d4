"""How keys come to be, come back and change: wrapped, signed, claimed with a journal entry.

Two processes that make the same key at once: the claim lets exactly one in, the other takes what
the winner stored. A stored key is used only if its record is signed as it stands, it opens under
its parent with its own record as additional data, was made in this mode, and fits its check value.
Every change of the installation's own keys, and every change of a state, is a new manifest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.journal import record
from strongroom.kernel.clock import Clock
from strongroom.kernel.secret import Secret
from strongroom.keys import errors, records
from strongroom.keys.decide import may_open
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
    MAC,
    SIGNATURE,
    Anchor,
    Draft,
    KeyRecord,
    Mode,
    RootProvider,
    State,
    StoredKey,
    mode_fits,
    new_key_id,
)
from strongroom.keys.naming import entry_of, name_of
from strongroom.keys.records import NOTHING, Snapshot
from strongroom.keys.signatures import RecordSigner
from strongroom.keys.tables import UNDER_KEKS, table_of
from strongroom.storage import Change, Committer, ConstraintViolated, Database, Verdict

_TRIES = 20
_LOOK_AGAIN = ("key_revision_counts", "kek_still_wraps")
"""What the database refuses when others were faster with keys that the manifest does not name."""

Build = Callable[[Snapshot, Change], Awaitable[Draft | None]]


class Custody:
    """Makes, stores, opens and changes keys of one installation under its root.

    Args:
        database: the vault's database role.
        committer: writes as the vault's role, with the journal's marker.
        root: wraps everything new.
        former: roots that may still unwrap what `root` does not wrap yet.
        region: whose key-encryption keys new merchants' keys are made under.
        clock: gives creation times.
        anchor: remembers outside the database how often keys changed.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        root: RootProvider,
        *,
        former: Sequence[RootProvider] = (),
        region: str,
        clock: Clock,
        anchor: Anchor | None = None,
    ) -> None:
        self.database = database
        self.committer = committer
        self.root = root
        self.clock = clock
        self.region = region
        self.mode: Mode = root.mode
        self.installation = root.installation
        self._roots = {provider.id: provider for provider in (*former, root)}
        self._anchor = anchor
        self._signer: RecordSigner | None = None
        self._wrapping: dict[UUID, AESGCM] = {}
        self._active: dict[str, StoredKey] = {}
        self.seq = 0
        self._closed = False

    @property
    def former(self) -> tuple[RootProvider, ...]:
        """Roots that may still unwrap, in the order they were given."""
        return tuple(root for root in self._roots.values() if root.id != self.root.id)

    # --- opening and closing ---

    async def refresh(self) -> bool:
        """Read the installation's keys again if they changed; return whether they did."""
        if self._closed or await records.manifest_seq(self.database) == self.seq:
            return False
        await self.accept(await records.snapshot(self.database))
        return True

    def forget(self) -> None:
        """Drop every key object; nothing opens afterwards."""
        self._closed = True
        self._wrapping.clear()
        self._active.clear()
        self._signer = None

    # --- keys of the rooms above ---

    def new(
        self,
        kind: str,
        purpose: str,
        algorithm: str,
        version: int,
        *,
        kek_purpose: str,
        owner: str = "",
        region: str | None = None,
        key: Secret[bytes] | None = None,
        state: State = "active",
        public_key: bytes | None = None,
    ) -> StoredKey:
        """Return a new key: random unless given, wrapped under a purpose's KEK, and signed."""
        kek = self.active_kek(kek_purpose)
        where = self.region if region is None else region
        made = self.record(
            kind, purpose, algorithm, version, parent=str(kek), owner=owner, region=where
        )
        key = key or fresh_key()
        return self.signer.signed(
            StoredKey(
                record=made,
                wrapped=wrap_key(self._wrapping[kek], key, self.aad(made)),
                kcv=check_value(key, made),
                state=state,
                state_at=made.created_at,
                public_key=public_key_of(key) if algorithm == SIGNATURE else public_key,
            )
        )

    async def make_merchant_key(self, kind: str, merchant: UUID, version: int) -> None:
        """Make a merchant's data or index key; on return that version exists, ours or another's.

        The versions before are closed for sealing in the same Change.
        """
        purpose, algorithm = ("data", AEAD) if kind == "dek" else ("index", MAC)
        table, owner = UNDER_KEKS[kind], str(merchant)

        async def build(_: Snapshot, change: Change) -> Draft:
            key = self.new(kind, purpose, algorithm, version, kek_purpose=purpose, owner=owner)
            table.add(change, key)
            record(change, entry_of("create", key), at=key.record.created_at)
            for old in await records.merchant_versions(self.database, table, merchant):
                if old.state == "active" and old.record.version < version:
                    self.put(change, self.changed(old, state="decrypt_only"))
            return Draft()

        if version > 1:
            await self.submit(build)
            return
        change = Change()
        await build(NOTHING, change)
        await self.committer.submit(change)

    async def make_service_key(
        self, purpose: str, *, kek_purpose: str, algorithm: str, version: int = 1
    ) -> None:
        """Make a key of the installation; on return it exists, ours or another process's."""

        async def build(found: Snapshot, change: Change) -> Draft:
            key = self.new(
                "service", purpose, algorithm, version, kek_purpose=kek_purpose, region=""
            )
            table_of(key).add(change, key)
            record(change, entry_of("create", key), at=key.record.created_at)
            return Draft([key])

        await self.submit(build)

    async def open(self, key: StoredKey, *, rotating: bool = False) -> Secret[bytes]:
        """Return the clear key of a stored key that a key-encryption key wraps.

        Raises:
            StrongroomError: `key_record_forged`, `key_not_usable` when it was exchanged, changed or
                destroyed, `key_compromised` when it may be opened for its rotation only.
        """
        self.verify(key)
        if key.state == "compromised" and not rotating:
            raise errors.key_compromised()
        if not may_open(key.state, rotating=rotating):
            raise errors.key_not_usable(f"{name_of(key)} is {key.state}")
        parent = UUID(key.record.parent)
        if parent not in self._wrapping:
            await self.accept(await records.snapshot(self.database))
        if parent not in self._wrapping:
            raise errors.key_not_usable(f"the kek of {name_of(key)} is missing or destroyed")
        clear = unwrap_key(
            self._wrapping[parent], key.wrapped, self.aad(key.record), what=name_of(key)
        )
        verify_key(clear, key.record, key.kcv)
        return clear

    def verify(self, key: StoredKey) -> None:
        """Refuse a key whose record is not as it was signed, or of another mode."""
        if not mode_fits(key.record.id, self.mode):
            raise errors.key_not_usable(f"{name_of(key)} was made in another mode")
        self.signer.verify(key)

    # --- changes ---

    def changed(self, key: StoredKey, *, state: State) -> StoredKey:
        """Return a key's next revision in another state; a destroyed one has no bytes left."""
        wrapped = b"" if state == "destroyed" else key.wrapped
        return self._next(key, made=key.record, wrapped=wrapped, state=state)

    async def rewrapped(self, key: StoredKey) -> StoredKey:
        """Return a key's next revision, wrapped by what now wraps new ones of its kind."""
        if key.record.kind in ("kek", "record"):
            clear = await self.from_root(key)
            made = msgspec.structs.replace(key.record, parent=self.root.id)
            wrapped = await self.root.wrap(clear, aad=self.aad(made))
        else:
            clear = await self.open(key, rotating=True)
            old = await records.kek_by_id(self.database, UUID(key.record.parent))
            if old is None:
                raise errors.key_not_usable(f"the kek of {name_of(key)} is missing")
            kek = self.active_kek(old.record.purpose)
            made = msgspec.structs.replace(key.record, parent=str(kek))
            wrapped = wrap_key(self._wrapping[kek], clear, self.aad(made))
        return self._next(key, made=made, wrapped=wrapped, state=key.state)

    def put(self, change: Change, key: StoredKey) -> None:
        """Write a key's next revision."""
        table_of(key).put(change, key)

    async def submit(self, build: Build) -> bool:
        """Write a change of keys with the next manifest; return whether it came to be.

        `build` adds rows to the Change and says what they do to the manifest; it is asked again
        when others were faster, and returns None when there is nothing to do any more.
        """
        for _ in range(_TRIES):
            found = await records.snapshot(self.database)
            seq = self.signer.verify_snapshot(found) + 1
            change = Change()
            draft = await build(found, change)
            if draft is None:
                return False
            keys = {key.record.id: key for key in (*found.keys, *draft.keys)}
            revoked = {*found.revocations, *draft.revoked}
            at = self.clock.now()
            for key_id, state in revoked - set(found.revocations):
                records.revoke(change, key_id, state, at)
            records.write_manifest(change, self.signer.manifest(seq, keys.values(), revoked, at=at))
            try:
                verdict = await self.committer.submit(change)
            except ConstraintViolated as refused:
                if refused.constraint not in _LOOK_AGAIN:
                    raise
                continue
            if verdict is not Verdict.STALE:
                await self.refresh()
                return verdict is Verdict.COMMITTED
        raise errors.keys_contended()

    @property
    def signer(self) -> RecordSigner:
        """What signs key records."""
        if self._signer is None:
            raise errors.key_not_usable("the keyring is closed")
        return self._signer

    def sign_with(self, seed: Secret[bytes]) -> None:
        """Take the record-signing key of the installation."""
        self._signer = RecordSigner(seed, mode=self.mode, installation=self.installation)

    def has_active_kek(self, purpose: str) -> bool:
        """Return whether new keys of a purpose can be made."""
        return purpose in self._active

    def active_kek(self, purpose: str) -> UUID:
        """Return the key-encryption key under which new keys of a purpose are made."""
        found = self._active.get(purpose)
        if found is None:
            raise errors.key_not_usable(f"no active kek for {purpose} in {self.region}")
        return found.record.id

    async def make_kek(self, purpose: str, version: int) -> StoredKey:
        """Return a new key-encryption key, wrapped by the root and signed; not stored yet."""
        made = self.record("kek", purpose, AEAD, version, parent=self.root.id, region=self.region)
        key = fresh_key()
        wrapped = await self.root.wrap(key, aad=self.aad(made))
        return self.signed_active(made, wrapped, check_value(key, made))

    # --- parts ---

    async def accept(self, found: Snapshot) -> None:
        """Verify a snapshot against its manifest and hold its key-encryption keys."""
        seq = self.signer.verify_snapshot(found)
        self.check_anchor(seq)
        wrapping: dict[UUID, AESGCM] = {}
        active: dict[str, StoredKey] = {}
        for key in found.keys:
            if key.record.kind != "kek" or key.state == "destroyed":
                continue
            held = self._wrapping.get(key.record.id)
            wrapping[key.record.id] = held or AESGCM((await self.from_root(key)).reveal())
            if key.state == "active" and key.record.region == self.region:
                active[key.record.purpose] = key
        if self._anchor is not None and seq > self._anchor.read():
            self._anchor.write(seq)
        self._wrapping, self._active, self.seq = wrapping, active, seq

    def check_anchor(self, seq: int) -> None:
        """Refuse a number of changes below what was seen here before."""
        seen = self.seq if self._anchor is None else max(self.seq, self._anchor.read())
        if seq < seen:
            raise errors.keys_rolled_back(f"change {seq} of the keys; change {seen} was seen here")

    async def from_root(self, key: StoredKey) -> Secret[bytes]:
        """Return the clear key of a stored key that a root wraps."""
        made = key.record
        if not mode_fits(made.id, self.mode):
            raise errors.key_not_usable(f"{name_of(key)} was made in another mode")
        root = self._roots.get(made.parent)
        if root is None:
            raise errors.key_not_usable(f"{name_of(key)} is wrapped by root {made.parent}")
        clear = await root.unwrap(key.wrapped, aad=self.aad(made))
        verify_key(clear, made, key.kcv)
        return clear

    def signed_active(self, made: KeyRecord, wrapped: bytes, kcv: bytes) -> StoredKey:
        """Return a new active key, signed."""
        return self.signer.signed(
            StoredKey(
                record=made, wrapped=wrapped, kcv=kcv, state="active", state_at=made.created_at
            )
        )

    def _next(self, key: StoredKey, *, made: KeyRecord, wrapped: bytes, state: State) -> StoredKey:
        at: datetime = self.clock.now() if state != key.state else key.state_at
        return self.signer.signed(
            msgspec.structs.replace(
                key,
                record=made,
                wrapped=wrapped,
                state=state,
                state_at=at,
                revision=key.revision + 1,
            )
        )

    def record(
        self,
        kind: str,
        purpose: str,
        algorithm: str,
        version: int,
        *,
        parent: str,
        region: str,
        owner: str = "",
    ) -> KeyRecord:
        """Return the record of a key that is made now."""
        return KeyRecord(
            kind=kind,
            id=new_key_id(self.mode),
            purpose=purpose,
            region=region,
            owner=owner,
            version=version,
            parent=parent,
            algorithm=algorithm,
            created_at=self.clock.now(),
        )

    def aad(self, made: KeyRecord) -> bytes:
        """Return what a key's wrapped bytes are bound to."""
        return record_aad(made, mode=self.mode, installation=self.installation)
