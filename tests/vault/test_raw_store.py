"""What an intruder finds who has the disk or a database role: no card, no name, no code."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from strongroom.kernel.secret import Cvc, luhn_valid
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.vault import CardVault, OutboundRequest, OutcomeUnknown, Slot
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS
from tests.keys.house import House, new_merchant
from tests.vault.conftest import a_card
from tests.vault.gateway import FakeGateway, answer

NAME = "Zacharias Wolkenstein"
CODE = "9173"
AMEX = "378282246310005"
PLANTED = ("4000056655665556", AMEX, "5200828282828210", "6011000990139424")
_RUN = re.compile(rb"\d(?:[ -]?\d){11,18}")


def needles() -> list[bytes]:
    """Every writing of the planted data a table, page or log could hold."""
    found = []
    for value in (*PLANTED, NAME):
        found += [value.encode(), value.encode("utf-16-le"), value.encode().hex().encode()]
    return [*found, b"378282 246310 005", NAME.upper().encode(), NAME.split()[1].encode()]


async def use_it_all(vault: CardVault, gateway: FakeGateway) -> None:
    merchant = new_merchant()
    for number in PLANTED:
        view = await vault.tokenize(
            merchant, a_card(number, holder=NAME), saved=number == AMEX, actor="key_1"
        )
        cvc = await vault.hold_cvc(merchant, view.token, Cvc(CODE))
        body = ('{"n":', Slot.NUMBER, ',"h":', Slot.HOLDER_NAME, ',"c":', Slot.CVC, "}")
        request = OutboundRequest(method="POST", url=gateway.origin + "/x", body=body)
        gateway.say(answer(f'{{"echo":"{number}","cvc":"{CODE}","name":"x"}}'.encode()))
        await vault.forward(merchant, request, token=view.token, cvc=cvc)
        assert number.encode() in gateway.bodies[-1]
        gateway.say(b"garbage\r\n\r\n")
        cvc = await vault.hold_cvc(merchant, view.token, Cvc(CODE))
        with pytest.raises(OutcomeUnknown):
            await vault.forward(merchant, request, token=view.token, cvc=cvc)
        await vault.commitment(merchant, a_card(number, holder=NAME))
    await vault.delete(merchant, view.token, actor="key_1")


async def test_no_table_holds_a_card(
    vault: CardVault, gateway: FakeGateway, installed: House
) -> None:
    await use_it_all(vault, gateway)
    tables = await installed.sql(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert {"vault.card", "keys.dek", "journal.entry"} <= {table["name"] for table in tables}
    for table in tables:
        for row in await installed.sql(f"SELECT t::text AS row FROM {table['name']} t"):
            text = row["row"].encode()
            raw = re.sub(rb"\\\\x([0-9a-f]+)", lambda m: bytes.fromhex(m[1].decode()), text)
            for needle in [*needles(), CODE.encode()]:
                assert needle not in raw or needle == CODE.encode(), table["name"]
            for run in _RUN.findall(raw):
                digits = re.sub(rb"\D", b"", run).decode()
                assert digits not in PUBLISHED_TEST_NUMBERS, table["name"]
                assert not (luhn_valid(digits) and digits in PLANTED)


async def test_no_file_of_the_server_holds_a_card(
    vault: CardVault, gateway: FakeGateway, installed: House, postgres: EmbeddedPostgres
) -> None:
    """Data files, write-ahead log, server log, everything below the data directory."""
    await use_it_all(vault, gateway)
    await installed.sql("CHECKPOINT")
    planted = b"journal.entry is looked for, so that this search can fail"
    await installed.sql("COMMENT ON TABLE vault.card IS '" + planted.decode() + "'")
    data_dir = Path(postgres.socket_dir).parent
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert any("pg_wal" in str(path) for path in files)
    found_planted = False
    for path in files:
        content = path.read_bytes()
        found_planted = found_planted or planted in content
        for needle in needles():
            assert needle not in content, f"{needle!r} in {path}"
    assert found_planted, "the search reads what the server wrote"


@pytest.mark.parametrize("role", ["strongroom_pay", "strongroom_journal"])
async def test_other_roles_cannot_touch_the_vault(
    vault: CardVault, installed: House, role: str
) -> None:
    await vault.tokenize(new_merchant(), a_card(), saved=True, actor="k")
    await installed.sql(f"GRANT CONNECT ON DATABASE {installed.name} TO {role}")
    connection = await installed.as_role(role)
    try:
        for statement in (
            "SELECT 1 FROM vault.card",
            "SELECT fingerprint FROM vault.card",
            "SELECT count(*) FROM keys.dek",
            "INSERT INTO vault.card (merchant_id) VALUES (gen_random_uuid())",
            "UPDATE vault.card SET saved = true",
            "DELETE FROM vault.card",
            "TRUNCATE vault.card",
            "SET ROLE strongroom_vault",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_vaults_role_can_do_no_more_than_it_must(
    vault: CardVault, installed: House
) -> None:
    connection = await installed.as_role("strongroom_vault")
    try:
        for statement in (
            "UPDATE vault.card SET merchant_id = gen_random_uuid()",
            "UPDATE vault.card SET created_at = now()",
            "TRUNCATE vault.card",
            "DROP TABLE vault.card",
            "ALTER TABLE vault.card DISABLE TRIGGER ALL",
            "UPDATE journal.entry SET body = ''",
            "DELETE FROM journal.entry",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY vault.card TO PROGRAM 'cat'",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_every_column_is_on_the_data_map(installed: House) -> None:
    from strongroom.storage import datamap

    columns = [
        column
        for column in await datamap.read(installed.database)
        if column.schema in ("vault", "keys")
    ]
    assert len(columns) > 40
    assert not datamap.undeclared(columns)
    by_class = {column.data_class for column in columns if column.schema == "vault"}
    assert "cardholder" in by_class
    assert "sad" not in {column.data_class for column in columns}, "no column holds a CVC"
