"""The keyring: what the rooms above use of keys, without ever seeing one.

It seals and opens values for merchants, makes fingerprints, signs journal checkpoints, and hashes
API keys. Merchants' keys are made at first use, held for at most five minutes, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from strongroom.kernel import limits
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.ports import Signer
from strongroom.keys import errors, records
from strongroom.keys.cache import KeyCache, hit_rate
from strongroom.keys.certificates.authority import CertificateSigner, signer_of
from strongroom.keys.certificates.flow import Certificates
from strongroom.keys.client_keys import ClientKeys
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_open, may_seal
from strongroom.keys.dual_control import DualControl, World
from strongroom.keys.envelope import named_key, world
from strongroom.keys.format_key import FormatKey, format_key
from strongroom.keys.foundation import prepare, service_key
from strongroom.keys.listing import inventory
from strongroom.keys.material import Allowance, DataKey, IndexKey, JournalSigner
from strongroom.keys.model import (
    MAC,
    SIGNATURE,
    Anchor,
    Context,
    KeyInfo,
    Mode,
    RootProvider,
    StoredKey,
)
from strongroom.keys.peppers import Peppers
from strongroom.keys.subjects import SubjectKeys
from strongroom.keys.tables import INDEX, VISIBLE
from strongroom.keys.token_keys import TokenKeys
from strongroom.storage import Committer, Database

JOURNAL_SIGNING = "journal-signing"
DUAL_CONTROL = "dual-control"
_log = logging.getLogger("strongroom.keys")


class Keyring:
    """All keys of one installation, opened under its root. Make it with `Keyring.open`."""

    def __init__(
        self,
        database: Database,
        custody: Custody,
        client_keys: ClientKeys,
        subjects: SubjectKeys,
        clock: Clock,
    ) -> None:
        self.client_keys = client_keys
        self.token_keys = TokenKeys(custody)
        self.subjects = subjects
        self._database = database
        self._custody = custody
        self._clock = clock
        size, ttl_s = limits.KEY_CACHE_SIZE, limits.KEY_CACHE_TTL_S
        self._sealing: KeyCache[str, DataKey] = KeyCache(size=size, ttl_s=ttl_s, clock=clock)
        self._opening: KeyCache[tuple[str, int], DataKey] = KeyCache(
            size=size, ttl_s=ttl_s, clock=clock
        )
        self._index: KeyCache[str, IndexKey] = KeyCache(size=size, ttl_s=ttl_s, clock=clock)
        self._allowances: OrderedDict[UUID, Allowance] = OrderedDict()
        self._reserving: dict[UUID, asyncio.Lock] = {}
        self._signer: JournalSigner | None = None
        self._peppers: Peppers | None = None
        self._dual_control: DualControl | None = None
        self._seen = custody.seq

    @classmethod
    async def open(
        cls,
        database: Database,
        committer: Committer,
        root: RootProvider,
        *,
        former: Sequence[RootProvider] = (),
        region: str = "default",
        clock: Clock | None = None,
        anchor: Anchor | None = None,
    ) -> Keyring:
        """Open every key of the installation under its root; make what is missing.

        Args:
            database: the vault's database role.
            committer: writes as the vault's role, with the journal's marker.
            root: where the root key lives; it wraps everything new.
            former: roots that may still unwrap, until `keys rotate root` has moved their keys.
            region: whose key-encryption keys new merchants' keys are made under.
            clock: gives creation times and cache ages.
            anchor: remembers outside the database how often keys changed.

        Raises:
            StrongroomError: `not_initialized`, `root_other_world`, `key_not_usable`,
                `key_record_forged`, `keys_rolled_back`.
        """
        found = await records.installation(database)
        if found is None:
            raise errors.not_initialized()
        for provider in (root, *former):
            if found[1] != provider.mode:
                raise errors.root_other_world(f"mode ({provider.mode}; the database is {found[1]})")
            if found[0] != provider.installation:
                raise errors.root_other_world("installation")
        clock = clock or SystemClock()
        custody = Custody(
            database,
            committer,
            root,
            former=former,
            region=region,
            clock=clock,
            anchor=anchor,
        )
        await prepare(custody)
        subjects = await SubjectKeys.open(custody)
        keyring = cls(database, custody, ClientKeys(custody), subjects, clock)
        await keyring._open_service_keys()
        await keyring._open_dual_control(committer)
        return keyring

    @property
    def mode(self) -> Mode:
        """The world of these keys."""
        return self._custody.mode

    @property
    def custody(self) -> Custody:
        """What makes, opens and changes keys; for the rooms within this one."""
        return self._custody

    @property
    def installation(self) -> UUID:
        """The installation of these keys."""
        return self._custody.installation

    def signer(self) -> Signer:
        """Return the journal's signer."""
        if self._signer is None:
            raise errors.key_not_usable("the keyring is closed")
        return self._signer

    def api_key_hasher(self) -> Peppers:
        """Return the keyed hashes under which API keys are stored."""
        if self._peppers is None:
            raise errors.key_not_usable("the keyring is closed")
        return self._peppers

    @property
    def dual_control(self) -> DualControl:
        """Custodians and approvals of this installation."""
        if self._dual_control is None:
            raise errors.key_not_usable("the keyring is closed")
        return self._dual_control

    def certificates(self) -> Certificates:
        """Return the authority of this installation's certificates."""
        return Certificates.of(self)

    async def certificate_signer(self, generation: int = 1) -> CertificateSigner:
        """Return the key of a generation of the authority of this installation's services."""
        return await signer_of(self._custody, generation, mode=self.mode)

    async def format_key(self, merchant: str) -> FormatKey:
        """Return the merchant's key for the legacy export of digits."""
        return await format_key(self._custody, merchant)

    def close(self) -> None:
        """Drop every key object; the keyring cannot be used afterwards."""
        for cache in (self._sealing, self._opening, self._index):
            cache.clear()
        for held in (self.client_keys, self.token_keys, self.subjects, self._custody):
            held.forget()
        if self._peppers is not None:
            self._peppers.forget()
        self._signer = self._peppers = self._dual_control = None

    async def refresh(self) -> bool:
        """Forget held keys if any key changed, so that a rotation shows here too; for the worker.

        Raises:
            StrongroomError: `key_record_forged`, `keys_rolled_back`.
        """
        await self._custody.refresh()
        if self._custody.seq == self._seen:
            return False
        self._seen = self._custody.seq
        for cache in (self._sealing, self._opening, self._index):
            cache.clear()
        self.subjects.forget()
        await self.api_key_hasher().refresh()
        return True

    def hit_rate(self) -> float:
        """Return the share of look-ups of data keys that a cache answered."""
        return hit_rate([self._sealing, self._opening, *self.subjects.caches])

    def forget_merchant(self, merchant: str) -> None:
        """Forget what is held of a merchant's newest keys, so that the next use sees new ones."""
        self._sealing.drop(merchant)
        self._index.drop(merchant)

    async def data_key(self, merchant: str, *, uses: int) -> DataKey:
        """Return the merchant's key for new records with at least `uses` seals set aside.

        Seal at once: an `await` in between may let another task spend them.

        Raises:
            StrongroomError: `key_exhausted` when the limit is reached and no new key can be made.
        """
        key = await self._sealing.get(merchant, lambda: self._load_sealing(merchant))
        allowance = self._allowance(key.id)
        while allowance.left < uses:
            key = await self._reserve(merchant, key, uses)
            allowance = self._allowance(key.id)
        return key

    async def index_key(self, merchant: str) -> IndexKey:
        """Return the merchant's key for fingerprints and commitments."""
        return await self._index.get(merchant, lambda: self._load_index(merchant))

    async def index_keys(self, merchant: str) -> list[IndexKey]:
        """Return every index key under which fingerprints of this merchant may still stand."""
        found = await records.merchant_versions(self._database, INDEX, merchant_uuid(merchant))
        usable = [key for key in found if may_open(key.state, rotating=True)]
        return [IndexKey(await self._custody.open(k, rotating=True), k.record) for k in usable]

    async def old_key(self, merchant: str, version: int) -> DataKey:
        """Return a data key to move what it sealed to the next one; a compromised one opens too."""
        stored = await records.dek(self._database, merchant_uuid(merchant), version)
        if stored is None:
            raise errors.key_missing()
        return await self._data_key(merchant, stored, None, rotating=True)

    async def key_of(self, merchant: str, record: bytes) -> DataKey:
        """Return the one key that a sealed record of this merchant names.

        Raises:
            StrongroomError: `record_not_opened` when the record names no key of this merchant.
        """
        key_id, version = named_key(record)
        key = await self._opening.get(
            (merchant, version), lambda: self._load_opening(merchant, version, key_id)
        )
        if key.id != key_id:
            raise await self._foreign(key_id)
        return key

    async def seal(self, context: Context, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed under the merchant's key, bound to its context."""
        key = await self.data_key(context.merchant, uses=1)
        return key.seal(context, plaintext)

    async def open_record(self, context: Context, record: bytes) -> bytes:
        """Return what was sealed in this context.

        Raises:
            StrongroomError: `record_not_opened` when it was changed, moved or is foreign.
        """
        if context.subject:
            return await self.subjects.open_record(context, record)
        key = await self.key_of(context.merchant, record)
        return key.open(context, record)

    async def inventory(self) -> list[KeyInfo]:
        """Return every key of the installation, for `strongroom keys list`."""
        return await inventory(self._database, self._custody.clock.now())

    async def _open_service_keys(self) -> None:
        held = self._custody
        seed = await service_key(held, JOURNAL_SIGNING, kek_purpose="audit", algorithm=SIGNATURE)
        name = f"strongroom.{self.installation}/journal"
        self._signer = JournalSigner(await self._custody.open(seed), name)
        if self._signer.public_key != seed.public_key:
            raise errors.key_not_usable("the journal key does not fit its public key")
        self._peppers = await Peppers.open(held)

    async def _open_dual_control(self, committer: Committer) -> None:
        stored = await service_key(self._custody, DUAL_CONTROL, kek_purpose="audit", algorithm=MAC)
        self._dual_control = DualControl(
            self._database,
            committer,
            world=World(self.installation, self.mode),
            seal=IndexKey(await self._custody.open(stored), stored.record),
            clock=self._clock,
        )

    async def _load_sealing(self, merchant: str) -> DataKey:
        owner = merchant_uuid(merchant)
        stored = await records.newest_dek(self._database, owner)
        if stored is None or not may_seal(stored.state):
            version = 1 if stored is None else stored.record.version + 1
            await self._custody.make_merchant_key("dek", owner, version)
            stored = await records.newest_dek(self._database, owner)
        if stored is None or not may_seal(stored.state):
            raise errors.key_not_usable("no active data key")
        return await self._data_key(merchant, stored, self._allowance(stored.record.id))

    async def _load_opening(self, merchant: str, version: int, key_id: UUID) -> DataKey:
        stored = await records.dek(self._database, merchant_uuid(merchant), version)
        if stored is None:
            raise await self._foreign(key_id)
        return await self._data_key(merchant, stored, None)

    async def _foreign(self, key_id: UUID) -> StrongroomError:
        """Return why a record cannot be opened whose key is not the merchant's."""
        known = await records.knows(self._database, key_id)
        return errors.record_not_opened() if known else errors.key_missing()

    async def _data_key(
        self,
        merchant: str,
        stored: StoredKey,
        allowance: Allowance | None,
        *,
        rotating: bool = False,
    ) -> DataKey:
        clear = await self._custody.open(stored, rotating=rotating)
        bound = world(self.mode, stored.record.region, self.installation, merchant)
        return DataKey(clear, stored.record, bound, allowance=allowance)

    async def _load_index(self, merchant: str) -> IndexKey:
        owner = merchant_uuid(merchant)
        stored = await records.newest(self._database, INDEX, owner)
        if stored is None:
            await self._custody.make_merchant_key("index", owner, 1)
            stored = await records.newest(self._database, INDEX, owner)
        if stored is None or not may_seal(stored.state):
            raise errors.key_not_usable("no active index key")
        shown = await records.newest(self._database, VISIBLE, owner)
        outside = None
        if shown is not None:
            outside = IndexKey(await self._custody.open(shown), shown.record)
        return IndexKey(await self._custody.open(stored), stored.record, visible=outside)

    def _allowance(self, key_id: UUID) -> Allowance:
        """Return what this process may still spend of a key; it outlives the cached key."""
        found = self._allowances.setdefault(key_id, Allowance())
        self._allowances.move_to_end(key_id)
        while len(self._allowances) > 2 * limits.KEY_CACHE_SIZE:
            self._allowances.popitem(last=False)
        return found

    async def _reserve(self, merchant: str, key: DataKey, uses: int) -> DataKey:
        lock = self._reserving.setdefault(key.id, asyncio.Lock())
        try:
            async with lock:
                allowance = self._allowance(key.id)
                if allowance.left >= uses:
                    return key
                total = await records.reserve(
                    self._database,
                    merchant_uuid(merchant),
                    key.version,
                    count=max(limits.KEY_USES_BLOCK, uses),
                    limit=limits.KEY_USES_MAX,
                )
                if total is not None:
                    allowance.left += max(limits.KEY_USES_BLOCK, uses)
                if total is None or total > limits.KEY_USES_ROTATE:
                    return await self._replace(merchant, key, exhausted=total is None)
                if total > limits.KEY_USES_WARN:
                    _log.warning("dek %s v%d has %d uses", key.id, key.version, total)
                return key
        finally:
            self._reserving.pop(key.id, None)

    async def _replace(self, merchant: str, key: DataKey, *, exhausted: bool) -> DataKey:
        """Make the next version of a worn key; the worn one still opens what it sealed."""
        owner = merchant_uuid(merchant)
        try:
            await self._custody.make_merchant_key("dek", owner, key.version + 1)
        except StrongroomError:
            if exhausted:
                raise errors.key_exhausted(f"dek {key.id} v{key.version}") from None
            return key
        self._sealing.drop(merchant)
        return await self._sealing.get(merchant, lambda: self._load_sealing(merchant))


@lru_cache(maxsize=4096)
def merchant_uuid(merchant: str) -> UUID:
    """Return the column value for a merchant id."""
    return uuid_of(merchant, "mer")
