"""Bulk grants: two custodians approve exactly one of them; it is spent and ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import Keyring
from strongroom.vault import CardVault, VaultDesk
from tests.keys.custodians import enrolled
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy, tokenize
from tests.vault.conftest import PAN

ME, PURPOSE = "local:operator", "gateway_migration"


@pytest.fixture
async def keyring(installed: House) -> Keyring:
    return await installed.keyring()


@pytest.fixture
def desk(installed: House, keyring: Keyring) -> VaultDesk:
    return VaultDesk(installed.database, installed.committer, keyring, clock=installed.clock)


def asked(installed: House, merchant: str, **other: Any) -> dict[str, Any]:
    until = (installed.clock.now() + timedelta(hours=1)).replace(microsecond=0)
    given = {"principal": "op_1", "purpose": PURPOSE, "count": 50, "until": until}
    return {"merchant": merchant, "approval": None, "actor": ME, **given, **other}


async def test_a_grant_needs_the_word_of_two_custodians_for_exactly_it(
    vault: CardVault, installed: House, keyring: Keyring, desk: VaultDesk
) -> None:
    merchant, control = new_merchant(), keyring.dual_control
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    given = asked(installed, merchant)
    with pytest.raises(StrongroomError, match="approval_required"):
        await desk.grants.open(**given)
    until: datetime = given["until"]
    payload = {
        "merchant": merchant,
        "principal": "op_1",
        "purpose": PURPOSE,
        "count": 50,
        "until": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    made = await control.request("vault:reveal:bulk", payload, requester=ME, reason="migration")
    for one in (alice, bob):
        await one.approve(control, made, installed.clock.now())
    with pytest.raises(StrongroomError, match="approval_mismatch"):
        await desk.grants.open(**{**given, "approval": made.id, "count": 51})
    opened = await desk.grants.open(**{**given, "approval": made.id})
    with pytest.raises(StrongroomError, match="approval_used"):
        await desk.grants.open(**{**given, "approval": made.id})
    token = await tokenize(vault, merchant)
    for _ in range(limits.REVEALS_PER_HOUR + 5):
        pan = await vault.reveal(
            merchant, token, principal=Operator(), purpose=PURPOSE, authorize=Policy()
        )
        assert pan.reveal() == PAN
    assert (await desk.grants.list(merchant))[0].remaining == 25
    assert await desk.grants.list(new_merchant()) == []
    (entry,) = await installed.entries("vault:grant:open")
    body = msgspec.json.decode(entry["body"])
    assert (body["subject"], body["facts"]["count"]) == (opened.id, 50)
    assert body["facts"]["approval"] == made.id


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "curiosity"}, "purpose_required"),
        ({"count": 0}, "invalid_parameter"),
        ({"count": limits.REVEAL_GRANT_MAX + 1}, "invalid_parameter"),
        ({"principal": ""}, "invalid_parameter"),
        ({"until": timedelta(seconds=-1)}, "invalid_parameter"),
        ({"until": timedelta(days=7, seconds=2)}, "invalid_parameter"),
    ],
)
async def test_grants_that_nobody_may_have(
    installed: House, desk: VaultDesk, change: dict[str, Any], code: str
) -> None:
    if isinstance(change.get("until"), timedelta):
        change = {"until": installed.clock.now() + change["until"]}
    with pytest.raises(StrongroomError) as refused:
        await desk.grants.open(**asked(installed, new_merchant(), **change))
    assert refused.value.code == code
