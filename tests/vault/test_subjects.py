"""Cards of data subjects: sealed under the person's own key, and gone for good with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import Context, ShredLedger
from strongroom.keys.rotation import Rotation
from strongroom.keys.subjects import records, verify_receipt
from strongroom.vault import CardInput, CardVault, EgressPolicy
from strongroom.vault.rotation import CardRotation
from strongroom.vault.tokens import merchant_uuid
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy
from tests.vault.conftest import a_card

ANNA, BEN = Secret("customer-anna"), Secret("ben@shop.example")


def card_of(person: Secret[str], *args: Any) -> CardInput:
    return msgspec.structs.replace(a_card(*args), data_subject=person)


async def stored(vault: CardVault, merchant: str, person: Secret[str], *args: Any) -> str:
    card = card_of(person, *args)
    return (await vault.tokenize(merchant, card, saved=True, actor="key_1")).token


async def shown(vault: CardVault, merchant: str, token: str) -> str:
    pan = await vault.reveal(
        merchant, token, principal=Operator(), purpose="dispute_evidence", authorize=Policy()
    )
    return str(pan.reveal())


async def erased(vault: CardVault, merchant: str, person: Secret[str]) -> Any:
    return await vault.erase_subject(merchant, person, reason="art. 17", actor="key_1")


@pytest.fixture
def ledger(tmp_path: Path) -> ShredLedger:
    return ShredLedger(tmp_path / "shred.ledger")


@pytest.fixture
async def vault(installed: House, ledger: ShredLedger) -> Any:
    made = await another(installed, ledger)
    yield made
    await made.close()


async def another(installed: House, ledger: ShredLedger) -> CardVault:
    """A second process: its own keyring, caches and committer's queue, the same database."""
    return CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(),
        ledger=ledger,
        clock=installed.clock,
    )


def key_of(vault: CardVault) -> str:
    return vault._keyring.subjects.signer.public_key.hex()


async def test_a_persons_cards_are_under_a_key_of_their_own(
    installed: House, vault: CardVault
) -> None:
    merchant = new_merchant()
    first, second = [await stored(vault, merchant, ANNA) for _ in range(2)]
    other = await stored(vault, merchant, BEN)
    plain = (await vault.tokenize(merchant, a_card(), saved=True, actor="key_1")).token
    for token in (first, second, other, plain):
        assert await shown(vault, merchant, token) == "4242424242424242"
        assert (await vault.describe(merchant, token)).last4 == "4242"
    keys = await installed.sql("SELECT substr(sealed_card, 5, 16) AS key FROM vault.card")
    assert len({row["key"] for row in keys}) == 3
    people = await installed.sql("SELECT subject, reserved FROM keys.subject_key")
    assert len({row["subject"] for row in people}) == 2
    assert {row["reserved"] for row in people} == {64}


async def test_the_reference_stands_nowhere(installed: House, vault: CardVault) -> None:
    merchant = new_merchant()
    await stored(vault, merchant, ANNA)
    await erased(vault, merchant, ANNA)
    for table in ("vault.card", "keys.subject_key", "keys.shred", "journal.entry"):
        rows = await installed.sql(f"SELECT t::text AS row FROM {table} t")
        text = "".join(row["row"] for row in rows) + vault._ledger.path.read_text()
        assert "anna" not in text and b"anna".hex() not in text


async def test_two_merchants_do_not_share_a_person(installed: House, vault: CardVault) -> None:
    one, two = new_merchant(), new_merchant()
    await stored(vault, one, ANNA)
    kept = await stored(vault, two, ANNA)
    await erased(vault, one, ANNA)
    assert await shown(vault, two, kept) == "4242424242424242"


async def test_a_batch_may_hold_many_people(installed: House, vault: CardVault) -> None:
    merchant = new_merchant()
    cards = [card_of(ANNA), a_card(), card_of(BEN, "378282246310005"), card_of(ANNA)]
    views = await vault.tokenize_batch(merchant, cards, saved=True, actor="key_1")
    assert [view.last4 for view in views] == ["4242", "4242", "0005", "4242"]
    receipt = await erased(vault, merchant, ANNA)
    assert receipt.receipt["cards_removed"] == 2
    for view in (views[1], views[2]):
        assert (await vault.describe(merchant, view.token)).last4 == view.last4


@pytest.mark.parametrize("reference", ["", "a" * 101, "a b", "anna\n", "änna", "a\0b"])
async def test_other_references_are_refused(vault: CardVault, reference: str) -> None:
    with pytest.raises(StrongroomError) as refused:
        await stored(vault, new_merchant(), Secret(reference))
    assert refused.value.code == "invalid_data_subject"
    assert reference == "" or reference not in str(refused.value)


# --- shredding ---


