"""Key records are signed: whoever may write the database, but has no root, is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.keys import Context, Keyring
from strongroom.keys.anchor import FileAnchor
from strongroom.keys.rotation import ending
from tests.keys.house import House, new_merchant

TOKEN = "tok_00000000000000000000000000"
COPY = "CREATE TABLE IF NOT EXISTS {name} AS TABLE keys.{table}"


async def forged(installed: House) -> str:
    """Return the code with which the start is refused."""
    with pytest.raises(StrongroomError) as refused:
        await installed.keyring()
    return refused.value.code


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE keys.kek SET state = 'decrypt_only' WHERE purpose = 'data'",
        "UPDATE keys.kek SET revision = 7 WHERE purpose = 'data'",
        "UPDATE keys.kek SET state_at = state_at - interval '1 day' WHERE purpose = 'data'",
        "UPDATE keys.kek SET kcv = decode(repeat('ab', 16), 'hex') WHERE purpose = 'data'",
        "UPDATE keys.kek SET root_id = 'root_01k00000000000000000000000' WHERE purpose = 'data'",
        "UPDATE keys.kek SET signature = NULL WHERE purpose = 'data'",
        "UPDATE keys.kek a SET signature = b.signature FROM keys.kek b "
        "WHERE a.purpose = 'data' AND b.purpose = 'index'",
        "UPDATE keys.kek a SET wrapped = b.wrapped, kcv = b.kcv, signature = b.signature "
        "FROM keys.kek b WHERE a.purpose = 'data' AND b.purpose = 'index'",
        "DELETE FROM keys.kek WHERE purpose = 'token'",
        "DELETE FROM keys.kek WHERE purpose = 'records'",
        "DELETE FROM keys.service_key WHERE purpose = 'api-key-pepper'",
        "UPDATE keys.service_key SET state = 'decrypt_only'",
        "UPDATE keys.manifest SET seq = seq + 1",
        "UPDATE keys.manifest SET digest = decode(repeat('00', 32), 'hex')",
        "DELETE FROM keys.manifest",
        "INSERT INTO keys.revocation SELECT id, 'compromised', now() FROM keys.kek LIMIT 1",
    ],
)
async def test_a_changed_row_stops_the_start(installed: House, attack: str) -> None:
    await installed.keyring()
    await installed.sql(attack)
    assert await forged(installed) == "key_record_forged"


async def test_a_compromised_key_brought_back_by_its_old_row_is_refused(installed: House) -> None:
    """The table's owner restores the row from before: its signature is true, its time is over."""
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    keyring = await installed.keyring()
    record = await keyring.seal(context, b"x")
    (row,) = await installed.sql("SELECT * FROM keys.dek")
    await ending.compromise(keyring.custody, id_from("dek", row["id"]), actor="op_1")
    await installed.sql(
        "UPDATE keys.dek SET state = $1, state_at = $2, revision = $3, signature = $4 "
        "WHERE version = 1",
        row["state"],
        row["state_at"],
        row["revision"],
        row["signature"],
    )
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await (await installed.keyring()).open_record(context, record)
    await installed.sql("DELETE FROM keys.revocation")
    assert await forged(installed) == "key_record_forged", "the manifest knows what was revoked"


async def test_rows_exchanged_between_merchants_and_versions(installed: House) -> None:
    one, two = new_merchant(), new_merchant()
    keyring = await installed.keyring()
    for merchant in (one, two):
        await keyring.seal(Context(merchant, TOKEN, "card"), b"x")
    await installed.sql(
        "UPDATE keys.dek SET merchant_id = CASE merchant_id WHEN $1 THEN $2 ELSE $1 END, "
        "version = version + 1",
        uuid_of(one, "mer"),
        uuid_of(two, "mer"),
    )
    for merchant in (one, two):
        with pytest.raises(StrongroomError, match="key_record_forged"):
            await (await installed.keyring()).seal(Context(merchant, TOKEN, "card"), b"y")


