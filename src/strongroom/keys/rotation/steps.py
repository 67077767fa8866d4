"""What a rotation does at each level, in steps that may be repeated after a crash.

Each step looks at what is there and does what is missing, so none has to know where the last
process died.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from strongroom.journal import record
from strongroom.kernel.ids import NIL_UUID
from strongroom.keys import records
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_open
from strongroom.keys.model import MAC, Draft, StoredKey
from strongroom.keys.naming import entry_of
from strongroom.keys.records import Snapshot
from strongroom.keys.tables import INDEX, KEK, UNDER_KEKS, VISIBLE, KeyTable
from strongroom.storage import Change

PAGE = 500


async def rewrap_under_root(custody: Custody, actor: str) -> int:
    """Wrap every key that a former root still wraps under the root; return how many."""
    moved = 0
    while key := _under_former(custody, await records.snapshot(custody.database)):
        key_id = key.record.id

        async def build(found: Snapshot, change: Change, key_id: UUID = key_id) -> Draft | None:
            now = next(k for k in found.keys if k.record.id == key_id)
            if now.record.parent == custody.root.id or now.state == "destroyed":
                return None
            moved_key = await custody.rewrapped(now)
            custody.put(change, moved_key)
            record(change, entry_of("rewrap", moved_key, actor=actor), at=custody.clock.now())
            return Draft([moved_key])

        moved += await custody.submit(build)
    return moved


async def count_under_former(custody: Custody) -> int:
    """Return how many keys a former root still wraps."""
    found = await records.snapshot(custody.database)
    return sum(_is_under_former(custody, key) for key in found.keys)


async def renew_keks(custody: Custody, *, before: datetime, actor: str) -> int:
    """Replace the active key-encryption keys made before a time; return how many."""
    found = await records.snapshot(custody.database)
    old = [key for key in _own_keks(custody, found) if key.state == "active"]
    due = [key.record.id for key in old if key.record.created_at < before]
    return sum([await replace_kek(custody, key_id, actor=actor) for key_id in due])


async def replace_kek(custody: Custody, key_id: UUID, *, actor: str) -> bool:
    """Make the next version of a key-encryption key; the old one opens on."""

    async def build(found: Snapshot, change: Change) -> Draft | None:
        old = next(k for k in found.keys if k.record.id == key_id)
        if old.state != "active":
            return None
        new = await custody.make_kek(old.record.purpose, _next_version(found, old))
        closed = custody.changed(old, state="decrypt_only")
        KEK.add(change, new)
        custody.put(change, closed)
        record(change, entry_of("create", new, actor=actor), at=new.record.created_at)
        record(change, entry_of("replace", closed, actor=actor), at=new.record.created_at)
        return Draft([new, closed])

    return await custody.submit(build)


async def old_keks(custody: Custody) -> list[StoredKey]:
    """Return the replaced key-encryption keys that may still wrap others."""
    found = await records.snapshot(custody.database)
    return [
        key
        for key in _own_keks(custody, found)
        if key.state != "active" and may_open(key.state, rotating=True)
    ]


async def rewrap_page(custody: Custody, kek: UUID) -> int:
    """Wrap a page of what an old key-encryption key wraps under its successor; return how many."""
    moved = 0
    for table in UNDER_KEKS.values():
        moved += await _rewrap_table(custody, table, kek)
    return moved


async def _rewrap_table(custody: Custody, table: KeyTable, kek: UUID) -> int:
    page = await records.under(custody.database, table, kek, after=NIL_UUID, limit=PAGE)
    if not page:
        return 0
    if table.kind != "service":
        moved = [await custody.rewrapped(key) for key in page]
        return await records.rewrap(custody.database, table, moved)
    return sum([await _rewrap_service(custody, key.record.id) for key in page])


async def _rewrap_service(custody: Custody, key_id: UUID) -> bool:
    """Wrap a key that the manifest speaks of anew."""

    async def build(found: Snapshot, change: Change) -> Draft | None:
        key = await custody.rewrapped(next(k for k in found.keys if k.record.id == key_id))
        custody.put(change, key)
        return Draft([key])

    return await custody.submit(build)


async def renew_merchant_key(
    custody: Custody, table: KeyTable, merchant: UUID, *, before: datetime
) -> bool:
    """Make the next version of a merchant's key if the newest was made before a time."""
    newest = await records.newest(custody.database, table, merchant)
    if newest is None or (newest.state == "active" and newest.record.created_at >= before):
        return False
    if table is INDEX:
        await keep_visible(custody, merchant)
    await custody.make_merchant_key(table.kind, merchant, newest.record.version + 1)
    return True


async def keep_visible(custody: Custody, merchant: UUID) -> None:
    """Keep the first index key's bytes as the key of what leaves the vault, if none is kept yet."""
    first = await records.merchant_versions(custody.database, INDEX, merchant)
    if not first or await records.newest(custody.database, VISIBLE, merchant) is not None:
        return
    key = await custody.open(first[-1], rotating=True)
    kept = custody.new(
        "visible", "index", MAC, 1, kek_purpose="index", owner=str(merchant), key=key
    )
    change = Change()
    VISIBLE.add(change, kept)
    record(change, entry_of("create", kept), at=kept.record.created_at)
    await custody.committer.submit(change)


def _own_keks(custody: Custody, found: Snapshot) -> list[StoredKey]:
    return [k for k in found.keys if k.record.kind == "kek" and k.record.region == custody.region]


def _next_version(found: Snapshot, old: StoredKey) -> int:
    made = old.record
    same = [
        k.record.version
        for k in found.keys
        if k.record.kind == "kek"
        and (k.record.purpose, k.record.region) == (made.purpose, made.region)
    ]
    return max(same) + 1


def _is_under_former(custody: Custody, key: StoredKey) -> bool:
    made = key.record
    return (
        made.kind in ("kek", "record")
        and made.parent != custody.root.id
        and key.state != "destroyed"
    )


def _under_former(custody: Custody, found: Snapshot) -> StoredKey | None:
    return next((key for key in found.keys if _is_under_former(custody, key)), None)
