"""The end of a key: compromised, good only to move what it sealed, or destroyed for good.

Both are written with the next manifest and as a revocation, so that no older row brings the key
back. A compromised key has its successor in the same Change.
"""

from __future__ import annotations

from uuid import UUID

from strongroom.journal import record
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.keys import errors, records
from strongroom.keys.custody import Custody
from strongroom.keys.decide import may_become, may_destroy
from strongroom.keys.model import AEAD, MAC, Draft, StoredKey
from strongroom.keys.naming import PREFIX, entry_of, name_of
from strongroom.keys.peppers import PURPOSE as PEPPER
from strongroom.keys.records import Snapshot
from strongroom.keys.rotation import steps
from strongroom.keys.rotation.model import Cards, Level
from strongroom.keys.tables import DEK, INDEX, KEK, SERVICE, VISIBLE, KeyTable
from strongroom.storage import Change, Verdict

_TABLES = {"kek": KEK, "dek": DEK, "index": INDEX, "visible": VISIBLE, "service": SERVICE}
_KIND = {PREFIX[kind]: kind for kind in _TABLES}
_LEVEL: dict[str, Level] = {"kek": "kek", "dek": "dek", "index": "index", "visible": "index"}


async def find(custody: Custody, name: str) -> StoredKey:
    """Return the key of an outside name such as `dek_01k…`.

    Raises:
        StrongroomError: `key_not_found`, `invalid_id`.
    """
    kind = _KIND.get(name.partition("_")[0])
    if kind is None:
        raise errors.key_not_found()
    found = await records.find(custody.database, _TABLES[kind], uuid_of(name, PREFIX[kind]))
    if found is None:
        raise errors.key_not_found()
    return found


async def compromise(custody: Custody, name: str, *, actor: str) -> tuple[Level, str | None]:
    """Mark a key as compromised, with its successor; return which rotation must follow now.

    Raises:
        StrongroomError: `key_not_found`, `key_state_not_possible`.
    """
    key = await find(custody, name)
    kind = key.record.kind
    if kind not in _LEVEL:
        raise errors.key_state("keys of the service itself are not replaced by this release")
    _require_markable(key)
    if kind == "kek":
        await _compromise_kek(custody, key, actor)
        return "kek", None
    merchant = UUID(key.record.owner)
    if kind in ("index", "visible"):
        await _compromise_visible(custody, key, merchant, actor)
    if kind != "visible":
        await _compromise_merchant_key(custody, _TABLES[kind], key, actor)
    return _LEVEL[kind], id_from("mer", merchant)


async def destroy(custody: Custody, cards: Cards, name: str, *, actor: str) -> StoredKey:
    """Destroy a key that nothing refers to any more: its bytes leave the database.

    Raises:
        StrongroomError: `key_not_found`, `key_state_not_possible` with what stands in the way.
    """
    key = await find(custody, name)
    table = _TABLES[key.record.kind]
    gone: list[StoredKey] = []

    async def build(_: Snapshot, change: Change) -> Draft:
        now = await records.find(custody.database, table, key.record.id) or key
        await _require_unused(custody, cards, now)
        ended = custody.changed(now, state="destroyed")
        custody.put(change, ended)
        record(change, entry_of("destroy", ended, actor=actor), at=ended.state_at)
        gone[:] = [ended]
        return _draft(ended, "destroyed")

    await custody.submit(build)
    return gone[0]


async def require_destroyable(custody: Custody, cards: Cards, name: str) -> None:
    """Refuse to destroy a key that something still needs, before anyone is asked to approve."""
    await _require_unused(custody, cards, await find(custody, name))


async def _require_unused(custody: Custody, cards: Cards, key: StoredKey) -> None:
    references = await count_references(custody, cards, key)
    now = custody.clock.now()
    why = may_destroy(key.state, since=key.state_at, references=references, now=now)
    if why is not None:
        raise errors.key_state(why)


async def count_references(custody: Custody, cards: Cards, key: StoredKey) -> int:
    """Return how many rows still need a key: keys that it wraps, cards, or hashes of API keys."""
    made = key.record
    if made.kind == "kek":
        return await records.count_under(custody.database, made.id)
    if made.kind in ("dek", "index"):
        merchant = id_from("mer", UUID(made.owner))
        return (await cards.versions(made.kind, merchant)).get(made.version, 0)
    if made.purpose == PEPPER:
        return await records.hashes_under_pepper(custody.database, made.version)
    return 0


async def _compromise_kek(custody: Custody, key: StoredKey, actor: str) -> None:
    if key.state == "active":
        await steps.replace_kek(custody, key.record.id, actor=actor)

    async def build(found: Snapshot, change: Change) -> Draft:
        now = next(k for k in found.keys if k.record.id == key.record.id)
        return _mark(custody, change, now, actor)

    await custody.submit(build)


async def _compromise_merchant_key(
    custody: Custody, table: KeyTable, key: StoredKey, actor: str
) -> None:
    merchant = UUID(key.record.owner)

    async def build(_: Snapshot, change: Change) -> Draft:
        versions = await records.merchant_versions(custody.database, table, merchant)
        now = next(k for k in versions if k.record.id == key.record.id)
        draft = _mark(custody, change, now, actor)
        if now.record.id == versions[0].record.id:
            _add_next(custody, change, table, versions[0], actor)
        return draft

    await custody.submit(build)


async def _compromise_visible(custody: Custody, key: StoredKey, merchant: UUID, actor: str) -> None:
    """Replace the key of what leaves the vault where the first index key's bytes serve as it."""
    shown = await records.newest(custody.database, VISIBLE, merchant)
    if key.record.kind == "index" and key.record.version > 1:
        return
    if shown is None:
        change = Change()
        _add_next(custody, change, VISIBLE, key, actor, version=1)
        if await custody.committer.submit(change) is Verdict.COMMITTED:
            return
        # A rotation was faster and kept this key's bytes.
        shown = await records.newest(custody.database, VISIBLE, merchant)
    if shown is not None and shown.state == "active":
        await _compromise_merchant_key(custody, VISIBLE, shown, actor)


def _add_next(
    custody: Custody,
    change: Change,
    table: KeyTable,
    newest: StoredKey,
    actor: str,
    *,
    version: int | None = None,
) -> None:
    purpose, algorithm = ("data", AEAD) if table is DEK else ("index", MAC)
    key = custody.new(
        table.kind,
        purpose,
        algorithm,
        version or newest.record.version + 1,
        kek_purpose=purpose,
        owner=newest.record.owner,
    )
    table.add(change, key)
    record(change, entry_of("create", key, actor=actor), at=key.record.created_at)


def _mark(custody: Custody, change: Change, key: StoredKey, actor: str) -> Draft:
    _require_markable(key)
    marked = custody.changed(key, state="compromised")
    custody.put(change, marked)
    record(change, entry_of("compromise", marked, actor=actor), at=marked.state_at)
    return _draft(marked, "compromised")


def _require_markable(key: StoredKey) -> None:
    if not may_become(key.state, "compromised"):
        raise errors.key_state(f"{name_of(key)} is {key.state}")


def _draft(key: StoredKey, state: str) -> Draft:
    """Return what the manifest must know: the installation's own keys, and every revocation."""
    own = key.record.kind in ("kek", "service")
    return Draft([key] if own else [], [(key.record.id, state)])
