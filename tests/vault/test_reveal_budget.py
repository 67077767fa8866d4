"""How many card numbers anybody may see: exact over processes, raised by grants alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from strongroom.journal import MARKER
from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.storage import Committer, Database
from strongroom.vault import CardVault, EgressPolicy
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy, tokenize
from tests.vault.conftest import PAN

PURPOSE = "gateway_migration"


async def grant(
    installed: House, merchant: str, count: int, *, caller: str = "op_1", hours: int = 1
) -> UUID:
    """Put a grant where two custodians' approval puts it."""
    made, now = new_uuid7(), installed.clock.now()
    await installed.sql(
        "INSERT INTO vault.reveal_grant (merchant_id, id, caller, purpose, granted, remaining, "
        "valid_until, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, 'local:x')",
        uuid_of(merchant, "mer"),
        made,
        caller,
        PURPOSE,
        count,
        now + timedelta(hours=hours),
        now,
    )
    return made


async def reveal(
    vault: CardVault, merchant: str, token: str, *, purpose: str = PURPOSE, who: str = "op_1"
) -> str:
    try:
        await vault.reveal(
            merchant, token, principal=Operator(who), purpose=purpose, authorize=Policy()
        )
    except StrongroomError as refused:
        return refused.code
    return "shown"


async def many(vault: CardVault, merchant: str, tokens: list[str]) -> list[str]:
    found = await vault.reveal_batch(
        merchant, tokens, principal=Operator(), purpose=PURPOSE, authorize=Policy()
    )
    return [str(one.problem) if one.number is None else one.number.reveal() for one in found]


async def test_the_limit_is_exact_over_two_processes(vault: CardVault, installed: House) -> None:
    """Two vaults with connections, keys and memory of their own: as two processes have them."""
    target = installed.server.target("strongroom_vault", database=installed.name)
    database = await Database(target).open()
    committer = await Committer(target, marker=MARKER).open()
    other = CardVault(
        database,
        committer,
        await installed.keyring(),
        egress=EgressPolicy(),
        clock=installed.clock,
    )
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    try:
        told = await asyncio.gather(
            *(reveal(v, merchant, token) for _ in range(25) for v in (vault, other))
        )
    finally:
        await other.close()
        await committer.close()
        await database.close()
    assert told.count("shown") == limits.REVEALS_PER_HOUR
    assert told.count("reveal_limit") == 50 - limits.REVEALS_PER_HOUR
    entries = await installed.entries("vault:card:reveal")
    outcomes = [msgspec.json.decode(e["body"])["outcome"] for e in entries]
    assert outcomes.count("success") == limits.REVEALS_PER_HOUR


async def test_the_table_and_the_code_say_the_same_limit(installed: House) -> None:
    (row,) = await installed.sql(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint "
        "WHERE conname = 'reveal_hour_limit'"
    )
    assert f"<= {limits.REVEALS_PER_HOUR})" in row["text"]


async def test_a_grant_is_spent_to_the_last_and_no_further(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    tokens = [await tokenize(vault, merchant) for _ in range(30)]
    held = await grant(installed, merchant, 70)
    assert await many(vault, merchant, tokens) == [PAN] * 30
    told = await asyncio.gather(*(reveal(vault, merchant, tokens[0]) for _ in range(70)))
    assert told.count("shown") == 40 + limits.REVEALS_PER_HOUR
    (row,) = await installed.sql("SELECT remaining FROM vault.reveal_grant")
    assert row["remaining"] == 0
    with pytest.raises(StrongroomError, match="reveal_limit"):
        await many(vault, merchant, tokens)
    entries = [msgspec.json.decode(e["body"]) for e in await installed.entries("vault:card:reveal")]
    spent = [e for e in entries if e["facts"].get("grant") == id_from("grant", held)]
    assert len(spent) == 40


@pytest.mark.parametrize("other", ["merchant", "caller", "purpose", "expired"])
async def test_a_grant_is_for_one_merchant_caller_purpose_and_time(
    vault: CardVault, installed: House, other: str
) -> None:
    merchant = new_merchant()
    tokens = [await tokenize(vault, merchant) for _ in range(limits.REVEALS_PER_HOUR + 1)]
    await grant(
        installed,
        new_merchant() if other == "merchant" else merchant,
        100,
        caller="op_2" if other == "caller" else "op_1",
    )
    if other == "expired":
        installed.clock.move(3601)
    purpose = "dispute_evidence" if other == "purpose" else PURPOSE
    with pytest.raises(StrongroomError, match="reveal_limit"):
        await vault.reveal_batch(
            merchant, tokens, principal=Operator(), purpose=purpose, authorize=Policy()
        )


async def test_every_token_of_a_batch_stands_in_one_entry(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    tokens = [await tokenize(vault, merchant) for _ in range(3)]
    asked = [tokens[n % 3] if n < 3 else f"tok_0000000000000000000000{n:04d}" for n in range(250)]
    await grant(installed, merchant, 1000)
    assert (await many(vault, merchant, asked)).count("token_not_found") == 247
    bodies = [
        msgspec.json.decode(e["body"]) for e in await installed.entries("vault:card:reveal_batch")
    ]
    named = [token for body in bodies for token in body["facts"]["tokens"].split()]
    assert sorted(named) == sorted(tokens)
    assert PAN not in str(bodies)


async def test_a_batch_without_its_entry_opens_nothing(
    vault: CardVault, installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = new_merchant()
    tokens = [await tokenize(vault, merchant) for _ in range(2)]
    opened: list[object] = []

    async def watch(*args: object) -> bytes:
        opened.append(args)
        return b""

    monkeypatch.setattr(vault._keyring, "open_record", watch)
    await installed.sql("REVOKE INSERT ON journal.entry FROM strongroom_vault")
    with pytest.raises(StrongroomError, match="storage_unavailable"):
        await many(vault, merchant, tokens)
    assert not opened


async def test_a_damaged_card_spoils_only_itself(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    tokens = [await tokenize(vault, merchant) for _ in range(3)]
    await installed.sql(
        "UPDATE vault.card SET sealed_card = (SELECT sealed_card FROM vault.card WHERE id = $1) "
        "WHERE id = $2",
        uuid_of(tokens[0], "tok"),
        uuid_of(tokens[1], "tok"),
    )
    assert await many(vault, merchant, tokens) == [PAN, "record_not_opened", PAN]


async def test_what_is_granted_is_not_changed_by_the_vault(installed: House) -> None:
    role = await installed.as_role("strongroom_vault")
    try:
        for change in (
            "UPDATE vault.reveal_grant SET granted = 1000000",
            "UPDATE vault.reveal_grant SET valid_until = now() + interval '1 year'",
            "DELETE FROM vault.reveal_grant",
        ):
            with pytest.raises(Exception, match="permission denied"):
                await role.execute(change)
    finally:
        await role.close()
