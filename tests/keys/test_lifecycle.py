"""States of keys go forward only: in the table of the code, in the database, and for every pair."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from
from strongroom.keys import Context, records
from strongroom.keys.decide import (
    NEXT,
    STATES,
    days_left,
    may_become,
    may_destroy,
    may_open,
    may_seal,
)
from strongroom.keys.model import State
from strongroom.storage import ConstraintViolated
from tests.keys.house import House, new_merchant

NOW = datetime(2026, 11, 25, tzinfo=UTC)
TOKEN = "tok_00000000000000000000000000"
REST_S = limits.KEY_CACHE_TTL_S + limits.KEY_REST_S


@given(st.lists(st.sampled_from(STATES), max_size=12))
def test_no_walk_comes_back_from_compromised_or_destroyed(wishes: list[State]) -> None:
    state: State = "pre_active"
    seen = [state]
    for wish in wishes:
        if may_become(state, wish):
            state = wish
            seen.append(state)
    assert len(seen) == len(set(seen)), "no state is entered twice"
    if "compromised" in seen:
        assert set(seen[seen.index("compromised") :]) <= {"compromised", "destroyed"}
    if "destroyed" in seen:
        assert seen[-1] == "destroyed"


def test_what_each_state_is_good_for() -> None:
    assert [state for state in STATES if may_seal(state)] == ["active"]
    assert [state for state in STATES if may_open(state)] == ["active", "decrypt_only"]
    rotating = [state for state in STATES if may_open(state, rotating=True)]
    assert rotating == ["active", "decrypt_only", "compromised"]
    assert not NEXT["destroyed"]
    assert "destroyed" not in NEXT["active"], "an active key is replaced first"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("references", [0, 1])
@pytest.mark.parametrize("rested", [True, False])
def test_a_key_is_destroyed_only_unused_and_rested(
    state: State, references: int, rested: bool
) -> None:
    since = NOW - timedelta(seconds=REST_S if rested else REST_S - 1)
    why = may_destroy(state, since=since, references=references, now=NOW)
    free = not references and (rested or state == "pre_active")
    assert (why is None) == (free and state in ("pre_active", "decrypt_only", "compromised"))


def test_days_left_follow_the_cryptoperiod() -> None:
    made = NOW - timedelta(days=360)
    assert days_left("dek", "data", made, NOW) == 5
    assert days_left("kek", "index", made, NOW) == 5, "a KEK's period, whatever it is for"
    assert days_left("service", "journal-signing", made - timedelta(days=10), NOW) == -5
    assert days_left("service", "api-key-pepper", made, NOW) is None


async def test_the_database_allows_exactly_the_same_turns(installed: House) -> None:
    await (await installed.keyring()).seal(Context(new_merchant(), TOKEN, "card"), b"x")
    owner = await installed.as_role("postgres")
    installed.spoiled = True  # a role's setting is changed below
    try:
        for before, after in product(STATES, STATES):
            await owner.execute("SET session_replication_role = replica")
            await owner.execute(
                "UPDATE keys.dek SET state = $1, wrapped = CASE $1 WHEN 'destroyed' THEN NULL "
                "ELSE decode(repeat('00', 60), 'hex') END",
                before,
            )
            await owner.execute("SET session_replication_role = origin")
            turn = (
                "UPDATE keys.dek SET state = $1, revision = revision + 1, "
                "wrapped = CASE $1 WHEN 'destroyed' THEN NULL ELSE wrapped END"
            )
            if before == after or may_become(before, after):
                await owner.execute(turn, after)
            else:
                with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                    await owner.execute(turn, after)
    finally:
        await owner.close()


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'decrypt_only'", "key_revision_counts"),
        ("kcv = decode(repeat('00', 16), 'hex')", "key_identity_is_fixed"),
        ("id = gen_random_uuid()", "key_identity_is_fixed"),
        ("created_at = now()", "key_identity_is_fixed"),
        ("state = 'destroyed', revision = revision + 1", "key_state_goes_forward"),
    ],
)
async def test_a_record_changes_only_by_a_new_revision(
    installed: House, change: str, constraint: str
) -> None:
    await (await installed.keyring()).seal(Context(new_merchant(), TOKEN, "card"), b"x")
    owner = await installed.as_role("postgres")
    try:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await owner.execute(f"UPDATE keys.dek SET {change}")
        assert getattr(refused.value, "constraint_name", None) == constraint
    finally:
        await owner.close()


async def data_kek(installed: House) -> str:
    (row,) = await installed.sql("SELECT id FROM keys.kek WHERE purpose = 'data' AND version = 1")
    return id_from("kek", row["id"])


async def test_no_key_is_made_under_a_destroyed_kek(installed: House) -> None:
    """A process that cannot hear of rotations would seal what nobody opens after it ended."""
    stale, keyring = await installed.keyring(), await installed.keyring()
    await installed.rotated(keyring, "kek")
    installed.clock.move(REST_S)
    await installed.rotation(keyring).destroy(await data_kek(installed), actor="op_1")
    with pytest.raises(ConstraintViolated) as caught:
        await stale.seal(Context(new_merchant(), TOKEN, "card"), b"x")
    assert caught.value.constraint == "key_under_living_kek"
    assert not await installed.sql("SELECT id FROM keys.dek")
    await stale.refresh()
    context = Context(new_merchant(), TOKEN, "card")
    sealed = await stale.seal(context, b"x")
    assert await (await installed.keyring()).open_record(context, sealed) == b"x"


async def test_a_key_made_while_its_kek_is_destroyed_keeps_the_kek(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale, keyring = await installed.keyring(), await installed.keyring()
    await installed.rotated(keyring, "kek")
    installed.clock.move(REST_S)
    context, counted = Context(new_merchant(), TOKEN, "card"), records.count_under
    sealed: list[bytes] = []

    async def counted_too_early(*args: Any) -> int:
        found = await counted(*args)
        if not sealed:
            sealed.append(await stale.seal(context, b"x"))
        return found

    monkeypatch.setattr(records, "count_under", counted_too_early)
    with pytest.raises(StrongroomError, match="1 rows refer to it"):
        await installed.rotation(keyring).destroy(await data_kek(installed), actor="op_1")
    assert await (await installed.keyring()).open_record(context, sealed[0]) == b"x"
