"""Refused callers in the journal: the first at once, floods added up, nothing lost, no address."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.access import Authorizer
from strongroom.identity import Principal, PrincipalKind, Refused
from strongroom.kernel.errors import StrongroomError
from tests.identity.support import House, MovableClock, Process, bearer, secret_key
from tests.identity.test_keytext import fresh

REJECT = "identity:api_key:reject"


async def knock(process: Process, header: str | None, source: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(StrongroomError):
            await process.identity.authenticate(header, source=source)


async def test_a_flood_is_one_entry_at_once_and_one_a_minute(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        header = f"Bearer {fresh()}"
        await knock(process, header, "192.0.2.1", 3)
        assert await identity.flush_refusals() == 1
        for _ in range(58):
            clock.move(1)
            await knock(process, header, "192.0.2.1", 10)
            assert await identity.flush_refusals() == 0
        clock.move(2)
        assert await identity.flush_refusals() == 1
        clock.move(1)
        await knock(process, header, "192.0.2.1")
        assert await identity.flush_refusals() == 0
        assert await identity.flush_refusals(final=True) == 1
        entries = await house.entries(REJECT)
        assert [e["facts"]["count"] for e in entries] == [3, 580, 1]
        assert {e["outcome"] for e in entries} == {"refused"}
        assert {e["reason"] for e in entries} == {"unknown"}
        assert entries[1]["facts"]["first_at"] == "2030-01-01T00:00:01.000Z"
        assert entries[1]["facts"]["last_at"] == "2030-01-01T00:00:58.000Z"


async def test_quiet_sources_are_forgotten(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        await knock(process, None, "192.0.2.1")
        await process.identity.flush_refusals()
        clock.move(60)
        await process.identity.flush_refusals()
        assert process.identity.refusals._counts == {}
        await knock(process, None, "192.0.2.1")
        assert await process.identity.flush_refusals() == 1


async def test_sources_keys_and_reasons_are_told_apart(
    house: House, process: Process, merchant: str
) -> None:
    identity = process.identity
    key, text = await identity.create_key(secret_key(merchant), actor="x")
    await identity.revoke_key(merchant, key.id, actor="x", reason="r")
    unknown = f"Bearer {fresh()}"
    await knock(process, unknown, "192.0.2.1")
    await knock(process, unknown, "192.0.2.2")
    await knock(process, f"Bearer {fresh()}", "192.0.2.1")
    await knock(process, bearer(text), "192.0.2.1")
    await knock(process, "Bearer nonsense", "192.0.2.1")
    await knock(process, None, "")
    assert await identity.flush_refusals() == 6
    one, two, three, revoked, malformed, missing = await house.entries(REJECT)
    assert one["subject"] == two["subject"] != three["subject"]
    assert one["subject"].startswith("sr_test_sk_")
    assert one["facts"]["source"] == three["facts"]["source"] != two["facts"]["source"]
    assert one["facts"]["source"] == await identity.refusals.commitment("192.0.2.1")
    assert (revoked["subject"], revoked["reason"]) == (key.id, "revoked")
    assert revoked["merchant"] == merchant
    assert {one["merchant"], malformed["merchant"], missing["merchant"]} == {None}
    assert (malformed["reason"], missing["reason"]) == ("malformed", "missing")
    assert "source" not in missing["facts"]


async def test_no_address_and_no_key_stands_in_the_journal(house: House, process: Process) -> None:
    text = fresh()
    await knock(process, f"Bearer {text}", "198.51.100.77")
    await process.identity.flush_refusals()
    stored = await house.everything_stored()
    assert b"198.51.100.77" not in stored
    assert text[11:15].encode() not in stored
    assert b"identity:api_key:reject" in stored


async def test_memory_is_bounded_and_the_sum_stays_right(house: House, process: Process) -> None:
    for number in range(3000):
        await knock(process, None, f"2001:db8::{number:x}")
    assert len(process.identity.refusals._counts) <= 1001
    await process.identity.flush_refusals()
    entries = await house.entries(REJECT)
    assert len(entries) == 1001
    assert sum(e["facts"]["count"] for e in entries) == 3000
    (many,) = [e for e in entries if e["subject"] == "many"]
    assert many["facts"]["count"] == 2000
    assert many["reason"] == "missing"


async def test_what_could_not_be_written_is_kept(house: House, process: Process) -> None:
    identity = process.identity
    await knock(process, None, "192.0.2.1", 4)
    await house.owner.execute("REVOKE INSERT ON journal.entry FROM strongroom_pay")
    with pytest.raises(StrongroomError):
        await identity.flush_refusals()
    await knock(process, None, "192.0.2.1")
    await house.owner.execute("GRANT INSERT ON journal.entry TO strongroom_pay")
    assert await identity.flush_refusals() == 1
    assert [e["facts"]["count"] for e in await house.entries(REJECT)] == [5]


async def test_what_is_counted_while_writing_is_written_next(
    house: House, process: Process
) -> None:
    identity = process.identity
    await knock(process, None, "192.0.2.1", 2)
    flush = asyncio.create_task(identity.flush_refusals())
    await asyncio.sleep(0)
    assert process.committer.depth == 1
    await knock(process, None, "192.0.2.1", 3)
    await flush
    await identity.flush_refusals(final=True)
    assert [e["facts"]["count"] for e in await house.entries(REJECT)] == [2, 3]


async def test_an_entry_the_journal_will_not_take_blocks_no_other(
    house: House, process: Process
) -> None:
    refusals = process.identity.refusals
    refusals.note(Refused(action=REJECT, reason="unknown", subject="4242424242424242"))
    refusals.note(Refused(action=REJECT, reason="unknown", subject="key_1"))
    await refusals.flush()
    assert [e["subject"] for e in await house.entries(REJECT)] == ["withheld", "key_1"]


async def test_denials_are_entries_too(house: House, process: Process) -> None:
    authorizer = Authorizer(mode="test", refusals=process.identity.refusals)
    caller = Principal(
        id="key_1",
        kind=PrincipalKind.MERCHANT,
        merchant="mer_01kb0000000000000000000000",
        mode="test",
        roles=("merchant-publishable",),
    )
    for _ in range(3):
        with pytest.raises(StrongroomError):
            authorizer.check(
                caller, action="payment:create", merchant=caller.merchant, source="192.0.2.1"
            )
    with pytest.raises(StrongroomError):
        authorizer.check(caller, action="token:create", merchant="mer_x", source="192.0.2.1")
    authorizer.check(caller, action="token:create", merchant=caller.merchant)
    authorizer.explain(caller, action="payment:create", merchant=caller.merchant)
    await process.identity.flush_refusals()
    denied, crossed = await house.entries("access:decision:deny")
    assert (denied["actor"], denied["subject"]) == ("key_1", "payment:create")
    assert (denied["reason"], denied["facts"]["count"]) == ("not_permitted", 3)
    assert denied["merchant"] == caller.merchant
    assert denied["facts"]["policy_set"] == authorizer.policy_set
    assert (crossed["reason"], crossed["facts"]["policy"]) == ("forbidden", "deny-other-merchant")
