"""Somebody has the database, its backups, the logs and the settings: nothing of a card is readable.

The thief has all that lies on the disk after a crash: the cluster with its write-ahead log, a
logical backup in two forms, every log, `strongroom.toml`, all secrets of the data directory. What
he has not is the file that opens the root (docs/operations/restore.md keeps it apart). Each search
and each attack is shown to work: with one planted number, and with the root's key.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import asyncpg
import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from strongroom.detection import FileScanner, Finder, Report, scan_tables
from strongroom.storage import Database
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.embedded_programs import find_programs
from tests.cli.support import refused, strongroom
from tests.support.clients import encrypt
from tests.support.hunt import Hunter
from tests.support.pay import body, card, new_key, operate, pay
from tests.support.stack import Stack

pytestmark = [pytest.mark.slow(25), pytest.mark.timeout(400)]

VISA, MASTERCARD, AMEX, UNIONPAY = (
    "4012888888881881", "5555555555554444", "378282246310005", "6200000000000005",
)  # fmt: skip
NUMBERS = (VISA, MASTERCARD, AMEX, UNIONPAY)
NAME, CODE, PERSON = "Quendolin Zyxwater", "907", "quendolin.zyxwater@shop.example"
_LONGEST_SMALL_FILE = 65_536
_HEX, _BASE64 = re.compile(rb"[0-9a-fA-F]{64}"), re.compile(rb"[A-Za-z0-9+/_-]{42,44}")


class Loot(msgspec.Struct):
    """What was stolen, and what was not: the root's key, for the counter-check."""

    folder: Path
    data_dir: Path
    root_key: bytes


@pytest.fixture(scope="module")
def loot(tmp_path_factory: pytest.TempPathFactory) -> Loot:
    tmp = tmp_path_factory.mktemp("theft")
    (tmp / "victim").mkdir()
    stack = Stack(tmp / "victim").start()
    folder = tmp / "loot"
    folder.mkdir()
    try:
        use(stack)
        back_up(stack, folder)
        stack.kill()
        subprocess.run(["cp", "-a", str(stack.data_dir), str(folder / "data")], check=True)
        shutil.copy(tmp / "victim" / "stderr.log", folder)
    finally:
        stack.stop()
    key = (folder / "data" / "root.key").read_bytes().split()[-1]
    (folder / "data" / "root.key").unlink()
    return Loot(folder, folder / "data", base64.b64decode(key))


def use(stack: Stack) -> None:
    """Take cards by every way in, pay, refund, and show one in clear."""
    tokens = []
    for number in NUMBERS:
        code = "9073" if number == AMEX else CODE
        given = card(number, cvc=code, holder_name=NAME)
        made = stack.call(
            "POST", "/v1/tokens", {"card": {**given, "data_subject": PERSON}, "save": True}
        )
        assert made.status == 201, made.body
        tokens.append(made.json["id"])
        paid = pay(stack, number, payment_method={"card": given})
        assert paid.status in (201, 202, 402), paid.body
        if paid.status == 201 and paid.json["status"] == "captured":
            operate(stack, paid.json["id"], "refunds", {"amount": 100})
    saved = stack.call("POST", "/v1/tokens", {"card": card(VISA, cvc=CODE), "save": True})
    document = stack.call("GET", "/v1/vault/keys", key=stack.publishable_key).json
    for suite in ("jwe-p256", "hpke-xwing"):
        text = encrypt(document, suite, {**card(VISA, cvc=CODE), "holder_name": NAME})
        request = body() | {"payment_method": {"encrypted_card": text}}
        answer = stack.call("POST", "/v1/payments", request, idempotency_key=new_key())
        assert answer.status == 201, answer.body
    shown = stack.call(
        "POST", f"/v1/tokens/{saved.json['id']}/reveal", {"purpose": "dispute_evidence"},
        key=stack.operator_admin_key, headers={"Strongroom-Merchant": stack.merchant},
    )  # fmt: skip
    assert (shown.status, shown.json["number"]) == (200, VISA), shown.body