async def test_shredding_removes_key_and_cards_and_proves_it(
    installed: House, vault: CardVault, ledger: ShredLedger
) -> None:
    merchant = new_merchant()
    tokens = [await stored(vault, merchant, ANNA) for _ in range(3)]
    assert set(await vault.subject_tokens(merchant, ANNA)) == set(tokens)
    told = await erased(vault, merchant, ANNA)
    for token in tokens:
        with pytest.raises(StrongroomError, match="token_not_found"):
            await vault.describe(merchant, token)
        with pytest.raises(StrongroomError, match="token_not_found"):
            await shown(vault, merchant, token)
    rows = await installed.sql("SELECT * FROM vault.card")
    assert all(row["sealed_card"] is row["fingerprint"] is row["subject"] is None for row in rows)
    (key,) = await installed.sql("SELECT * FROM keys.subject_key")
    assert (key["state"], key["wrapped"], key["cards_removed"]) == ("destroyed", None, 3)
    data = msgspec.json.encode(told)
    receipt = verify_receipt(data, key=key_of(vault))
    assert receipt["cards_removed"] == 3
    assert receipt["keys"] == [str(key["id"])]
    assert (receipt["mode"], receipt["installation"]) == ("test", str(installed.installation))
    assert (receipt["reason"], receipt["requested_by"]) == ("art. 17", "key_1")
    assert await vault.subject_tokens(merchant, ANNA) == []
    (entry,) = await installed.entries("keys:subject:shred")
    assert json.loads(entry["body"])["facts"]["receipt"] == receipt["id"]
    assert [line.receipt for line in ledger.read(bytes.fromhex(key_of(vault)))] == [receipt]


async def test_asking_twice_gives_the_same_receipt(
    installed: House, vault: CardVault, ledger: ShredLedger
) -> None:
    merchant = new_merchant()
    await stored(vault, merchant, ANNA)
    first = await erased(vault, merchant, ANNA)
    other = await another(installed, ledger)
    assert await erased(other, merchant, ANNA) == first
    assert len(ledger.path.read_text().splitlines()) == 1
    with pytest.raises(StrongroomError, match="data_subject_not_found"):
        await erased(vault, merchant, BEN)


async def test_a_person_who_comes_back_gets_a_new_key(vault: CardVault) -> None:
    merchant = new_merchant()
    await stored(vault, merchant, ANNA)
    first = await erased(vault, merchant, ANNA)
    again = await stored(vault, merchant, ANNA)
    assert await shown(vault, merchant, again) == "4242424242424242"
    second = await erased(vault, merchant, ANNA)
    assert set(first.receipt["keys"]).isdisjoint(second.receipt["keys"])
    assert first.receipt["subject"] == second.receipt["subject"]


