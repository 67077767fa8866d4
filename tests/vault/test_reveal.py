"""Reveal: purpose, limit, policy and journal entry come first; the card number last."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Pan
from strongroom.vault import CardVault
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy, tokenize
from tests.vault.conftest import PAN


async def test_reveal_asks_records_then_decrypts(vault: CardVault, installed: House) -> None:
    merchant, policy = new_merchant(), Policy()
    token = await tokenize(vault, merchant)
    pan = await vault.reveal(
        merchant,
        token,
        principal=Operator(),
        purpose="dispute_evidence",
        authorize=policy,
        request_id="r1",
    )
    assert isinstance(pan, Pan) and pan.reveal() == PAN
    assert policy.asked == [
        {
            "principal": Operator(),
            "action": "token:reveal",
            "merchant": merchant,
            "context": {"purpose": "dispute_evidence"},
        }
    ]
    (entry,) = await installed.entries("vault:card:reveal")
    body = msgspec.json.decode(entry["body"])
    assert (body["actor"], body["subject"], body["outcome"], body["facts"]) == (
        "op_1",
        token,
        "success",
        {"purpose": "dispute_evidence"},
    )


async def test_refused_reveals_are_recorded_and_show_nothing(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    allowed, refused = Policy(), Policy(allow=False)
    for policy, purpose, code in (
        (refused, "dispute_evidence", "permission_denied"),
        (allowed, "curiosity", "purpose_required"),
        (allowed, "", "purpose_required"),
    ):
        with pytest.raises(StrongroomError, match=code):
            await vault.reveal(
                merchant, token, principal=Operator(), purpose=purpose, authorize=policy
            )
    assert not allowed.asked
    bodies = [msgspec.json.decode(e["body"]) for e in await installed.entries("vault:card:reveal")]
    assert [(body["outcome"], body["reason"]) for body in bodies] == [
        ("refused", "permission_denied"),
        ("refused", "purpose_required"),
        ("refused", "purpose_required"),
    ]


async def test_no_entry_no_reveal(
    vault: CardVault, installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's insert fails: nothing is decrypted (fail closed)."""
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    opened: list[object] = []

    async def watch(*args: object) -> bytes:
        opened.append(args)
        return b""

    monkeypatch.setattr(vault._keyring, "open_record", watch)
    await installed.sql("REVOKE INSERT ON journal.entry FROM strongroom_vault")
    with pytest.raises(StrongroomError, match="storage_unavailable"):
        await vault.reveal(
            merchant, token, principal=Operator(), purpose="dispute_evidence", authorize=Policy()
        )
    assert not opened


async def test_reveal_is_no_export(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)

    async def reveal(who: str) -> Pan:
        return await vault.reveal(
            merchant, token, principal=Operator(who), purpose="dispute_evidence", authorize=Policy()
        )

    for _ in range(limits.REVEALS_PER_HOUR):
        await reveal("op_1")
    with pytest.raises(StrongroomError, match="reveal_limit"):
        await reveal("op_1")
    await reveal("op_2")
    installed.clock.move(3601)
    await reveal("op_1")


async def test_an_asynchronous_policy_is_waited_for(vault: CardVault) -> None:
    merchant = new_merchant()
    token = await tokenize(vault, merchant)

    async def no(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise StrongroomError("permission_denied", "Not allowed.")

    with pytest.raises(StrongroomError, match="permission_denied"):
        await vault.reveal(
            merchant, token, principal=Operator(), purpose="dispute_evidence", authorize=no
        )
