"""The keyring on a real database: made once, opened again, bound, counted, and never readable."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.journal import MARKER
from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.keys import Context, Keyring, SealedFileRoot
from strongroom.storage import Committer, Database
from strongroom.storage.embedded import EmbeddedPostgres
from tests.keys.house import House, house, new_merchant

TOKEN = "tok_00000000000000000000000000"


async def test_what_is_sealed_opens_again_after_a_restart(installed: House) -> None:
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    record = await (await installed.keyring()).seal(context, b"secret")

    again = await installed.keyring()
    assert await again.open_record(context, record) == b"secret"
    assert b"secret" not in record


@pytest.mark.parametrize(
    "other",
    [
        {"token": "tok_00000000000000000000000001"},
        {"field": "display"},
        {"subject": "cus_1"},
        {"schema": 2},
    ],
)
async def test_a_record_does_not_open_in_another_place(
    installed: House, other: dict[str, str]
) -> None:
    merchant = new_merchant()
    keyring = await installed.keyring()
    place = {"merchant": merchant, "token": TOKEN, "field": "card"}
    record = await keyring.seal(Context(**place), b"secret")

    with pytest.raises(StrongroomError, match="record_not_opened"):
        await keyring.open_record(Context(**{**place, **other}), record)


async def test_a_record_does_not_open_for_another_merchant(installed: House) -> None:
    keyring = await installed.keyring()
    mine, theirs = new_merchant(), new_merchant()
    record = await keyring.seal(Context(mine, TOKEN, "card"), b"secret")
    await keyring.seal(Context(theirs, TOKEN, "card"), b"theirs")

    with pytest.raises(StrongroomError, match="record_not_opened"):
        await keyring.open_record(Context(theirs, TOKEN, "card"), record)


async def test_every_flipped_bit_and_every_cut_is_noticed(installed: House) -> None:
    context = Context(new_merchant(), TOKEN, "card")
    keyring = await installed.keyring()
    record = await keyring.seal(context, b"x")
    for position in range(len(record)):
        for bit in (0x01, 0x80):
            changed = bytearray(record)
            changed[position] ^= bit
            names_another_key = 4 <= position < 20
            code = "key_missing" if names_another_key else r"record_not_opened|key_missing"
            with pytest.raises(StrongroomError, match=code):
                await keyring.open_record(context, bytes(changed))
    for end in (0, 1, 23, 35, len(record) - 1):
        with pytest.raises(StrongroomError, match="record_not_opened"):
            await keyring.open_record(context, record[:end])


async def test_live_ciphertext_and_keys_do_not_open_in_test_mode(
    installed: House, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """All rows of a live database copied under a test root: refused when it starts."""
    async with house(postgres, tmp_path, mode="live") as live:
        await live.keyring()
        rows = await live.sql("SELECT * FROM keys.kek")
    await installed.keyring()
    for row in rows:
        await installed.sql(
            "UPDATE keys.kek SET id = id, wrapped = $1, kcv = $2 WHERE purpose = $3",
            row["wrapped"],
            row["kcv"],
            row["purpose"],
        )
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await installed.keyring()


async def test_a_root_of_another_mode_or_installation_is_refused(
    installed: House, tmp_path: Path
) -> None:
    for mode, installation in (("live", installed.installation), ("test", UUID(int=7))):
        other = SealedFileRoot.create(
            tmp_path / f"other-{mode}",
            mode=mode,  # type: ignore[arg-type]
            installation=installation,
            key_file=tmp_path / f"other-key-{mode}",
        )
        with pytest.raises(StrongroomError, match="root_other_world"):
            await Keyring.open(installed.database, installed.committer, other)


async def test_two_processes_make_one_key(installed: House) -> None:
    merchant = new_merchant()
    keyrings = [await installed.keyring() for _ in range(4)]
    target = installed.server.target("strongroom_vault", database=installed.name)
    others = [await Committer(target, marker=MARKER).open() for _ in keyrings]
    for keyring, committer in zip(keyrings, others, strict=True):
        keyring._custody._committer = committer

    context = Context(merchant, TOKEN, "card")
    records = await asyncio.gather(*(keyring.seal(context, b"one") for keyring in keyrings))

    assert len({record[4:24] for record in records}) == 1, "all name the same key"
    for keyring in keyrings:
        for record in records:
            assert await keyring.open_record(context, record) == b"one"
    made = [e for e in await installed.entries("keys:dek:create") if merchant in e["body"]]
    assert len(made) == 1, "exactly one creation is journaled"
    for committer in others:
        await committer.close()


async def test_two_processes_start_an_empty_installation_together(installed: House) -> None:
    keyrings = await asyncio.gather(*(installed.keyring() for _ in range(4)))
    assert len({keyring.signer().public_key for keyring in keyrings}) == 1
    assert len({keyring.api_key_hasher()(b"k") for keyring in keyrings}) == 1
    assert len(await installed.sql("SELECT 1 FROM keys.kek")) == 5, "four and the record signer"


async def test_every_key_has_its_entry_in_the_journal(installed: House) -> None:
    keyring = await installed.keyring()
    await keyring.seal(Context(new_merchant(), TOKEN, "card"), b"x")
    await keyring.index_key(new_merchant())
    listed = {info.id for info in await keyring.inventory()}
    journaled = {
        entry["subject"]
        for kind in ("kek", "record", "dek", "index", "service")
        for entry in await installed.entries(f"keys:{kind}:create")
    }
    assert listed == journaled
    assert len(listed) == 5 + 5 + 1 + 1


async def test_the_inventory_tells_what_an_assessor_asks(installed: House) -> None:
    merchant = new_merchant()
    keyring = await installed.keyring()
    await keyring.seal(Context(merchant, TOKEN, "card"), b"x")
    (dek,) = [info for info in await keyring.inventory() if info.kind == "dek"]
    assert (dek.merchant, dek.version, dek.state, dek.algorithm) == (
        merchant,
        1,
        "active",
        "A256GCM",
    )
    assert dek.id.startswith("dek_")
    assert dek.wrapped_by.startswith("kek_")
    assert dek.uses_reserved == limits.KEY_USES_BLOCK
    assert dek.uses_limit == 2**32


async def test_the_signer_signs_and_keeps_its_key(installed: House) -> None:
    signer = (await installed.keyring()).signer()
    assert signer.name == f"strongroom.{installed.installation}/journal"
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(b"note"), b"note")
    assert (await installed.keyring()).signer().public_key == signer.public_key


async def test_api_key_hashes_are_keyed_and_stable(
    installed: House, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    first = (await installed.keyring()).api_key_hasher()
    assert len(first(b"key")) == 32
    assert (await installed.keyring()).api_key_hasher()(b"key") == first(b"key")
    async with house(postgres, tmp_path) as other:
        assert (await other.keyring()).api_key_hasher()(b"key") != first(b"key")


# --- substitution (PCI DSS 3.7.7) ---


async def test_swapped_merchant_keys_are_refused(installed: House) -> None:
    keyring = await installed.keyring()
    one, two = new_merchant(), new_merchant()
    for merchant in (one, two):
        await keyring.seal(Context(merchant, TOKEN, "card"), b"x")
    await installed.sql(
        "UPDATE keys.dek a SET wrapped = b.wrapped, kcv = b.kcv FROM keys.dek b "
        "WHERE a.merchant_id = $1 AND b.merchant_id = $2",
        uuid_of(one, "mer"),
        uuid_of(two, "mer"),
    )
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await (await installed.keyring()).seal(Context(one, TOKEN, "card"), b"y")


@pytest.mark.parametrize(
    "change",
    [
        "version = 9",
        "created_at = created_at + interval '1 microsecond'",
        "kcv = decode('00112233445566778899aabbccddeeff', 'hex')",
        "wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)",
        "id = gen_random_uuid()",
    ],
)
async def test_a_changed_key_record_is_refused(installed: House, change: str) -> None:
    merchant = new_merchant()
    await (await installed.keyring()).seal(Context(merchant, TOKEN, "card"), b"x")
    await installed.sql(f"UPDATE keys.dek SET {change}")
    with pytest.raises(StrongroomError, match=r"key_record_forged|key_not_usable"):
        await (await installed.keyring()).seal(Context(merchant, TOKEN, "card"), b"y")


async def test_a_swapped_journal_key_stops_the_start(installed: House) -> None:
    await installed.keyring()
    await installed.sql(
        "UPDATE keys.service_key SET public_key = decode(repeat('00', 32), 'hex') "
        "WHERE purpose = 'journal-signing'"
    )
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await installed.keyring()


# --- what the cache holds ---


async def test_no_clear_key_is_trusted_longer_than_five_minutes(installed: House) -> None:
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    keyring = await installed.keyring()
    record = await keyring.seal(context, b"x")
    assert await keyring.open_record(context, record) == b"x"
    await installed.sql("UPDATE keys.dek SET state = 'destroyed', wrapped = NULL")
    installed.clock.move(299)
    assert await keyring.open_record(context, record) == b"x", "still held"
    installed.clock.move(2)
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await keyring.open_record(context, record)


async def test_a_closed_keyring_holds_nothing(installed: House) -> None:
    keyring = await installed.keyring()
    context = Context(new_merchant(), TOKEN, "card")
    await keyring.seal(context, b"x")
    keyring.close()
    assert not keyring._sealing and not keyring._custody._wrapping
    with pytest.raises(StrongroomError, match="key_not_usable"):
        keyring.signer()
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await keyring.seal(context, b"x")


# --- who may see ---


@pytest.mark.parametrize("role", ["strongroom_pay", "strongroom_journal", "strongroom_read"])
@pytest.mark.parametrize("table", ["kek", "dek", "index_key", "service_key"])
async def test_other_roles_cannot_touch_keys(installed: House, role: str, table: str) -> None:
    await installed.keyring()
    connection = await asyncpg.connect(
        **installed.server.connect_kwargs("postgres", database=installed.name)
    )
    try:
        await connection.execute(f"SET ROLE {role}")
        for statement in (f"SELECT 1 FROM keys.{table}", f"DELETE FROM keys.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_vault_role_cannot_change_what_a_key_is_or_delete(installed: House) -> None:
    await installed.keyring()
    connection = await installed.as_role("strongroom_vault")
    try:
        for statement in (
            "UPDATE keys.kek SET id = id",
            "UPDATE keys.dek SET kcv = kcv",
            "UPDATE keys.service_key SET public_key = public_key",
            "DELETE FROM keys.revocation",
            "DELETE FROM keys.kek",
            "TRUNCATE keys.service_key",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_no_clear_key_stands_anywhere_in_the_database(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.keys import custody, envelope, foundation

    made: list[bytes] = []

    def watched() -> object:
        key = envelope.fresh_key()
        made.append(key.reveal())
        return key

    monkeypatch.setattr(custody, "fresh_key", watched)
    monkeypatch.setattr(foundation, "fresh_key", watched)
    keyring = await installed.keyring()
    await keyring.seal(Context(new_merchant(), TOKEN, "card"), b"x")
    await keyring.index_key(new_merchant())
    assert len(made) == 12
    dump = ""
    for table in ("keys.kek", "keys.dek", "keys.index_key", "keys.service_key", "journal.entry"):
        rows = await installed.sql(f"SELECT to_jsonb(t)::text AS row FROM {table} t")
        dump += json.dumps([row["row"] for row in rows])
    assert made and not any(key.hex() in dump for key in made)


async def test_an_empty_database_says_what_to_do(
    postgres: EmbeddedPostgres, installed: House
) -> None:
    await installed.sql("DELETE FROM meta.installation")
    database = Database(postgres.target("strongroom_vault", database=installed.name))
    await database.open()
    try:
        with pytest.raises(StrongroomError, match="strongroom init"):
            await Keyring.open(database, installed.committer, installed.root)
    finally:
        await database.close()