async def test_an_older_wrapped_copy_does_not_come_back(installed: House) -> None:
    """After a KEK rotation the old copy of a DEK is restored: old, signed, and under a dead KEK."""
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    keyring = await installed.keyring()
    await keyring.seal(context, b"x")
    (old,) = await installed.sql("SELECT * FROM keys.dek")
    (kek,) = await installed.sql("SELECT id FROM keys.kek WHERE purpose = 'data'")
    await ending.compromise(keyring.custody, id_from("kek", kek["id"]), actor="op_1")
    await installed.rotated(keyring, "kek")
    installed.clock.move(3_600)
    rotation = installed.rotation(keyring)
    await rotation.destroy(id_from("kek", kek["id"]), actor="op_1")
    await installed.sql(
        "UPDATE keys.dek SET kek_id = $1, wrapped = $2, revision = $3, signature = $4",
        old["kek_id"],
        old["wrapped"],
        old["revision"],
        old["signature"],
    )
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await (await installed.keyring()).seal(context, b"y")


async def test_a_store_restored_whole_is_noticed_from_outside(
    installed: House, tmp_path: Path
) -> None:
    anchor = FileAnchor(tmp_path / "keys.witness")
    keyring = await installed.keyring(anchor=anchor)
    backup = {
        table: await installed.sql(f"SELECT to_jsonb(t)::text AS row FROM keys.{table} t")
        for table in ("kek", "service_key", "manifest")
    }
    await installed.rotated(keyring, "kek")
    await installed.sql("DELETE FROM keys.service_key")
    for table in ("kek", "manifest"):
        await installed.sql(f"DELETE FROM keys.{table}")
    for table in ("kek", "service_key", "manifest"):
        for (row,) in backup[table]:
            await installed.sql(
                f"INSERT INTO keys.{table} "
                f"SELECT * FROM jsonb_populate_record(NULL::keys.{table}, $1::jsonb)",
                row,
            )
    await installed.keyring()  # whole and truly signed: from inside nothing is wrong
    with pytest.raises(StrongroomError, match="keys_rolled_back"):
        await installed.keyring(anchor=anchor)


async def test_older_keys_beside_newer_cards_say_so(installed: House) -> None:
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    record = await (await installed.keyring()).seal(context, b"x")
    await installed.sql("DELETE FROM keys.dek")
    with pytest.raises(StrongroomError, match="key_missing"):
        await (await installed.keyring()).open_record(context, record)
    await (await installed.keyring()).seal(context, b"new")  # a new version 1 came to be
    with pytest.raises(StrongroomError, match="key_missing"):
        await (await installed.keyring()).open_record(context, record)


async def test_a_store_from_before_records_were_signed_is_adopted_once(installed: House) -> None:
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    record = await (await installed.keyring()).seal(context, b"x")
    tables = ("kek", "dek", "index_key", "service_key")
    for table in tables:
        await installed.sql(f"UPDATE keys.{table} SET signature = NULL")
    await installed.sql("DELETE FROM keys.kek WHERE purpose = 'records'")
    await installed.sql("DELETE FROM keys.manifest")
    keyring: Keyring = await installed.keyring()
    assert await keyring.open_record(context, record) == b"x"
    for table in tables:
        assert not await installed.sql(f"SELECT 1 FROM keys.{table} WHERE signature IS NULL")


@pytest.mark.parametrize(("position", "value"), [(0, 0x54), (2, 2), (3, 2), (23, 2)])
async def test_downgrades_of_a_record_are_refused(
    installed: House, position: int, value: int
) -> None:
    """Another magic, format, algorithm or key version than what was sealed."""
    context = Context(new_merchant(), TOKEN, "card")
    keyring = await installed.keyring()
    record = bytearray(await keyring.seal(context, b"x"))
    record[position] = value
    with pytest.raises(StrongroomError, match=r"record_not_opened|key_missing"):
        await keyring.open_record(context, bytes(record))
