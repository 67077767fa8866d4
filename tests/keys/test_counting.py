"""Uses of a data key: set aside before they happen, never more than that, replaced when worn."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import Context
from tests.keys.house import House, new_merchant

TOKEN = "tok_00000000000000000000000000"


async def test_uses_are_set_aside_before_they_happen(installed: House) -> None:
    """A process that dies has used at most what the database already counts."""
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    for starts in (1, 2, 3):
        keyring = await installed.keyring()  # a new process: what the last one had left is lost
        for _ in range(10):
            await keyring.seal(context, b"x")
        (row,) = await installed.sql("SELECT reserved FROM keys.dek")
        assert row["reserved"] == starts * limits.KEY_USES_BLOCK


async def test_a_used_up_block_is_replaced_and_reloading_a_key_spends_none(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEY_USES_BLOCK", 4)
    context = Context(new_merchant(), TOKEN, "card")
    keyring = await installed.keyring()
    for _ in range(3):
        await keyring.seal(context, b"x")
        installed.clock.move(limits.KEY_CACHE_TTL_S + 1)
    assert (await installed.sql("SELECT reserved FROM keys.dek"))[0]["reserved"] == 4
    for _ in range(3):
        await keyring.seal(context, b"x")
    assert (await installed.sql("SELECT reserved FROM keys.dek"))[0]["reserved"] == 8


async def test_a_worn_key_is_replaced_and_still_opens(installed: House) -> None:
    context = Context(new_merchant(), TOKEN, "card")
    keyring = await installed.keyring()
    old = await keyring.seal(context, b"old")
    await installed.sql("UPDATE keys.dek SET reserved = $1", limits.KEY_USES_ROTATE)

    keyring = await installed.keyring()
    new = await keyring.seal(context, b"new")
    assert (old[20:24], new[20:24]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert await keyring.open_record(context, old) == b"old"
    assert await keyring.open_record(context, new) == b"new"


async def test_the_limit_is_never_passed(installed: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no new key can be made, a key at 2^32 seals nothing more: fail closed."""
    context = Context(new_merchant(), TOKEN, "card")
    await (await installed.keyring()).seal(context, b"x")
    await installed.sql("UPDATE keys.dek SET reserved = $1", limits.KEY_USES_MAX)
    keyring = await installed.keyring()

    async def refuse(*_: object) -> None:
        raise StrongroomError("storage_unavailable", "no")

    monkeypatch.setattr(keyring._custody, "make_merchant_key", refuse)
    with pytest.raises(StrongroomError, match="key_exhausted"):
        await keyring.seal(context, b"y")
    with pytest.raises(asyncpg.CheckViolationError):
        await installed.sql("UPDATE keys.dek SET reserved = reserved + 1")


async def test_concurrent_seals_never_spend_more_than_is_set_aside(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEY_USES_BLOCK", 10)
    keyring = await installed.keyring()
    context = Context(new_merchant(), TOKEN, "card")
    await asyncio.gather(*(keyring.seal(context, b"x") for _ in range(95)))
    (row,) = await installed.sql("SELECT reserved FROM keys.dek")
    assert 95 <= row["reserved"] <= 110


async def test_a_key_seals_no_more_than_was_set_aside(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever seals more than asked for is stopped: fail closed, whatever the caller does."""
    monkeypatch.setattr(limits, "KEY_USES_BLOCK", 4)
    merchant = new_merchant()
    context = Context(merchant, TOKEN, "card")
    keyring = await installed.keyring()
    key = await keyring.data_key(merchant, uses=2)
    for _ in range(4):
        record = key.seal(context, b"x")
    with pytest.raises(StrongroomError, match="key_exhausted"):
        key.seal(context, b"x")
    opener = await keyring.key_of(merchant, record)
    with pytest.raises(StrongroomError, match="key_exhausted"):
        opener.seal(context, b"x")


async def test_a_busy_key_keeps_its_uses_while_many_others_come(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEY_CACHE_SIZE", 2)
    monkeypatch.setattr(limits, "KEY_USES_BLOCK", 8)
    busy = Context(new_merchant(), TOKEN, "card")
    keyring = await installed.keyring()
    for _ in range(16):
        await keyring.seal(busy, b"x")
        await keyring.seal(Context(new_merchant(), TOKEN, "card"), b"x")
    (row,) = await installed.sql("SELECT reserved FROM keys.dek ORDER BY reserved DESC LIMIT 1")
    assert row["reserved"] == 16
