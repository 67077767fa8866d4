"""A new pepper settles first, keys are found under both, and the old one goes at zero keys only."""

from __future__ import annotations

import asyncpg
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.keys.peppers import SETTLES
from tests.keys.house import House


async def test_a_pepper_is_replaced_without_interruption(installed: House) -> None:
    keyring, other = await installed.keyring(), await installed.keyring()
    peppers = keyring.api_key_hasher()
    (before,) = peppers.hashes(b"key")
    made, former = await peppers.rotate(actor="local:test")
    assert (made.record.version, former.state) == (2, "decrypt_only")
    with pytest.raises(StrongroomError, match="key_state_not_possible"):
        await peppers.rotate(actor="local:test")
    old, new = peppers.hashes(b"key")
    assert old == before and new.version == 2 and new.digest != old.digest
    assert other.api_key_hasher().hashes(b"key") == [before], "not seen yet, and not needed yet"
    installed.clock.move(SETTLES.total_seconds() + 1)
    assert peppers.hashes(b"key") == [new, old]
    await other.refresh()
    assert other.api_key_hasher().hashes(b"key") == [new, old]
    assert peppers(b"key") == new.digest
    assert (await installed.keyring()).api_key_hasher().hashes(b"key") == [new, old]


async def test_a_pepper_that_a_key_needs_is_not_destroyed(installed: House) -> None:
    installed.spoiled = True
    keyring = await installed.keyring()
    _, former = await keyring.api_key_hasher().rotate(actor="local:test")
    name = next(k.id for k in await keyring.inventory() if k.state == "decrypt_only")
    insert = (
        "INSERT INTO iam.api_key (merchant_id, id, hash, pepper_version, kind, role, owner, hint, "
        "created_at, created_by, version) VALUES (gen_random_uuid(), gen_random_uuid(), "
        "sha256(random()::text::bytea), 1, 'sk', 'merchant-backend', 'x', 'x', now(), 'x', 1)"
    )
    await installed.sql(insert)
    installed.clock.move(3600)
    rotation = installed.rotation(keyring)
    assert await rotation.references(name) == 1
    with pytest.raises(StrongroomError, match="1 rows refer to it"):
        await rotation.destroy(name, actor="x")
    vault = await installed.as_role("strongroom_vault")
    with pytest.raises(asyncpg.PostgresError, match="hashed under pepper 1"):
        await vault.execute(
            "UPDATE keys.service_key SET state = 'destroyed', wrapped = NULL, "
            "revision = revision + 1 WHERE id = $1",
            former.record.id,
        )
    await vault.close()
    await installed.sql("UPDATE iam.api_key SET revoked_at = now()")
    await rotation.destroy(name, actor="x")
    assert len(keyring.api_key_hasher().hashes(b"key")) == 1
    serving = await installed.as_role("strongroom_pay")
    with pytest.raises(asyncpg.PostgresError, match="pepper 1 is out of use"):
        await serving.execute(insert)
    await serving.close()
