"""Readers: whose entries they show, proofs that hold offline, and how lag is told."""

from __future__ import annotations

import asyncio
import base64
import time

import msgspec
import pytest

from strongroom.journal import verify_proof
from strongroom.journal.tree import verify_consistency
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.journal.support import MERCHANT, House, TestSigner

OTHER = new_id("mer")


async def test_entries_are_listed_by_merchant_and_subject_oldest_first(house: House) -> None:
    ids = await house.write(3, subject="pay_1")
    more = await house.write(2, subject="pay_2")
    theirs = await house.write(1, subject="pay_1", merchant=OTHER)
    own = await house.write(1, merchant=None)
    listed = await house.journal.entries(MERCHANT, limit=50)
    assert sorted(e.id for e in listed) == sorted(ids + more)
    assert [e.id for e in listed] == sorted(e.id for e in listed)
    assert {e.id for e in await house.journal.entries(MERCHANT, subject="pay_2")} == set(more)
    assert [e.id for e in await house.journal.entries(OTHER)] == theirs
    assert [e.id for e in await house.journal.entries(None)] == own
    assert await house.journal.entries(MERCHANT, subject="pay_9") == []


async def test_pages_follow_each_other(house: House) -> None:
    await house.write(7)
    seen: list[str] = []
    while page := await house.journal.entries(MERCHANT, limit=3, after=seen[-1] if seen else None):
        assert len(page) <= 3
        seen += [e.id for e in page]
    assert len(set(seen)) == 7
    assert len(await house.journal.entries(MERCHANT, limit=10_000)) == 7
    assert len(await house.journal.entries(MERCHANT, limit=0)) == 1


async def test_entry_is_shown_to_its_merchant_only(house: House) -> None:
    [entry_id] = await house.write(1, subject="pay_7", note="hello")
    found = await house.journal.entry(MERCHANT, entry_id)
    assert (found.id, found.subject, found.facts["note"]) == (entry_id, "pay_7", "hello")
    for merchant in (OTHER, None):
        for read in (house.journal.entry, house.journal.proof):
            with pytest.raises(StrongroomError) as refusal:
                await read(merchant, entry_id)
            assert refusal.value.code == "entry_not_found"
    with pytest.raises(StrongroomError, match="invalid_id"):
        await house.journal.entry(MERCHANT, "pay_1")


async def test_every_entry_has_a_proof_that_holds_offline(house: House) -> None:
    ids = await house.fill(batches=3, size=100)
    for place in (0, 99, 100, 255, 256, 299):
        proof = await house.journal.proof(MERCHANT, ids[place])
        assert (proof.index, proof.size) == (place, 300)
        assert verify_proof(proof, public_key=house.key).id == ids[place]
    copied = msgspec.json.decode(msgspec.json.encode(proof))
    assert verify_proof({"object": "proof", **copied}, public_key=house.key).id == ids[-1]
    with pytest.raises(StrongroomError, match="proof_invalid"):
        verify_proof({**copied, "index": "first"}, public_key=house.key)


async def test_proof_counts_only_entries_that_were_committed(house: House) -> None:
    """Ordinals of a batch have gaps where Changes were rejected; indexes have none."""
    ids = await house.fill(batches=1, size=6)
    await house.tamper("UPDATE journal.entry SET n = n * 10 + 1000")
    for place, entry_id in enumerate(ids):
        proof = await house.journal.proof(MERCHANT, entry_id)
        assert proof.index == place
        verify_proof(proof, public_key=house.key)


async def test_changed_proofs_are_refused(house: House) -> None:
    ids = await house.fill(batches=2, size=10)
    proof = await house.journal.proof(MERCHANT, ids[3])
    flipped = base64.b64encode(bytes(32)).decode()
    changes = [
        {"entry": proof.entry.replace("1099", "1098")},
        {"index": 4},
        {"size": 19},
        {"hashes": proof.hashes[:-1]},
        {"hashes": [flipped, *proof.hashes[1:]]},
        {"hashes": ["&"]},
        {"checkpoint": proof.checkpoint.replace("\n20\n", "\n21\n")},
    ]
    for change in changes:
        with pytest.raises(StrongroomError) as refusal:
            verify_proof(msgspec.structs.replace(proof, **change), public_key=house.key)
        assert refusal.value.code in {"proof_invalid", "journal_note_invalid"}
    with pytest.raises(StrongroomError, match="not signed by any"):
        verify_proof(proof, public_key=TestSigner(seed=b"\x09" * 32).text)


async def test_proof_waits_for_the_sequencer(house: House) -> None:
    [entry_id] = await house.write(1)
    sequencer = house.sequencer()

    async def later() -> None:
        await asyncio.sleep(0.2)
        await sequencer.step()

    proof, _ = await asyncio.gather(house.journal.proof(MERCHANT, entry_id), later())
    assert proof.index == 0


async def test_proof_of_an_entry_that_stays_unsequenced_is_retryable(house: House) -> None:
    [entry_id] = await house.write(1)
    start = time.monotonic()
    with pytest.raises(StrongroomError) as refusal:
        await house.journal.proof(MERCHANT, entry_id)
    assert refusal.value.code == "not_yet_sequenced"
    assert refusal.value.retryable
    assert 1.4 < time.monotonic() - start < 4


async def test_consistency_between_any_two_sizes(house: House) -> None:
    for _ in range(3):
        await house.fill(batches=1, size=130)
    rows = await house.owner.fetch("SELECT size, root FROM journal.checkpoint ORDER BY size")
    sizes = [(row["size"], row["root"]) for row in rows]
    for old, old_root in sizes:
        for new, new_root in sizes:
            if old > new:
                continue
            proof = await house.journal.consistency(old, new)
            assert verify_consistency(old, new, old_root, new_root, proof)
    for old, new in ((5, 4), (0, 9_999), (-1, 3)):
        with pytest.raises(StrongroomError):
            await house.journal.consistency(old, new)


async def test_no_checkpoint_before_the_first_step(house: House) -> None:
    with pytest.raises(StrongroomError, match="no_checkpoint") as refusal:
        await house.journal.checkpoint()
    assert refusal.value.retryable


async def test_lag_is_the_age_of_the_oldest_waiting_batch(house: House) -> None:
    assert await house.journal.lag() == 0.0
    await house.write(1)
    await asyncio.sleep(0.3)
    await house.write(1)
    assert 0.25 < await house.journal.lag() < 5
    await house.sequencer().step()
    assert await house.journal.lag() == 0.0


async def test_missing_tile_is_told_and_not_guessed(house: House) -> None:
    ids = await house.fill(batches=1, size=300)
    await house.tamper("DELETE FROM journal.tile WHERE level = 0 AND tile_index = 1")
    with pytest.raises(StrongroomError) as refusal:
        await house.journal.proof(MERCHANT, ids[0])
    assert refusal.value.code == "journal_damaged"


async def test_probe_says_whether_an_entry_could_be_written_and_writes_none(house: House) -> None:
    await house.journal.probe()
    assert await house.owner.fetchval("SELECT count(*) FROM journal.entry") == 0
    start = time.monotonic()
    async with house.owner.transaction() as session:
        await session.execute("LOCK TABLE journal.entry")
        with pytest.raises(StrongroomError, match="storage_unavailable"):
            await house.journal.probe()
    assert time.monotonic() - start < 2
    await house.journal.probe()
