"""The vault on a real database: tokens in their whole life, and who may see what."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Cvc
from strongroom.vault import CardVault, EgressPolicy
from tests.keys.house import House, house, new_merchant
from tests.vault.callers import AMEX, Operator, Policy, tokenize
from tests.vault.conftest import PAN, a_card


async def test_a_token_describes_its_card(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    view = await vault.tokenize(
        merchant, a_card(AMEX, cvc="1234", holder="Ada"), saved=False, actor="key_1", request_id="r"
    )
    assert view == await vault.describe(merchant, view.token)
    assert (view.brand, view.bin, view.last4) == ("amex", "378282", "0005")
    assert (view.exp_month, view.exp_year, view.saved) == (12, 2031, False)
    assert view.expires_at == installed.clock.now() + timedelta(seconds=limits.TOKEN_TTL_UNSAVED_S)
    assert view.token.startswith("tok_") and view.fingerprint.startswith("fp_")
    (entry,) = await installed.entries("vault:card:tokenize")
    assert entry["subject"] == view.token
    body = msgspec.json.decode(entry["body"])
    assert (body["actor"], body["request"], body["merchant"]) == ("key_1", "r", merchant)
    assert body["facts"] == {"brand": "amex", "saved": False}


async def test_fingerprints_link_cards_within_a_merchant_only(
    vault: CardVault, installed: House
) -> None:
    one, two = new_merchant(), new_merchant()

    async def fingerprint(merchant: str, number: str) -> str:
        view = await vault.tokenize(merchant, a_card(number), saved=False, actor="k")
        return view.fingerprint

    assert await fingerprint(one, PAN) == await fingerprint(one, PAN)
    assert await fingerprint(one, PAN) != await fingerprint(one, AMEX)
    assert await fingerprint(one, PAN) != await fingerprint(two, PAN)
    raw = await installed.sql("SELECT DISTINCT merchant_id, fingerprint FROM vault.card")
    assert len({row["fingerprint"] for row in raw}) == len(raw) == 3
    shown = uuid_of(await fingerprint(one, PAN), "fp").bytes
    assert not any(shown in row["fingerprint"] for row in raw), "what is shown is not what is kept"


async def test_another_merchants_token_does_not_exist(vault: CardVault) -> None:
    merchant, other = new_merchant(), new_merchant()
    token = await tokenize(vault, merchant)
    for attempt in (
        vault.describe(other, token),
        vault.delete(other, token, actor="k"),
        vault.mark_saved(other, token, actor="k"),
        vault.describe(merchant, "tok_00000000000000000000000000"),
    ):
        with pytest.raises(StrongroomError, match="token_not_found"):
            await attempt
    assert await vault.describe(merchant, token)


async def test_commitments_are_keyed_and_leave_the_code_out(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    first = await vault.commitment(merchant, a_card(cvc="123", holder="Ada"))
    assert len(first) == 32
    assert first == await vault.commitment(merchant, a_card(cvc="999", holder="Ada"))
    assert first != await vault.commitment(merchant, a_card(holder="Bob"))
    assert first != await vault.commitment(merchant, a_card(AMEX, holder="Ada"))
    assert first != await vault.commitment(new_merchant(), a_card(holder="Ada"))
    assert not await installed.sql("SELECT 1 FROM vault.card")


async def test_a_batch_is_stored_whole(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    cards = [a_card(), a_card(AMEX), a_card()]
    views = await vault.tokenize_batch(merchant, cards, saved=True, actor="k")
    assert [view.brand for view in views] == ["visa", "amex", "visa"]
    assert len({view.token for view in views}) == 3
    for view in views:
        assert await vault.describe(merchant, view.token) == view
    (entry,) = await installed.entries("vault:card:tokenize_batch")
    facts = json.loads(entry["body"])["facts"]
    named = " ".join(view.token for view in views)
    assert facts == {"cards": 3, "saved": True, "tokens": named}


async def test_a_batch_with_one_bad_card_stores_none(vault: CardVault, installed: House) -> None:
    bad = msgspec.structs.replace(a_card(), exp_year=2020)
    with pytest.raises(StrongroomError, match="expired_card") as refused:
        await vault.tokenize_batch(new_merchant(), [a_card(), bad], saved=True, actor="k")
    assert refused.value.param == "cards[1].exp_year"
    for cards in ([], [a_card()] * (limits.BATCH_TOKENIZE_MAX + 1)):
        with pytest.raises(StrongroomError, match="batch_too_large"):
            await vault.tokenize_batch(new_merchant(), cards, saved=True, actor="k")
    assert not await installed.sql("SELECT 1 FROM vault.card")
    assert not await installed.entries("vault:card:tokenize_batch")


async def test_the_largest_batch_fits_one_change(vault: CardVault, installed: House) -> None:
    cards = [a_card()] * limits.BATCH_TOKENIZE_MAX
    views = await vault.tokenize_batch(new_merchant(), cards, saved=False, actor="k")
    assert len({view.token for view in views}) == limits.BATCH_TOKENIZE_MAX
    entries = await installed.entries("vault:card:tokenize_batch")
    named = [t for entry in entries for t in json.loads(entry["body"])["facts"]["tokens"].split()]
    assert sorted(named) == sorted(view.token for view in views)
    assert len(entries) == limits.BATCH_TOKENIZE_MAX // limits.TOKENS_PER_ENTRY


async def test_real_cards_never_enter_test_mode(vault: CardVault, installed: House) -> None:
    with pytest.raises(StrongroomError, match="live_card_in_test_mode"):
        await tokenize(vault, new_merchant(), "4539148803436467")
    assert not await installed.sql("SELECT 1 FROM keys.dek"), "not even a key was made"


async def test_live_mode_takes_real_cards_only(postgres: Any, tmp_path: Any) -> None:
    async with house(postgres, tmp_path, mode="live") as live:
        vault = CardVault(
            live.database, live.committer, await live.keyring(), egress=EgressPolicy()
        )
        with pytest.raises(StrongroomError, match="test_card_in_live_mode"):
            await tokenize(vault, new_merchant())
        assert await tokenize(vault, new_merchant(), "4539148803436467")


# --- the end of a token ---


async def test_delete_removes_the_card_and_leaves_a_tombstone(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant, saved=True)
    await vault.delete(merchant, token, actor="key_9")
    (row,) = await installed.sql("SELECT * FROM vault.card")
    assert row["ended"] == "deleted"
    for column in ("fingerprint", "sealed_card", "sealed_display", "index_version", "key_version"):
        assert row[column] is None
    (entry,) = await installed.entries("vault:card:delete")
    assert (entry["subject"], '"actor":"key_9"' in entry["body"]) == (token, True)
    for again in (
        vault.describe(merchant, token),
        vault.delete(merchant, token, actor="k"),
        vault.mark_saved(merchant, token, actor="k"),
    ):
        with pytest.raises(StrongroomError, match="token_not_found"):
            await again


async def test_an_unsaved_card_expires_and_is_purged(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    kept = await tokenize(vault, merchant, saved=True)

    installed.clock.move(limits.TOKEN_TTL_UNSAVED_S - 1)
    assert await vault.describe(merchant, token)
    installed.clock.move(1)
    with pytest.raises(StrongroomError, match="token_expired"):
        await vault.describe(merchant, token)
    assert await vault.purge_expired() == 0, "still there for payments under way"

    installed.clock.move(limits.TOKEN_PURGE_GRACE_S)
    assert await vault.purge_expired() == 1
    assert await vault.purge_expired() == 0
    (row,) = await installed.sql("SELECT * FROM vault.card WHERE ended IS NOT NULL")
    assert (row["ended"], row["sealed_card"], row["fingerprint"]) == ("expired", None, None)
    (entry,) = await installed.entries("vault:card:purge")
    assert msgspec.json.decode(entry["body"])["facts"] == {"cards": 1}
    with pytest.raises(StrongroomError, match="token_expired"):
        await vault.describe(merchant, token)
    assert await vault.describe(merchant, kept)


async def test_purging_works_through_many_cards_of_many_merchants(
    vault: CardVault, installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PURGE_BATCH", 4)
    for merchant in (new_merchant(), new_merchant(), new_merchant()):
        await vault.tokenize_batch(merchant, [a_card()] * 3, saved=False, actor="k")
    installed.clock.move(limits.TOKEN_TTL_UNSAVED_S + limits.TOKEN_PURGE_GRACE_S)
    assert await vault.purge_expired() == 9
    left = await installed.sql("SELECT 1 FROM vault.card WHERE sealed_card IS NOT NULL")
    assert not left, "rows past due = 0 (PCI DSS 3.2.1)"


async def test_a_held_card_outlives_its_day_but_not_a_week(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    until = installed.clock.now() + timedelta(days=3)
    await vault.hold(merchant, token, until=until, actor="k")
    await vault.hold(merchant, token, until=until - timedelta(days=1), actor="k")
    installed.clock.move(2 * 24 * 3600)
    assert await vault.purge_expired() == 0
    with pytest.raises(StrongroomError, match="token_expired"):
        await vault.describe(merchant, token)  # held for its payment, not for new ones
    installed.clock.move(24 * 3600)
    assert await vault.purge_expired() == 1
    assert len(await installed.entries("vault:card:hold")) == 1

    fresh = await tokenize(vault, merchant)
    too_long = installed.clock.now() + timedelta(days=7, seconds=1)
    with pytest.raises(StrongroomError, match="hold_too_long"):
        await vault.hold(merchant, fresh, until=too_long, actor="k")


async def test_a_saved_card_stays(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    view = await vault.mark_saved(merchant, token, actor="k")
    assert (view.saved, view.expires_at) == (True, None)
    await vault.mark_saved(merchant, token, actor="k")
    assert len(await installed.entries("vault:card:save")) == 1
    installed.clock.move(30 * 24 * 3600)
    assert await vault.purge_expired() == 0
    assert await vault.describe(merchant, token) == view


async def test_a_hold_that_races_a_purge_wins_or_loses_whole(
    vault: CardVault, installed: House
) -> None:
    """The purge writes only rows that are still as due as when it looked."""
    from strongroom.storage import Change
    from strongroom.vault import records

    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    now = installed.clock.now() + timedelta(days=2)
    due = await records.due(installed.database, now, limit=10)
    await vault.hold(merchant, token, until=now + timedelta(days=1), actor="k")
    change = Change()
    records.purge_cards(change, due, at=now)
    await installed.committer.submit(change)
    assert (await installed.sql("SELECT ended FROM vault.card"))[0]["ended"] is None


async def test_racing_deletes_and_saves_end_one_way(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    for _ in range(5):
        token = await tokenize(vault, merchant)
        await asyncio.gather(
            vault.delete(merchant, token, actor="k"),
            vault.mark_saved(merchant, token, actor="k"),
            vault.delete(merchant, token, actor="k"),
            return_exceptions=True,
        )
        with pytest.raises(StrongroomError, match="token_not_found"):
            await vault.describe(merchant, token)
    assert len(await installed.entries("vault:card:delete")) == 5


async def test_old_tombstones_go_but_cards_are_never_deleted_outright(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant, saved=True)
    connection = await installed.as_role("strongroom_vault")
    try:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute("DELETE FROM vault.card")
    finally:
        await connection.close()
    await vault.delete(merchant, token, actor="k")
    installed.clock.move(limits.TOMBSTONE_RETENTION_S + 1)
    await vault.purge_expired()
    assert not await installed.sql("SELECT 1 FROM vault.card")


# --- moved ciphertext ---


@pytest.mark.parametrize("column", ["sealed_card", "sealed_display"])
async def test_ciphertext_moved_to_another_row_does_not_open(
    vault: CardVault, installed: House, column: str
) -> None:
    merchant, other = new_merchant(), new_merchant()
    for owner in (merchant, other):
        mine = await tokenize(vault, merchant)
        theirs = await tokenize(vault, owner)
        await installed.sql(
            f"UPDATE vault.card a SET {column} = b.{column} FROM vault.card b "
            "WHERE a.id = $1 AND b.id = $2",
            uuid_of(mine, "tok"),
            uuid_of(theirs, "tok"),
        )
        reading = (
            vault.describe(merchant, mine)
            if column == "sealed_display"
            else vault.reveal(
                merchant, mine, principal=Operator(), purpose="dispute_evidence", authorize=Policy()
            )
        )
        with pytest.raises(StrongroomError, match="record_not_opened"):
            await reading


async def test_a_display_record_is_never_taken_for_a_card(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    await installed.sql("UPDATE vault.card SET sealed_display = sealed_card")
    with pytest.raises(StrongroomError, match="record_not_opened"):
        await vault.describe(merchant, token)


async def test_a_cards_row_is_whole_or_gone(vault: CardVault, installed: House) -> None:
    await tokenize(vault, new_merchant())
    for change in (
        "sealed_card = NULL",
        "ended_at = now(), ended = 'deleted'",
        "saved = true",
        "purge_after = NULL",
        "ended = 'expired'",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await installed.sql(f"UPDATE vault.card SET {change}")


async def test_the_same_security_code_seals_to_different_bytes(vault: CardVault) -> None:
    handles = [await vault.hold_cvc("mer_x", "tok_x", Cvc("123")) for _ in range(2)]
    assert handles[0].sealed != handles[1].sealed
