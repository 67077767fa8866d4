"""The verbs of subject keys: find or make, open, shred, and shred again what a restore revived.

A shredding has four steps: the key is destroyed with its cards (one transaction), the receipt is
signed and stored, its line is synced to the ledger's file, the caller is answered. Whatever cuts it
short, the next call or the next start does the rest. After the first step no card opens anywhere:
sealed cards of data subjects are read from the database for each use, never from memory.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from strongroom.journal import Entry, record
from strongroom.kernel import limits
from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms
from strongroom.kernel.ids import NIL_UUID, id_from, new_uuid7, uuid_of
from strongroom.kernel.ports import Signer
from strongroom.keys import errors
from strongroom.keys.cache import KeyCache
from strongroom.keys.custody import Custody
from strongroom.keys.envelope import named_key, world
from strongroom.keys.foundation import service_key
from strongroom.keys.material import Allowance, DataKey, JournalSigner, KeyedHash
from strongroom.keys.model import AEAD, MAC, SIGNATURE, Context
from strongroom.keys.naming import entry_of, name_of
from strongroom.keys.subjects import records
from strongroom.keys.subjects.ledger import ShredLedger
from strongroom.keys.subjects.model import Shredded, SubjectKey
from strongroom.keys.subjects.receipt import FORMAT, sealed, sign_receipt
from strongroom.keys.tables import SUBJECT
from strongroom.storage import Change

REFERENCE = "subject-reference"
SIGNING = "shred-signing"
_PREFIX = "sub"
_TRIES = 5
_PAGE = 500
_log = logging.getLogger("strongroom.keys")


class SubjectKeys:
    """All subject keys of one installation. `Keyring.subjects` is the one instance.

    Args:
        custody: makes and opens keys; its database, committer and clock are used.
        hasher: the keyed hash of references.
        signer: signs receipts and lines of the ledger.
    """

    @classmethod
    async def open(cls, custody: Custody) -> SubjectKeys:
        """Open the two keys of the installation that this needs; make what is missing."""
        found = await service_key(custody, REFERENCE, kek_purpose="index", algorithm=MAC)
        seed = await service_key(custody, SIGNING, kek_purpose="audit", algorithm=SIGNATURE)
        return cls(
            custody,
            hasher=KeyedHash(await custody.open(found), found.record.version, b"subject"),
            signer=JournalSigner(
                await custody.open(seed), f"strongroom.{custody.installation}/shred"
            ),
        )

    def __init__(
        self,
        custody: Custody,
        *,
        hasher: KeyedHash,
        signer: Signer,
    ) -> None:
        self._database = custody.database
        self._committer = custody.committer
        self._clock = clock = custody.clock
        self._custody = custody
        self._hasher = hasher
        self._signer = signer
        size, ttl_s = limits.SUBJECT_KEY_CACHE_SIZE, limits.SUBJECT_KEY_CACHE_TTL_S
        self._sealing: KeyCache[tuple[str, str], DataKey] = KeyCache(
            size=size, ttl_s=ttl_s, clock=clock
        )
        self._opening: KeyCache[tuple[str, str, int], DataKey] = KeyCache(
            size=size, ttl_s=ttl_s, clock=clock
        )

    @property
    def signer(self) -> Signer:
        """What signs receipts; its public key is what they are checked with."""
        return self._signer

    @property
    def caches(self) -> tuple[KeyCache[Any, Any], ...]:
        """The caches, for counters."""
        return (self._sealing, self._opening)

    def name(self, merchant: str, reference: bytes) -> str:
        """Return how a data subject is called inside: `sub_…`, a keyed hash of the reference."""
        digest = self._hasher(uuid_of(merchant, "mer").bytes + reference)
        return id_from(_PREFIX, UUID(bytes=digest[:16]))

    # --- keys ---

    async def data_key(self, merchant: str, subject: str, *, uses: int) -> DataKey:
        """Return the person's key for new records with at least `uses` seals set aside.

        Seal at once: an `await` in between may let another task spend them.

        Raises:
            StrongroomError: `data_subject_busy` when others keep changing the person's keys.
        """
        place = (merchant, subject)
        for _ in range(_TRIES):
            key = await self._sealing.get(place, lambda: self._load_sealing(place, uses))
            if key.left >= uses:
                return key
            self._sealing.drop(place)
        raise errors.data_subject_busy()

    async def key_of(self, merchant: str, subject: str, sealed_record: bytes) -> DataKey:
        """Return the one key that a sealed record of this person names.

        Raises:
            StrongroomError: `record_not_opened` when the record names no key of this person.
        """
        key_id, version = named_key(sealed_record)
        if not subject.startswith(f"{_PREFIX}_"):
            raise errors.record_not_opened()
        key = await self._opening.get(
            (merchant, subject, version), lambda: self._load_opening(merchant, subject, version)
        )
        if key.id != key_id:
            raise errors.record_not_opened()
        return key

    def drop(self, merchant: str, subject: str) -> None:
        """Forget a person's keys in this process."""
        self._sealing.drop((merchant, subject))
        self._opening.drop_where(lambda place: place[:2] == (merchant, subject))

    async def open_record(self, context: Context, sealed_record: bytes) -> bytes:
        """Return what was sealed for this person in this context.

        Raises:
            StrongroomError: `record_not_opened` when it was changed, moved or is foreign.
        """
        key = await self.key_of(context.merchant, context.subject, sealed_record)
        return key.open(context, sealed_record)

    def forget(self) -> None:
        """Forget every key."""
        self._sealing.clear()
        self._opening.clear()

    async def _load_sealing(self, place: tuple[str, str], uses: int) -> DataKey:
        merchant, subject = uuid_of(place[0], "mer"), uuid_of(place[1], _PREFIX)
        count = max(limits.SUBJECT_KEY_USES_BLOCK, uses)
        for _ in range(_TRIES):
            found = await records.take(
                self._database, merchant, subject, count=count, limit=limits.KEY_USES_MAX
            )
            if found is not None:
                return await self._data_key(place[0], found, Allowance(count))
            known = await records.versions(self._database, merchant, subject)
            await self._make(place[0], merchant, subject, known[-1].version + 1 if known else 1)
        raise errors.data_subject_busy()

    async def _make(self, name: str, merchant: UUID, subject: UUID, version: int) -> None:
        """Make a person's key; on return that version exists, ours or another process's."""
        owner = records.owner_of(merchant, subject)
        made = self._custody.new("subject", "data", AEAD, version, kek_purpose="data", owner=owner)
        change = Change()
        SUBJECT.add(change, made)
        entry = msgspec.structs.replace(entry_of("create", made), merchant=name)
        record(change, entry, at=made.record.created_at)
        await self._committer.submit(change)

    async def _load_opening(self, merchant: str, subject: str, version: int) -> DataKey:
        place = (uuid_of(merchant, "mer"), uuid_of(subject, _PREFIX))
        found = await records.version(self._database, *place, version)
        if found is None or found.destroyed:
            raise errors.record_not_opened()
        return await self._data_key(merchant, found, None)

    async def _data_key(
        self, merchant: str, found: SubjectKey, allowance: Allowance | None
    ) -> DataKey:
        clear = await self._custody.open(found.key)
        made = found.key.record
        bound = world(self._custody.mode, made.region, self._custody.installation, merchant)
        return DataKey(clear, made, bound, allowance=allowance)

    # --- shredding ---

    async def shred(
        self,
        merchant: str,
        subject: str,
        *,
        reason: str,
        actor: str,
        ledger: ShredLedger,
        request_id: str | None = None,
    ) -> Shredded:
        """Destroy a person's keys and cards and return the signed receipt.

        Whoever asks again gets the same receipt, until the person has a card again.

        Raises:
            StrongroomError: `data_subject_not_found`, `data_subject_busy`,
                `shred_ledger_unwritable` when all is gone but the receipt's line is not synced.
        """
        place = (uuid_of(merchant, "mer"), uuid_of(subject, _PREFIX))
        for _ in range(_TRIES):
            known = await records.versions(self._database, *place)
            if not known:
                raise errors.data_subject_not_found()
            alive = [found for found in known if not found.destroyed]
            if not alive:
                return await self._receipt(known[-1], ledger)
            for found in reversed(alive):
                await self._destroy(found, by=actor, reason=reason, request=request_id)
        raise errors.data_subject_busy()

    async def replay(self, ledger: ShredLedger) -> int:
        """Make the database and the ledger's file agree; return how many keys were shredded again.

        Every key in the file that lives again is destroyed; every shredding that the file does not
        know yet gets its receipt and its line.

        Raises:
            StrongroomError: `shred_ledger_damaged`, or `data_subject_busy` when others keep
                changing a revived key; nothing may be served then.
        """
        lines = await asyncio.to_thread(ledger.read, self._signer.public_key)
        again = 0
        for page in _pages(lines, _PAGE):
            again += await self._destroy_again(page)
            await self._put_back(page)
        while cut_short := await records.unreceipted(self._database, limit=_PAGE):
            for found in cut_short:
                await self._receipt(found, None)
        await self._complete(ledger, {told.receipt["id"] for told in lines})
        if again:
            _log.warning("%d keys of the shred ledger were alive and are destroyed again", again)
        return again

    async def _destroy_again(self, page: Sequence[Shredded]) -> int:
        """Destroy the keys of these receipts that live; returns only when none does any more."""
        named = {UUID(key): told.receipt for told in page for key in told.receipt["keys"]}
        revived: set[UUID] = set()
        for _ in range(_TRIES):
            alive = await records.living(self._database, list(named))
            if not alive:
                return len(revived)
            for found in alive:
                told = named[found.key.record.id]
                await self._destroy(
                    found, by=told["requested_by"], reason=told["reason"], request=told["request"]
                )
                revived.add(found.key.record.id)
        raise errors.data_subject_busy()

    async def _destroy(
        self, found: SubjectKey, *, by: str, reason: str, request: str | None
    ) -> None:
        """Destroy one key with its cards; someone else's faster change is looked at again."""
        merchant = id_from("mer", found.merchant)
        subject = id_from(_PREFIX, found.subject)
        gone = self._custody.changed(found.key, state="destroyed")
        change = Change()
        records.destroy(change, found, gone, by=by, reason=reason, request=request)
        entry = Entry(
            action="keys:subject:destroy",
            subject=subject,
            outcome="success",
            merchant=merchant,
            actor=by,
            reason=reason,
            facts={"key": name_of(found.key), "version": found.version},
            request=request,
        )
        record(change, entry, at=gone.state_at)
        await self._committer.submit(change)
        self.drop(merchant, subject)

    async def _receipt(self, last: SubjectKey, ledger: ShredLedger | None) -> Shredded:
        """Return the receipt up to a destroyed version: the stored one, or it is made now."""
        place = (last.merchant, last.subject)
        stored = await records.receipt_of(self._database, *place)
        mine = stored is None or stored[0] < last.version
        if mine:
            await self._make_receipt(last, 0 if stored is None else stored[0])
            stored = await records.receipt_of(self._database, *place)
        if stored is None:
            raise errors.data_subject_busy()
        receipt = msgspec.json.decode(stored[1])
        if ledger is not None:
            lines = [] if mine else await asyncio.to_thread(ledger.read, self._signer.public_key)
            if all(told.receipt["id"] != receipt["id"] for told in lines):
                await asyncio.to_thread(ledger.append, [(receipt, stored[2])], self._signer)
        return sealed(receipt, stored[2], self._signer)

    async def _make_receipt(self, last: SubjectKey, after: int) -> None:
        known = await records.versions(self._database, last.merchant, last.subject)
        gone = [found for found in known if after < found.version <= last.version]
        shred_id = new_uuid7()
        receipt = self._told(shred_id, gone)
        signature = sign_receipt(receipt, self._signer)
        change = Change()
        now = self._clock.now()
        records.add_receipt(change, last, shred_id, dumps(receipt), signature, now)
        entry = Entry(
            action="keys:subject:shred",
            subject=receipt["subject"],
            outcome="success",
            merchant=receipt["merchant"],
            actor=receipt["requested_by"],
            reason=receipt["reason"],
            facts={
                "receipt": receipt["id"],
                "receipt_sha256": sha256(dumps(receipt)).hexdigest(),
                "cards_removed": receipt["cards_removed"],
            },
            request=receipt["request"],
        )
        record(change, entry, at=now)
        await self._committer.submit(change)

    def _told(self, shred_id: UUID, gone: Sequence[SubjectKey]) -> dict[str, Any]:
        last = gone[-1]
        return {
            "format": FORMAT,
            "id": id_from("shr", shred_id),
            "installation": str(self._custody.installation),
            "mode": self._custody.mode,
            "merchant": id_from("mer", last.merchant),
            "subject": id_from(_PREFIX, last.subject),
            "keys": [str(found.key.record.id) for found in gone],
            "cards_removed": sum(found.cards_removed or 0 for found in gone),
            "destroyed_at": rfc3339_ms(last.key.state_at),
            "reason": last.destroyed_reason,
            "requested_by": last.destroyed_by,
            "request": last.destroyed_request,
        }

    async def _put_back(self, page: Sequence[Shredded]) -> None:
        """Store receipts of revived keys again, so that who asks twice gets the same one."""
        for told in page:
            receipt = told.receipt
            place = (uuid_of(receipt["merchant"], "mer"), uuid_of(receipt["subject"], _PREFIX))
            keys = set(receipt["keys"])
            known = await records.versions(self._database, *place)
            ended = [k for k in known if str(k.key.record.id) in keys and k.destroyed]
            if not ended:
                continue
            change = Change()
            shred_id = uuid_of(receipt["id"], "shr")
            signature = base64.b64decode(told.signature)
            records.add_receipt(
                change, ended[-1], shred_id, dumps(receipt), signature, self._clock.now()
            )
            await self._committer.submit(change)

    async def _complete(self, ledger: ShredLedger, written: set[str]) -> None:
        after = NIL_UUID
        while page := await records.receipts(self._database, after=after, limit=_PAGE):
            after = page[-1][0]
            missing = [
                (msgspec.json.decode(receipt), signature)
                for shred_id, receipt, signature in page
                if id_from("shr", shred_id) not in written
            ]
            if missing:
                await asyncio.to_thread(ledger.append, missing, self._signer)


def _pages(lines: Sequence[Shredded], size: int) -> Iterator[Sequence[Shredded]]:
    for start in range(0, len(lines), size):
        yield lines[start : start + size]
