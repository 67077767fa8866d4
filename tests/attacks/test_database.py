"""Who holds a database role or even the disk: what the serving role can do, and what moved or
changed rows do. Nothing opens that was moved, and nothing changed stays unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from strongroom.journal import verify_store
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.storage.embedded import EmbeddedPostgres
from tests.support.hunt import Hunter
from tests.support.pay import body, card, gateway, new_key, pay
from tests.support.stack import Answer, Stack

FIRST, SECOND = "4012888888881881", "5555555555554444"
DENIED = (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)
"""No right to do it, or (ALTER SYSTEM) forbidden to everybody on this server."""


@asynccontextmanager
async def session(stack: Stack, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**EmbeddedPostgres(stack.data_dir).connect_kwargs(role))
    try:
        yield connection
    finally:
        await connection.close()


def sql(stack: Stack, statement: str, *values: Any, role: str = "postgres") -> list[Any]:
    async def run() -> list[Any]:
        async with session(stack, role) as connection:
            return list(await connection.fetch(statement, *values))

    return asyncio.run(run())


FORBIDDEN = (
    # card data and keys
    "SELECT 1 FROM vault.card",
    "SELECT count(*) FROM keys.dek",
    "SELECT * FROM keys.kek",
    "SELECT * FROM keys.index_key",
    "SELECT * FROM keys.service_key",
    "INSERT INTO vault.card DEFAULT VALUES",
    "UPDATE keys.dek SET state = 'x'",
    "DELETE FROM vault.card",
    "TRUNCATE vault.card",
    "COPY vault.card TO STDOUT",
    "SELECT 1 FROM vault.card FOR UPDATE",
    "CREATE VIEW pay.v AS SELECT * FROM vault.card",
    # what was recorded stays as it is
    "UPDATE journal.entry SET body = body",
    "DELETE FROM journal.entry",
    "TRUNCATE journal.entry",
    "UPDATE journal.batch SET size = 0",
    "DELETE FROM journal.batch",
    "INSERT INTO journal.checkpoint DEFAULT VALUES",
    "UPDATE journal.tile SET hashes = hashes",
    "ALTER TABLE journal.entry DISABLE TRIGGER ALL",
    "UPDATE ledger.posting SET amount = 1",
    "DELETE FROM ledger.posting",
    "TRUNCATE ledger.posting",
    "DELETE FROM ledger.balance",
    "ALTER TABLE ledger.posting DISABLE TRIGGER ALL",
    "DELETE FROM pay.payment",
    "DELETE FROM pay.operation",
    "TRUNCATE pay.payment",
    "ALTER TABLE pay.payment DROP CONSTRAINT payment_captured_limit",
    "DELETE FROM iam.api_key",
    "UPDATE iam.api_key SET role = 'operator-admin'",
    "UPDATE iam.api_key SET scopes = NULL",
    "UPDATE meta.installation SET mode = 'live'",
    "DELETE FROM meta.migration",
    # objects of its own
    "CREATE TABLE pay.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION pay.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "CREATE ROLE mine",
    # the server and its other roles
    "SELECT rolpassword FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "SELECT pg_reload_conf()",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SET session_replication_role = replica",
    "SET log_statement = 'all'",
    "SET ROLE strongroom_owner",
    "SET ROLE strongroom_vault",
    "SET ROLE strongroom_journal",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "GRANT strongroom_vault TO strongroom_pay",
    "GRANT SELECT ON vault.card TO strongroom_pay",
    "ALTER ROLE strongroom_pay SUPERUSER",
)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_serving_role_may_not(target: Stack, statement: str) -> None:
    with pytest.raises(DENIED):
        sql(target, statement, role="strongroom_pay")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("strongroom_journal", "SELECT 1 FROM vault.card"),
        ("strongroom_journal", "SELECT 1 FROM keys.dek"),
        ("strongroom_journal", "SELECT 1 FROM pay.payment"),
        ("strongroom_journal", "SELECT 1 FROM iam.api_key"),
        ("strongroom_journal", "INSERT INTO journal.entry DEFAULT VALUES"),
        ("strongroom_vault", "SELECT 1 FROM pay.payment"),
        ("strongroom_vault", "SELECT 1 FROM iam.api_key"),
        ("strongroom_vault", "SELECT 1 FROM ledger.posting"),
        ("strongroom_vault", "DELETE FROM keys.dek"),
        ("strongroom_vault", "UPDATE vault.card SET merchant_id = gen_random_uuid()"),
        ("strongroom_read", "SELECT 1 FROM vault.card"),
        ("strongroom_read", "SELECT hash FROM iam.api_key"),
        ("strongroom_read", "UPDATE pay.payment SET status = 'captured'"),
    ],
)
def test_other_roles_may_not(target: Stack, role: str, statement: str) -> None:
    if role == "strongroom_read":  # nobody logs in as it; the owner of the server may put it on
        statement = f"SET ROLE strongroom_read; {statement}"
        role = "postgres"

    async def run() -> None:
        async with session(target, role) as connection:
            await connection.execute(statement)

    with pytest.raises(DENIED):
        asyncio.run(run())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal.entry SET body = body",
        "DELETE FROM journal.entry",
        "TRUNCATE journal.entry",
        "DELETE FROM ledger.posting",
        "UPDATE ledger.posting SET amount = amount + 1",
    ],
)
def test_not_even_the_owner_rewrites_history(target: Stack, statement: str) -> None:
    pay(target)
    with pytest.raises(asyncpg.PostgresError):
        sql(target, statement, role="strongroom_owner")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("hash = sha256('mine')", "api_key_hash_moves_on"),
        ("expires_at = now() + interval '1 year'", "api_key_end_comes_nearer"),
        ("expires_at = NULL", "api_key_end_comes_nearer"),
        ("revoked_at = NULL", "api_key_stays_revoked"),
    ],
)
def test_no_api_key_gets_more(target: Stack, change: str, constraint: str) -> None:
    """The serving role ends keys and moves their hashes to a newer pepper; the rest is refused."""
    merchant, _ = target.add_merchant(f"Ended by {new_key()[:8]}")
    of = uuid_of(merchant, "mer")
    end = "UPDATE iam.api_key SET expires_at = now(), revoked_at = now() WHERE merchant_id = $1"
    sql(target, end, of, role="strongroom_pay")
    changed = f"UPDATE iam.api_key SET {change} WHERE merchant_id = $1"
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        sql(target, changed, of, role="strongroom_pay")
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("captured = authorized + 1", "payment_captured_limit"),
        ("authorized = amount + 1", "payment_authorized_limit"),
        ("refunded = captured + 1", "payment_refunded_limit"),
        ("refunding = captured + 1", "payment_refunded_limit"),
    ],
)
def test_the_database_itself_keeps_the_limits(target: Stack, change: str, constraint: str) -> None:
    payment = uuid_of(pay(target).json["id"], "pay")
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        sql(target, f"UPDATE pay.payment SET {change} WHERE id = $1", payment)


def test_an_unbalanced_posting_is_refused(target: Stack) -> None:
    pay(target)
    copied = (
        "INSERT INTO ledger.posting SELECT (jsonb_populate_record(p, jsonb_build_object("
        "'transaction_id', gen_random_uuid()))).* FROM ledger.posting p LIMIT 1"
    )
    with pytest.raises(asyncpg.PostgresError):
        sql(target, copied, role="strongroom_pay")


# --- moved ciphertext -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cards(target: Stack) -> dict[str, str]:
    """Saved cards of both merchants, by name."""
    made = {}
    for name, number, key in (
        ("mine", FIRST, target.secret_key),
        ("mine too", SECOND, target.secret_key),
        ("theirs", SECOND, target.other_secret_key),
    ):
        given = {"card": card(number, holder_name="Moved Name"), "save": True}
        made[name] = target.call("POST", "/v1/tokens", given, key=key).json["id"]
    return made


def sealed(stack: Stack, token: str) -> tuple[bytes, bytes]:
    row = sql(
        stack, "SELECT sealed_card, sealed_display FROM vault.card WHERE id = $1", token_id(token)
    )[0]
    return row["sealed_card"], row["sealed_display"]


def token_id(token: str) -> UUID:
    return uuid_of(token, "tok")


def put(stack: Stack, token: str, card_record: bytes, display: bytes) -> None:
    sql(
        stack,
        "UPDATE vault.card SET sealed_card = $2, sealed_display = $3 WHERE id = $1",
        token_id(token),
        card_record,
        display,
    )


def pay_with(stack: Stack, token: str) -> Answer:
    given = {**body(), "payment_method": {"token": token}}
    return stack.call("POST", "/v1/payments", given, idempotency_key=new_key())


@pytest.mark.parametrize("source", ["mine too", "theirs"])
@pytest.mark.parametrize("columns", ["card", "display", "both", "bit"])
def test_moved_ciphertext_fails_closed(
    target: Stack, cards: dict[str, str], source: str, columns: str
) -> None:
    mine = sealed(target, cards["mine"])
    other = sealed(target, cards[source])
    flipped = mine[0][:-1] + bytes([mine[0][-1] ^ 1])
    forged = {
        "card": (other[0], mine[1]),
        "display": (mine[0], other[1]),
        "both": other,
        "bit": (flipped, mine[1]),
    }[columns]
    before = gateway(target, "?limit=1")["charges"]
    put(target, cards["mine"], *forged)
    try:
        answer = pay_with(target, cards["mine"])
        assert answer.status == 500, "our side's fault, and nothing of it is told"
        assert answer.json["code"] == "internal_error"
        if columns != "display":  # a card's own record opens whatever stands beside it
            with pytest.raises(StrongroomError, match="record_not_opened"):
                reveal(target, cards["mine"])
    finally:
        put(target, cards["mine"], *mine)
    assert gateway(target, "?limit=1")["charges"] == before, "no other card was charged"
    hunter = Hunter(numbers=[FIRST, SECOND], names=["Moved Name"])
    assert hunter.text("answer", answer.body) == []
    assert hunter.text("log", target.log().encode()) == []
    assert pay_with(target, cards["mine"]).status == 201


def reveal(stack: Stack, token: str, *, permit: bool = True) -> str:
    """Reveal a card as an administrator; `permit` leaves the policies out."""
    from strongroom.identity import Principal

    async def work(house: Any) -> str:
        operator = Principal.local_operator("test", mode="test", merchant=stack.merchant)
        found = await house.vault.reveal(
            stack.merchant,
            token,
            principal=operator,
            purpose="gateway_migration",
            authorize=_permit if permit else house.authorizer.check,
        )
        return str(found.reveal())

    return str(stack.admin(work))


def _permit(*_: Any, **__: Any) -> None:
    return None


def test_an_unmoved_card_opens(target: Stack, cards: dict[str, str]) -> None:
    assert reveal(target, cards["mine"]) == FIRST
    assert pay_with(target, cards["theirs"]).status == 404


def test_policies_and_vault_agree_on_reveal(target: Stack, cards: dict[str, str]) -> None:
    """A door that the policies do not know is a door nobody guards, or nobody can open."""
    assert reveal(target, cards["mine"], permit=False) == FIRST


# --- a changed journal ----------------------------------------------------------------------------


def verify(stack: Stack) -> Any:
    async def work(house: Any) -> Any:
        return await verify_store(house.journal_database, public_keys=house.sequencer.public_keys)

    return stack.admin(work)


def without_triggers(stack: Stack, statement: str, *values: Any) -> None:
    """Change a table as only a superuser can: with all guards off."""

    async def run() -> None:
        async with session(stack, "postgres") as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(statement, *values)

    asyncio.run(run())


def test_a_superusers_change_of_the_journal_is_named(target: Stack) -> None:
    payment = pay(target).json["id"]
    entry = target.call("GET", f"/v1/journal/entries?subject={payment}").json["data"][0]["id"]
    proof = f"/v1/journal/entries/{entry}/proof"
    while target.call("GET", proof).status != 200:
        pass
    assert verify(target).ok
    row = uuid_of(entry, "ent")
    was = sql(target, "SELECT body FROM journal.entry WHERE id = $1", row)[0]["body"]
    forged = was.replace(b'"action":"payments:payment:', b'"action":"payments:pay_ment:')
    assert forged != was
    change = "UPDATE journal.entry SET body = $2 WHERE id = $1"
    without_triggers(target, change, row, forged)
    try:
        report = verify(target)
    finally:
        without_triggers(target, change, row, was)
    assert not report.ok
    assert entry in str(report.problems)
    assert verify(target).ok
