"""Client keys go on opening while the keys above them are replaced."""

from __future__ import annotations

from strongroom.keys.client_keys.model import SUITES
from strongroom.keys.rotation import Rotation
from strongroom.vault import CardVault, EgressPolicy
from strongroom.vault.rotation import CardRotation
from tests.keys.house import House, new_merchant
from tests.support.clients import encrypt
from tests.vault.clients import document, said


async def test_a_new_wrapping_key_takes_the_client_keys_with_it(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    before = await wrapped_by(installed)
    keyring = await installed.keyring()
    rotation = Rotation(keyring, CardRotation(installed.database, keyring), settle_s=0)
    installed.clock.move(1)
    await rotation.start("kek", actor="system:test")
    done = await rotation.work()
    assert done is not None and done.state == "done"
    after = await wrapped_by(installed)
    assert len(before) == len(after) == 1 and before != after
    fresh = CardVault(
        installed.database, installed.committer, await installed.keyring(), egress=EgressPolicy(),
        clock=installed.clock,
    )  # fmt: skip
    for suite in SUITES:
        assert await said(vault, merchant, encrypt(keys, suite)) == "accepted"
        assert await said(fresh, merchant, encrypt(keys, suite)) == "accepted"
    await fresh.close()


async def wrapped_by(installed: House) -> set[str]:
    return {str(row["kek_id"]) for row in await installed.sql("SELECT kek_id FROM keys.client_key")}