def back_up(stack: Stack, folder: Path) -> None:
    """Take logical backups with the engine's own program, as an operator's script would."""
    pg_dump = find_programs({}).directory / "pg_dump"
    url = EmbeddedPostgres(stack.data_dir).url("strongroom_owner").reveal()
    for name, form in (("backup.sql", "plain"), ("backup.dump", "custom")):
        subprocess.run(
            [pg_dump, f"--format={form}", f"--file={folder / name}", f"--dbname={url}"],
            check=True, capture_output=True,
        )  # fmt: skip
    assert b"vault.card" in (folder / "backup.sql").read_bytes()


@pytest.fixture(scope="module")
def revived(loot: Loot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The thief starts the stolen cluster; its passwords are among the loot."""
    copy = tmp_path_factory.mktemp("revived") / "data"
    subprocess.run(["cp", "-a", str(loot.data_dir), str(copy)], check=True)
    with EmbeddedPostgres(copy) as server:
        yield server


def test_what_was_stolen_is_all_there_is(loot: Loot) -> None:
    names = {path.name for path in loot.folder.rglob("*")}
    assert {"strongroom.toml", "root.json", "sandbox.secret", "backup.sql", "backup.dump",
            "stderr.log", "pg_wal", "test-credentials.json"} <= names  # fmt: skip
    assert "root.key" not in names
    everywhere = b"".join(p.read_bytes() for p in loot.folder.rglob("*") if small(p))
    assert loot.root_key not in everywhere and base64.b64encode(loot.root_key) not in everywhere


def test_the_scanner_finds_no_card_in_the_loot(loot: Loot) -> None:
    report = Report()
    FileScanner(Finder(), report, include_test=True).scan([loot.folder])
    assert report.files > 500 and report.bytes > 2**24
    assert report.hits == []
    low = Report()
    FileScanner(Finder(least="low"), low, include_test=True).scan([loot.folder])
    assert not {hit.last4 for hit in low.hits if hit.kind == "test_pan"}


def test_no_number_code_name_or_person_is_in_the_loot(loot: Loot) -> None:
    hunter = Hunter(numbers=NUMBERS, codes=[CODE, "9073"], names=[NAME, PERSON])
    hits, files, _ = hunter.files(loot.folder)
    assert files > 500 and hits == []


def test_both_searches_can_find(loot: Loot, tmp_path: Path) -> None:
    page = (loot.folder / "backup.sql").read_bytes()[:8192]
    (tmp_path / "page").write_bytes(page + f"{VISA}\t{PERSON}".encode() + page)
    report = Report()
    FileScanner(Finder(), report, include_test=True).scan([tmp_path])
    assert [hit.last4 for hit in report.hits] == [VISA[-4:]]
    hits, _, _ = Hunter(numbers=NUMBERS, names=[PERSON]).files(tmp_path)
    assert {hit.what.split()[0] for hit in hits} == {"number", "name"}


async def test_the_roles_of_the_stolen_database_see_sealed_bytes_only(
    revived: EmbeddedPostgres,
) -> None:
    """Even the superuser, with the passwords from the loot, reads nothing of a card."""
    report = Report()
    owner = Database(revived.target("strongroom_owner"), size=2)
    await owner.open()
    try:
        await scan_tables(owner, Finder(), report, include_test=True)
    finally:
        await owner.close()
    assert report.rows > 50 and report.unread == []
    assert report.hits == []
    for role in ("strongroom_vault", "postgres"):
        connection = await asyncpg.connect(**revived.connect_kwargs(role))
        try:
            rows = await connection.fetch("SELECT c::text AS text FROM vault.card c")
        finally:
            await connection.close()
        assert len(rows) >= len(NUMBERS)
        text = "\n".join(row["text"] for row in rows).encode()
        hunter = Hunter(numbers=NUMBERS, names=[NAME, PERSON])
        assert hunter.raw("vault.card", text) == []


def test_the_program_does_not_open_the_stolen_vault(loot: Loot, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    subprocess.run(["cp", "-a", str(loot.data_dir), str(copy)], check=True)
    line = refused(strongroom("merchants", "list", data_dir=copy), 1)
    assert "(root_file_missing)" in line
    made = base64.b64encode(b"\x07" * 32).decode()
    (copy / "root.key").write_text(f"strongroom-root-key/1 {made}\n")
    (copy / "root.key").chmod(0o600)
    assert "(root_not_opened)" in refused(strongroom("merchants", "list", data_dir=copy), 1)


# --- the thief's own program: every key-like byte string against every sealed byte string --------


class Sealed(msgspec.Struct):
    """Ciphertexts by level, read from the stolen database; nonce first, tag dropped."""

    root: bytes
    keks: list[bytes]
    keys: list[bytes]
    cards: list[bytes]


def small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= _LONGEST_SMALL_FILE


def opened(key: bytes, sealed: bytes) -> bytes:
    """Decrypt without looking at the tag: GCM without it is counter mode from 2 on."""
    stream = Cipher(AES(key), CTR(sealed[:12] + b"\0\0\0\2")).decryptor()
    return stream.update(sealed[12:])


async def sealed_in(server: EmbeddedPostgres, data_dir: Path) -> tuple[Sealed, list[bytes]]:
    """Return the ciphertexts, and every byte string of the tables as a candidate for a key."""
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))

    async def column(sql: str) -> list[bytes]:
        return [bytes(row[0]) for row in await connection.fetch(sql)]

    try:
        root = msgspec.json.decode((data_dir / "root.json").read_bytes())
        keks = await column("SELECT wrapped FROM keys.kek WHERE purpose = 'data'")
        keys = await column(
            "SELECT wrapped FROM keys.dek UNION ALL "
            "SELECT wrapped FROM keys.subject_key WHERE wrapped IS NOT NULL"
        )
        cards = await column("SELECT sealed_card FROM vault.card WHERE sealed_card IS NOT NULL")
        found = Sealed(
            root=base64.b64decode(root["wrapped"])[:-16],
            keks=[wrapped[:-16] for wrapped in keks],
            keys=[wrapped[:-16] for wrapped in keys],
            cards=[card[24:-16] for card in cards],
        )
        names = await connection.fetch(
            "SELECT format('SELECT %I FROM %I.%I WHERE %I IS NOT NULL LIMIT 200', a.attname, "
            "n.nspname, c.relname, a.attname) AS sql FROM pg_attribute a "
            "JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.atttypid = 'bytea'::regtype "
            "AND a.attnum > 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        )
        values = [value for row in names for value in await column(row["sql"])]
    finally:
        await connection.close()
    return found, values


def candidates(folder: Path, values: Iterable[bytes]) -> set[bytes]:
    """Return every 32 bytes in a row of small files and table values, and what texts encode."""
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        if not small(path) or "postgres/cluster" in str(path):
            continue
        data = path.read_bytes()
        found |= {data[at : at + 32] for at in range(min(len(data), 8192) - 31)}
        found |= {bytes.fromhex(text.decode()) for text in _HEX.findall(data)}
        for text in _BASE64.findall(data):
            padded = text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4)
            found |= {base64.b64decode(padded)[:32]} if len(text) % 4 != 1 else set()
    for value in values:
        found |= {value[at : at + 32] for at in range(min(len(value), 160) - 31)}
    return {key for key in found if len(key) == 32}


def cracked(keys: Iterable[bytes], sealed: Sealed) -> set[str]:
    """Return the planted numbers that any key opens: as unlocking key, root, KEK or data key."""
    shown: set[str] = set()
    for key in keys:
        roots = {key, opened(key, sealed.root)}
        keks = {key, *(opened(root, kek) for root, kek in product(roots, sealed.keks))}
        deks = {key, *(opened(kek, dek) for kek, dek in product(keks, sealed.keys))}
        for dek, one in product(deks, sealed.cards):
            clear = opened(dek, one)
            shown |= {number for number in NUMBERS if number.encode() in clear}
    return shown


def test_no_byte_string_of_the_loot_opens_a_card(loot: Loot, revived: EmbeddedPostgres) -> None:
    sealed, values = asyncio.run(sealed_in(revived, loot.data_dir))
    assert sealed.keks and len(sealed.cards) >= len(NUMBERS)
    assert cracked([loot.root_key], sealed) == set(NUMBERS), "the attack works with the root's key"
    tried = candidates(loot.folder, values)
    assert len(tried) > 1_000
    few = msgspec.structs.replace(sealed, keys=sealed.keys[:3], cards=sealed.cards[:3])
    assert cracked(tried, few) == set()
