"""Who is let in, who is not, what each is told, and how soon a change shows."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from strongroom.identity import KeyKind, PrincipalKind
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.identity.support import (
    House,
    MovableClock,
    Process,
    bearer,
    operator_key,
    secret_key,
)
from tests.identity.test_keytext import fresh

NOT_VALID = "The API key is not valid."


async def refused(process: Process, header: str | None, **more: str) -> StrongroomError:
    with pytest.raises(StrongroomError) as caught:
        await process.identity.authenticate(header, **more)
    assert caught.value.code == "unauthenticated"
    assert not caught.value.retryable
    shown = f"{caught.value!r} {caught.value.public} {caught.value.detail}"
    assert not header or len(header) < 20 or header[18:] not in shown
    return caught.value


async def test_each_kind_of_key_is_who_it_should_be(process: Process, merchant: str) -> None:
    identity = process.identity
    key, text = await identity.create_key(secret_key(merchant), actor="local:test")
    principal = await identity.authenticate(bearer(text), source="192.0.2.1")
    assert principal.id == principal.key_id == key.id
    assert (principal.kind, principal.merchant) == (PrincipalKind.MERCHANT, merchant)
    assert (principal.roles, principal.scopes) == (("merchant-backend",), None)
    assert principal.mode == "test"

    _, text = await identity.create_key(
        secret_key(merchant, kind=KeyKind.PUBLISHABLE, role="merchant-publishable"), actor="x"
    )
    assert text.reveal().startswith("sr_test_pk_")
    assert (await identity.authenticate(bearer(text))).roles == ("merchant-publishable",)

    scopes = frozenset({"payment:read"})
    _, text = await identity.create_key(
        secret_key(merchant, kind=KeyKind.RESTRICTED, scopes=scopes), actor="x"
    )
    assert (await identity.authenticate(bearer(text))).scopes == scopes

    _, text = await identity.create_key(operator_key(), actor="x")
    operator = await identity.authenticate(bearer(text))
    assert (operator.kind, operator.merchant) == (PrincipalKind.OPERATOR, None)
    assert operator.roles == ("operator-admin",)


async def test_what_is_no_key_never_reaches_the_store(process: Process) -> None:
    reads = process.identity._lookup.reads
    for header in (None, "", "Bearer", "Basic abc", "Bearer sr_test_sk_short"):
        error = await refused(process, header)
        assert "Bearer sr_" in error.public
    wrong_sum = fresh()[:-1] + "-"
    await refused(process, f"Bearer {wrong_sum}")
    text = fresh()
    flipped = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    await refused(process, f"Bearer {flipped}")
    error = await refused(process, f"Bearer {fresh('live')}")
    assert "test and live keys never mix" in error.public
    assert process.identity._lookup.reads == reads


async def test_a_test_key_is_nothing_in_live(house: House) -> None:
    async with house.process(mode="test") as test, house.process(mode="live") as live:
        shop = await test.identity.create_merchant("Shop", actor="x")
        _, text = await test.identity.create_key(secret_key(shop.id), actor="x")
        await test.identity.authenticate(bearer(text))
        error = await refused(live, bearer(text))
        assert error.detail == "wrong_mode"


async def test_unknown_revoked_expired_suspended_read_the_same(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = await identity.create_merchant("Shop", actor="x")
        revoked, text_revoked = await identity.create_key(secret_key(shop.id), actor="x")
        await identity.revoke_key(shop.id, revoked.id, actor="x", reason="left the company")
        soon = clock.now() + timedelta(seconds=5)
        _, text_expired = await identity.create_key(secret_key(shop.id, expires_at=soon), actor="x")
        _, text = await identity.create_key(secret_key(shop.id), actor="x")
        await identity.authenticate(bearer(text))
        await identity.authenticate(bearer(text_expired))
        clock.move(4.9)
        await identity.authenticate(bearer(text_expired))
        clock.move(0.1)
        expired = await refused(process, bearer(text_expired))

        await identity.suspend_merchant(shop.id, actor="x", reason="stolen keys")
        clock.move(1)
        suspended = await refused(process, bearer(text))
        await identity.resume_merchant(shop.id, actor="x", reason="all clear")
        clock.move(1)
        await identity.authenticate(bearer(text))

        unknown = await refused(process, f"Bearer {fresh()}")
        gone = await refused(process, bearer(text_revoked))
    errors = [unknown, gone, expired, suspended]
    assert [error.public for error in errors] == [NOT_VALID] * 4
    assert [e.detail for e in errors] == ["unknown", "revoked", "expired", "suspended"]


async def test_an_expiry_is_kept_while_the_key_is_remembered(house: House) -> None:
    """Expiry is looked at on every request, not when the key is read."""
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        shop = await process.identity.create_merchant("Shop", actor="x")
        _, text = await process.identity.create_key(
            secret_key(shop.id, expires_at=clock.now() + timedelta(seconds=1)), actor="x"
        )
        clock.move(0.8)
        await process.identity.authenticate(bearer(text))
        reads = process.identity._lookup.reads
        clock.move(0.2)
        await refused(process, bearer(text))
        assert process.identity._lookup.reads == reads


async def test_a_revocation_shows_in_another_process_within_a_second(house: House) -> None:
    async with house.process() as here, house.process() as there:
        shop = await here.identity.create_merchant("Shop", actor="x")
        key, text = await here.identity.create_key(secret_key(shop.id), actor="x")
        for _ in range(3):
            await there.identity.authenticate(bearer(text))
            await here.identity.authenticate(bearer(text))
        await here.identity.revoke_key(shop.id, key.id, actor="x", reason="leaked")
        revoked_s = time.monotonic()
        await refused(here, bearer(text))
        last_accepted_s = revoked_s
        while time.monotonic() - revoked_s < 1.5:
            try:
                await there.identity.authenticate(bearer(text))
                last_accepted_s = time.monotonic()
            except StrongroomError as error:
                assert error.detail == "revoked"  # noqa: PT017 - both outcomes are wanted
            await asyncio.sleep(0.005)
        assert last_accepted_s - revoked_s < 1.0
        await refused(there, bearer(text))


async def test_a_suspension_shows_in_another_process_within_a_second(house: House) -> None:
    async with house.process() as here, house.process() as there:
        shop = await here.identity.create_merchant("Shop", actor="x")
        _, text = await here.identity.create_key(secret_key(shop.id), actor="x")
        await there.identity.authenticate(bearer(text))
        await here.identity.suspend_merchant(shop.id, actor="x", reason="stolen keys")
        await asyncio.sleep(0.6)
        await refused(there, bearer(text))


async def test_a_busy_key_costs_few_reads(process: Process, merchant: str) -> None:
    identity = process.identity
    _, text = await identity.create_key(secret_key(merchant), actor="x")
    header = bearer(text)
    before = identity._lookup.reads
    await asyncio.gather(*(identity.authenticate(header) for _ in range(1000)))
    assert identity._lookup.reads == before + 1
    started_s = time.monotonic()
    while time.monotonic() - started_s < 1.2:
        await asyncio.gather(*(identity.authenticate(header) for _ in range(20)))
        await asyncio.sleep(0.01)
    assert 2 <= identity._lookup.reads - before <= 5


async def test_a_flood_of_inventions_is_cheap_and_evicts_nobody(
    process: Process, merchant: str
) -> None:
    identity = process.identity
    _, text = await identity.create_key(secret_key(merchant), actor="x")
    await identity.authenticate(bearer(text))
    before = identity._lookup.reads
    for _ in range(3):
        flood = [identity.authenticate(f"Bearer {fresh()}") for _ in range(2000)]
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        assert all(isinstance(o, StrongroomError) and o.detail == "unknown" for o in outcomes)
    assert identity._lookup.reads - before <= 20
    assert len(identity._lookup._known) == 1
    assert len(identity._lookup._unknown) <= 4096
    await identity.authenticate(bearer(text))


async def test_too_many_waiting_are_turned_away(process: Process) -> None:
    flood = [process.identity.authenticate(f"Bearer {fresh()}") for _ in range(6000)]
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    codes = {getattr(outcome, "code", None) for outcome in outcomes}
    assert codes == {"unauthenticated", "overloaded"}


async def test_nobody_is_let_in_while_the_store_is_gone(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        shop = await process.identity.create_merchant("Shop", actor="x")
        _, text = await process.identity.create_key(secret_key(shop.id), actor="x")
        await process.identity.authenticate(bearer(text))
        await process.database.close()
        await process.identity.authenticate(bearer(text))
        clock.move(0.5)
        with pytest.raises(StrongroomError) as caught:
            await process.identity.authenticate(bearer(text))
        assert caught.value.code == "storage_unavailable"
        assert caught.value.retryable
        await process.database.open()
        await process.identity.authenticate(bearer(text))


async def test_operators_name_the_merchant_they_act_on(process: Process, merchant: str) -> None:
    identity = process.identity
    _, text = await identity.create_key(operator_key("operator-read"), actor="x")
    operator = await identity.authenticate(bearer(text), merchant=merchant)
    assert (operator.merchant, operator.suspended) == (merchant, False)
    await identity.suspend_merchant(merchant, actor="x", reason="test")
    operator = await identity.authenticate(bearer(text), merchant=merchant)
    assert operator.suspended
    for unknown in (new_id("mer"), "mer_", "", "pay_01", merchant.upper()):
        with pytest.raises(StrongroomError) as caught:
            await identity.authenticate(bearer(text), merchant=unknown)
        assert caught.value.code == "merchant_not_found"


async def test_a_merchants_key_names_no_other_merchant(process: Process, merchant: str) -> None:
    """Whether the other one exists cannot be told from the answer."""
    identity = process.identity
    other = await identity.create_merchant("Other", actor="x")
    _, text = await identity.create_key(secret_key(merchant), actor="x")
    assert (await identity.authenticate(bearer(text), merchant=merchant)).merchant == merchant
    answers = set()
    for name in (other.id, new_id("mer"), "x"):
        with pytest.raises(StrongroomError) as caught:
            await identity.authenticate(bearer(text), merchant=name)
        answers.add((caught.value.code, caught.value.public, caught.value.detail))
    assert answers == {("merchant_not_found", "There is no such merchant.", "")}
