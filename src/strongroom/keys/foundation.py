"""The first start: the record-signing key, the first manifest, the KEKs of every purpose.

A store from before records were signed is adopted once; a store that was signed already and lost
its signing key or its manifest is refused.
"""

from __future__ import annotations

from strongroom.journal import record
from strongroom.keys import errors, records
from strongroom.keys.custody import Custody
from strongroom.keys.envelope import check_value, fresh_key
from strongroom.keys.model import SIGNATURE, Draft, StoredKey
from strongroom.keys.naming import entry_of
from strongroom.keys.records import Snapshot
from strongroom.keys.tables import KEK, UNDER_KEKS
from strongroom.storage import Change

PURPOSES = ("data", "index", "token", "audit")
RECORDS = "records"
_EVERYWHERE = "all"
_PAGE = 500


async def prepare(custody: Custody) -> None:
    """Verify and open every key-encryption key; make the ones that are missing."""
    found = await records.snapshot(custody.database)
    if _signing_key(found) is None:
        await _make_signing_key(custody, found)
        found = await records.snapshot(custody.database)
    key = _signing_key(found)
    if key is None:
        raise errors.key_record_forged("the record-signing key is missing")
    custody.sign_with(await custody.from_root(key))
    if found.manifest is None:
        await _adopt(custody, found, key)
        found = await records.snapshot(custody.database)
    await custody.accept(found)
    for purpose in PURPOSES:
        if not custody.has_active_kek(purpose):
            await _make_kek(custody, purpose)
    await custody.refresh()


async def _make_signing_key(custody: Custody, found: Snapshot) -> None:
    if found.manifest is not None or any(key.signature for key in found.keys):
        raise errors.key_record_forged("the record-signing key is missing")
    custody.check_anchor(0)
    seed = fresh_key()
    made = custody.record(
        "record", RECORDS, SIGNATURE, 1, parent=custody.root.id, region=_EVERYWHERE
    )
    wrapped = await custody.root.wrap(seed, aad=custody.aad(made))
    custody.sign_with(seed)
    key = custody.signed_active(made, wrapped, check_value(seed, made))
    change = Change()
    KEK.add(change, key)
    record(change, entry_of("create", key), at=made.created_at)
    await custody.committer.submit(change)


async def _adopt(custody: Custody, found: Snapshot, signing: StoredKey) -> None:
    """Sign the keys of a store from before records were signed, then the first manifest.

    The signing key's second revision says that this was done: from then on a missing manifest was
    taken away.
    """
    custody.check_anchor(0)
    if found.revocations or signing.revision > 1:
        raise errors.key_record_forged("the manifest is missing")
    for table in (KEK, *UNDER_KEKS.values()):
        while page := await records.unsigned(custody.database, table, limit=_PAGE):
            signed = [custody.signer.signed(key) for key in page]
            await records.sign(custody.database, table, signed)
    found = await records.snapshot(custody.database)
    at = custody.clock.now()
    adopted = custody.changed(signing, state="active")
    keys = [adopted if key.record.kind == "record" else key for key in found.keys]
    change = Change()
    custody.put(change, adopted)
    records.write_manifest(change, custody.signer.manifest(1, keys, (), at=at))
    await custody.committer.submit(change)


async def _make_kek(custody: Custody, purpose: str) -> None:
    async def build(found: Snapshot, change: Change) -> Draft | None:
        if any(_is_for(key, purpose, custody.region) for key in found.keys):
            return None
        key = await custody.make_kek(purpose, 1)
        KEK.add(change, key)
        record(change, entry_of("create", key), at=key.record.created_at)
        return Draft([key])

    await custody.submit(build)


def _is_for(key: StoredKey, purpose: str, region: str) -> bool:
    return (key.record.purpose, key.record.region, key.state) == (purpose, region, "active")


def _signing_key(found: Snapshot) -> StoredKey | None:
    return next((key for key in found.keys if key.record.kind == "record"), None)


async def service_key(
    custody: Custody, purpose: str, *, kek_purpose: str, algorithm: str
) -> StoredKey:
    """Return the newest key of the installation for a purpose; make it if there is none."""
    found = await records.newest_service_key(custody.database, purpose)
    if found is None:
        await custody.make_service_key(purpose, kek_purpose=kek_purpose, algorithm=algorithm)
        found = await records.newest_service_key(custody.database, purpose)
    if found is None:
        raise errors.key_not_usable(f"no key for {purpose}")
    return found