@pytest.mark.parametrize("step", ["_make_receipt", "_receipt"])
async def test_a_shredding_cut_short_is_finished_by_the_next_start(
    installed: House, ledger: ShredLedger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The process dies after the key is destroyed: before its receipt, or before its line."""
    merchant = new_merchant()
    vault = await another(installed, ledger)
    token = await stored(vault, merchant, ANNA)
    if step == "_make_receipt":
        monkeypatch.setattr(vault._keyring.subjects, step, _dies)
    else:
        monkeypatch.setattr(ShredLedger, "append", _dies)
    with pytest.raises(OSError, match="killed"):
        await erased(vault, merchant, ANNA)
    monkeypatch.undo()
    assert not ledger.path.exists()
    started = await another(installed, ledger)
    assert await started.replay_shreds() == 0
    with pytest.raises(StrongroomError, match="token_not_found"):
        await shown(started, merchant, token)
    (line,) = ledger.read(bytes.fromhex(key_of(started)))
    assert (await erased(started, merchant, ANNA)).receipt == line.receipt
    assert line.receipt["reason"] == "art. 17"
    assert await started.replay_shreds() == 0
    assert len(ledger.path.read_text().splitlines()) == 1


async def test_a_replay_overtaken_by_a_rotation_shreds_all_the_same(
    installed: House, ledger: ShredLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revived key is wrapped anew by another process after it was looked at."""
    merchant = new_merchant()
    vault = await another(installed, ledger)
    token = await stored(vault, merchant, ANNA)
    backup = {
        table: await installed.sql(f"SELECT t::text AS row FROM {table} t")
        for table in ("keys.subject_key", "vault.card")
    }
    await erased(vault, merchant, ANNA)
    for table, rows in backup.items():
        await installed.sql(f"DELETE FROM {table}")
        for row in rows:
            await installed.sql(f"INSERT INTO {table} SELECT ($1::text::{table}).*", row["row"])
    living, keyring = records.living, await installed.keyring()

    async def overtaken(*args: Any) -> Any:
        monkeypatch.undo()
        found = await living(*args)
        await installed.rotated(keyring, "kek")
        return found

    monkeypatch.setattr(records, "living", overtaken)
    started = await another(installed, ledger)
    assert await started.replay_shreds() == 1
    with pytest.raises(StrongroomError, match="token_not_found"):
        await shown(started, merchant, token)


def _dies(*_: object) -> None:
    raise OSError("killed")


async def test_a_changed_receipt_is_refused(vault: CardVault) -> None:
    merchant = new_merchant()
    await stored(vault, merchant, ANNA)
    told = msgspec.to_builtins(await erased(vault, merchant, ANNA))
    good = json.dumps(told).encode()
    assert verify_receipt(good, key=key_of(vault))
    for name in ("cards_removed", "subject", "reason", "destroyed_at", "keys"):
        forged = {**told, "receipt": {**told["receipt"], name: 7}}
        with pytest.raises(StrongroomError, match="shred_receipt_invalid"):
            verify_receipt(json.dumps(forged).encode(), key=key_of(vault))
    with pytest.raises(StrongroomError, match="shred_receipt_invalid"):
        verify_receipt(good, key="ab" * 32)
    for key in ("", "xyz", "name+id", "ab", "a+b+YWJj"):
        with pytest.raises(StrongroomError, match="shred_key_invalid"):
            verify_receipt(good, key=key)


# --- attacks ---


async def test_ciphertext_moved_to_another_place_does_not_open(
    installed: House, vault: CardVault
) -> None:
    one, two = new_merchant(), new_merchant()
    mine, other = await stored(vault, one, ANNA), await stored(vault, one, BEN)
    await stored(vault, two, ANNA)
    kept = await installed.sql("SELECT * FROM vault.card")
    first = next(row for row in kept if row["id"] == _uuid(mine))
    for target in kept:
        if target["id"] == first["id"]:
            continue
        await installed.sql(
            "UPDATE vault.card SET sealed_card = $1, key_version = $2 WHERE id = $3",
            first["sealed_card"], first["key_version"], target["id"],
        )  # fmt: skip
    with pytest.raises(StrongroomError, match="record_not_opened"):
        await shown(vault, one, other)
    await installed.sql(  # the person's column is moved along with the ciphertext
        "UPDATE vault.card SET subject = $1 WHERE id = $2", first["subject"], _uuid(other)
    )
    with pytest.raises(StrongroomError, match="record_not_opened"):
        await shown(vault, one, other)
    await installed.sql(  # another field of the same card
        "UPDATE vault.card SET sealed_card = sealed_display WHERE id = $1", _uuid(mine)
    )
    with pytest.raises(StrongroomError, match="record_not_opened"):
        await shown(vault, one, mine)


async def test_a_persons_record_does_not_open_under_another_persons_name(vault: CardVault) -> None:
    """The name is in the additional data: even the right key refuses it."""
    merchant = new_merchant()
    subjects = vault._keyring.subjects
    anna = subjects.name(merchant, b"anna")
    key = await subjects.data_key(merchant, anna, uses=2)
    sealed = key.seal(Context(merchant, "tok_x", "card", anna), b"x")
    assert key.open(Context(merchant, "tok_x", "card", anna), sealed) == b"x"
    for subject in ("", subjects.name(merchant, b"ben")):
        with pytest.raises(StrongroomError, match="record_not_opened"):
            key.open(Context(merchant, "tok_x", "card", subject), sealed)


async def test_a_swapped_key_row_is_refused(installed: House, ledger: ShredLedger) -> None:
    merchant = new_merchant()
    vault = await another(installed, ledger)
    token = await stored(vault, merchant, ANNA)
    await stored(vault, merchant, BEN)
    await installed.sql(
        "UPDATE keys.subject_key a SET wrapped = b.wrapped, kcv = b.kcv FROM keys.subject_key b "
        "WHERE a.id <> b.id"
    )
    fresh = await another(installed, ledger)
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await shown(fresh, merchant, token)


async def test_a_destroyed_key_is_never_revived(installed: House, vault: CardVault) -> None:
    merchant = new_merchant()
    await stored(vault, merchant, ANNA)
    (before,) = await installed.sql("SELECT wrapped FROM keys.subject_key")
    await erased(vault, merchant, ANNA)
    owner = await installed.as_role("strongroom_owner")
    for change in (
        "UPDATE keys.subject_key SET state = 'active', wrapped = '\\x" + before["wrapped"].hex()
        + "', destroyed_by = NULL, destroyed_reason = NULL, cards_removed = NULL, revision = 3",
        "UPDATE keys.subject_key SET revision = revision + 1",
        "DELETE FROM keys.subject_key",
    ):  # fmt: skip
        with pytest.raises(Exception, match="never changes again"):
            await owner.execute(change)
    await owner.close()


async def test_no_card_survives_a_race(installed: House, ledger: ShredLedger) -> None:
    """Two processes store cards of one person while a third erases it, again and again."""
    merchant = new_merchant()
    writers = [await another(installed, ledger) for _ in range(2)]
    eraser = await another(installed, ledger)
    made: list[str] = []

    async def write(vault: CardVault) -> None:
        for _ in range(25):
            made.append(await stored(vault, merchant, ANNA))

    async def erase() -> None:
        for _ in range(6):
            await asyncio.sleep(0.01)
            with contextlib.suppress(StrongroomError):  # nobody there yet
                await erased(eraser, merchant, ANNA)

    await asyncio.gather(*map(write, writers), erase())
    assert len(made) == 50
    orphans = await installed.sql(
        "SELECT c.id FROM vault.card c JOIN keys.subject_key k ON k.subject = c.subject "
        "AND k.version = c.key_version WHERE k.state = 'destroyed'"
    )
    assert orphans == []
    (versions,) = await installed.sql("SELECT count(*) AS n FROM keys.subject_key")
    assert versions["n"] > 1, "the race never happened"
    await erased(eraser, merchant, ANNA)
    (left,) = await installed.sql("SELECT count(*) AS n FROM vault.card WHERE ended_at IS NULL")
    assert left["n"] == 0
    for vault in (*writers, eraser):
        for token in made[::10]:
            with pytest.raises(StrongroomError, match="token_not_found"):
                await shown(vault, merchant, token)


async def test_another_process_opens_nothing_after_the_answer(
    installed: House, ledger: ShredLedger
) -> None:
    """It holds the key in its cache and has just described the token; both help it nothing."""
    merchant = new_merchant()
    first, second = await another(installed, ledger), await another(installed, ledger)
    token = await stored(first, merchant, ANNA)
    await second.describe(merchant, token)
    assert await shown(second, merchant, token) == "4242424242424242"
    await erased(first, merchant, ANNA)
    with pytest.raises(StrongroomError, match="token_not_found"):
        await second._card(merchant, token)
    with pytest.raises(StrongroomError, match="token_not_found"):
        await shown(second, merchant, token)


@pytest.mark.parametrize("level", ["dek", "index"])
async def test_rotation_of_the_merchants_keys_leaves_people_under_their_own(
    installed: House, vault: CardVault, level: str
) -> None:
    merchant = new_merchant()
    plain = (await vault.tokenize(merchant, a_card(), saved=True, actor="key_1")).token
    anna, ben = await stored(vault, merchant, ANNA), await stored(vault, merchant, BEN)
    gone = Secret("gone")
    await stored(vault, merchant, gone)
    keyring = vault._keyring
    await keyring.custody.make_merchant_key(level, merchant_uuid(merchant), 2)
    keyring.forget_merchant(merchant)
    rotation = CardRotation(installed.database, keyring)
    told: list[tuple[int, int]] = []

    async def report(last: Any, moved: int, failed: int) -> bool:
        if not told:
            await erased(await another(installed, vault._ledger), merchant, gone)
        told.append((moved, failed))
        return True

    assert await rotation.count(level, merchant) == (1 if level == "dek" else 4)
    assert await rotation.move(level, merchant, report=report)
    assert sum(moved for moved, _ in told) == (1 if level == "dek" else 3)
    assert await rotation.count(level, merchant) == 0
    for token in (plain, anna, ben):
        assert await shown(vault, merchant, token) == "4242424242424242"
    rows = await installed.sql(
        "SELECT subject, key_version, index_version FROM vault.card WHERE ended_at IS NULL"
    )
    assert len(rows) == 3
    for row in rows:
        assert row["key_version"] == (2 if level == "dek" and row["subject"] is None else 1)
        assert row["index_version"] == (2 if level == "index" else 1)


async def test_a_new_kek_wraps_peoples_keys_too(installed: House, vault: CardVault) -> None:
    """The rotation of key-encryption keys reads the tables under them from one list."""
    merchant = new_merchant()
    token = await stored(vault, merchant, ANNA)
    (before,) = await installed.sql("SELECT kek_id, wrapped FROM keys.subject_key")
    rotation = Rotation(
        vault._keyring, CardRotation(installed.database, vault._keyring), settle_s=0
    )
    installed.clock.move(1)
    await rotation.start("kek")
    await rotation.work()
    (after,) = await installed.sql("SELECT kek_id, wrapped FROM keys.subject_key")
    assert after["kek_id"] != before["kek_id"] and after["wrapped"] != before["wrapped"]
    fresh = await another(installed, vault._ledger)
    assert await shown(fresh, merchant, token) == "4242424242424242"
    assert (await erased(fresh, merchant, ANNA)).receipt["cards_removed"] == 1


def _uuid(token: str) -> Any:
    from strongroom.kernel.ids import uuid_of

    return uuid_of(token, "tok")
