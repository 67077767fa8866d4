"""Client keys: made of seeds, published, rotated, retired, and useless once a row was changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from jwcrypto import jwk

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_uuid7
from strongroom.kernel.limits import CLIENT_KEY_AHEAD_S, CLIENT_KEY_OVERLAP_S, CLIENT_KEY_USE_S
from strongroom.kernel.secret import Secret
from strongroom.keys.client_keys import suites
from strongroom.keys.client_keys.model import SUITES
from tests.keys.house import House

DRAFT_SEED = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"
DRAFT_PUBLIC_SHA256 = "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
"""draft-connolly-cfrg-xwing-kem appendix C, first vector: seed, and the hash of its public key."""


def test_xwing_seeds_expand_as_published() -> None:
    public = suites.public_bytes("hpke-xwing", Secret(bytes.fromhex(DRAFT_SEED)))
    assert len(public) == 1184 + 32
    assert hashlib.sha256(public).hexdigest() == DRAFT_PUBLIC_SHA256


def test_a_published_message_to_an_xwing_key_opens() -> None:
    vector = json.loads((Path(__file__).parent / "vectors" / "hpke-xwing.json").read_text())
    key = suites.opening_key("hpke-xwing", Secret(bytes.fromhex(vector["seed"])))
    message, info = bytes.fromhex("".join(vector["message"])), bytes.fromhex(vector["info"])
    assert key.open(message, info=info) == bytes.fromhex(vector["plaintext"])
    with pytest.raises(ValueError, match="does not open"):
        key.open(message, info=info + b"x")


def test_p256_seeds_out_of_range_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    drawn = [bytes(32), order.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 32]
    monkeypatch.setattr(suites, "fresh_key", lambda: Secret(drawn.pop(0)))
    assert suites.fresh_seed("jwe-p256").reveal() == b"\x01" * 32 and not drawn


@pytest.mark.parametrize("suite", ["jwe-p256", "jwe-x25519", "hpke-x25519"])
def test_kid_is_the_thumbprint_that_others_compute(suite: str) -> None:
    public = suites.jwk_of(suite, suites.public_bytes(suite, Secret(b"\x07" * 32)))
    others = jwk.JWK.from_json(json.dumps({k: v for k, v in public.items() if k != "kid"}))
    assert public["kid"] == others.thumbprint()


async def test_every_suite_is_published_once(installed: House) -> None:
    keyring = await installed.keyring()
    keys = await keyring.client_keys.published()
    assert [key.suite for key in keys] == list(SUITES)
    assert len({key.kid for key in keys}) == len(SUITES)
    again = await installed.keyring()
    assert await again.client_keys.published() == keys
    assert len(await installed.entries("keys:client:create")) == len(SUITES)


async def test_the_successor_stands_beside_a_key_before_it_ends(installed: House) -> None:
    keys = (await installed.keyring()).client_keys
    first = (await keys.published())[0]
    installed.clock.move(CLIENT_KEY_USE_S - CLIENT_KEY_AHEAD_S - 60)
    await keys.upkeep()
    assert [key.kid for key in await keys.published() if key.suite == "jwe-p256"] == [first.kid]
    installed.clock.move(120)
    assert await keys.upkeep() == len(SUITES) and await keys.upkeep() == 0
    both = [key.kid for key in await keys.published() if key.suite == "jwe-p256"]
    assert len(both) == 2 and both[1] == first.kid


async def test_a_key_opens_through_the_overlap_and_is_then_erased(installed: House) -> None:
    keys = (await installed.keyring()).client_keys
    first = (await keys.published())[0]
    installed.clock.move(CLIENT_KEY_USE_S + 1)
    assert first.kid not in [key.kid for key in await keys.published()]
    assert await keys.find(first.kid) is not None
    installed.clock.move(CLIENT_KEY_OVERLAP_S)
    assert await keys.find(first.kid) is None, "before any worker came by"
    await keys.upkeep()
    rows = await installed.sql(
        "SELECT state, wrapped FROM keys.client_key WHERE suite = $1 AND version = 1", first.suite
    )
    assert [tuple(row) for row in rows] == [("destroyed", None)]
    assert len(await installed.entries("keys:client:destroy")) == len(SUITES)
    assert await keys.find(first.kid) is None


async def test_rotation_publishes_new_keys_at_once(installed: House) -> None:
    keys = (await installed.keyring()).client_keys
    before = {key.suite: key.kid for key in await keys.published()}
    after = await keys.rotate(actor="system:test", suite="hpke-xwing")
    changed = {key.suite for key in after if key.kid != before[key.suite]}
    assert changed == {"hpke-xwing"} and len(after) == len(SUITES)
    assert await keys.find(before["hpke-xwing"]) is not None, "what is under way still opens"
    installed.clock.move(CLIENT_KEY_OVERLAP_S + 1)
    assert await keys.find(before["hpke-xwing"]) is None
    assert await keys.find(before["jwe-p256"]) is not None
    with pytest.raises(StrongroomError, match="client_suite_unknown"):
        await keys.rotate(actor="system:test", suite="rsa")


async def test_another_process_sees_a_new_key_within_a_second(installed: House) -> None:
    one, other = (await installed.keyring()).client_keys, (await installed.keyring()).client_keys
    await one.published()
    await other.published()
    fresh = (await one.rotate(actor="system:test"))[0]
    assert await other.find(fresh.kid) is None
    installed.clock.move(1)
    assert await other.find(fresh.kid) is not None


async def test_two_processes_make_one_set(installed: House) -> None:
    import asyncio

    rings = [await installed.keyring() for _ in range(4)]
    found = await asyncio.gather(*(ring.client_keys.published() for ring in rings))
    assert all(keys == found[0] for keys in found) and len(found[0]) == len(SUITES)


@pytest.mark.parametrize(
    "change",
    [
        "public_key = (SELECT public_key FROM keys.client_key WHERE suite = 'jwe-x25519')",
        "wrapped = (SELECT wrapped FROM keys.client_key WHERE suite = 'jwe-x25519')",
        "kcv = (SELECT kcv FROM keys.client_key WHERE suite = 'jwe-x25519')",
        "created_at = created_at + interval '1 day'",
        "state = 'decrypt_only'",
        "state_at = state_at - interval '1 day'",
        "version = 7",
        "id = '00000000-0000-7000-8000-000000000054'",
    ],
)
async def test_a_changed_row_opens_nothing(installed: House, change: str) -> None:
    keys = (await installed.keyring()).client_keys
    await keys.published()
    await installed.sql(f"UPDATE keys.client_key SET {change} WHERE suite = 'hpke-x25519'")
    fresh = (await installed.keyring()).client_keys
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await fresh.published()


async def test_a_retired_key_brought_back_opens_nothing(installed: House) -> None:
    keys = (await installed.keyring()).client_keys
    kid = (await keys.published())[0].kid
    kept = await installed.sql("SELECT * FROM keys.client_key WHERE suite = 'jwe-p256'")
    installed.clock.move(CLIENT_KEY_USE_S + 1)
    await keys.upkeep()
    installed.clock.move(CLIENT_KEY_OVERLAP_S + 1)
    await keys.upkeep()
    assert await keys.find(kid) is None
    await installed.sql("DELETE FROM keys.client_key WHERE suite = 'jwe-p256' AND version = 1")
    columns = ", ".join(kept[0].keys())
    values = ", ".join(f"${number}" for number, _ in enumerate(kept[0], 1))
    await installed.sql(f"INSERT INTO keys.client_key ({columns}) VALUES ({values})", *kept[0])
    with pytest.raises(StrongroomError, match="key_record_forged"):
        await (await installed.keyring()).client_keys.find(kid)


async def test_a_compromised_key_opens_nothing_and_is_replaced(installed: House) -> None:
    keyring = await installed.keyring()
    keys = keyring.client_keys
    first = (await keys.published())[0]
    assert await keys.find(first.kid) is not None

    name = next(k.id for k in await keyring.inventory() if k.purpose == "jwe-p256")
    kid = first.kid
    await (await installed.keyring()).client_keys.compromise(name, actor="system:test")
    with pytest.raises(StrongroomError, match="key_state_not_possible"):
        await keys.compromise(name, actor="system:test")
    with pytest.raises(StrongroomError, match="key_not_found"):
        await keys.compromise(id_from("cek", new_uuid7()), actor="system:test")
    installed.clock.move(30)
    assert await keys.find(kid) is None
    assert kid not in [key.kid for key in await keys.published()]
    assert len(await keys.published()) == len(SUITES), "a new one stands in its place"
    await keys.upkeep()
    rows = await installed.sql("SELECT state FROM keys.client_key WHERE wrapped IS NULL")
    assert [row["state"] for row in rows] == ["destroyed"]


async def test_the_inventory_lists_client_keys_without_secrets(installed: House) -> None:
    keyring = await installed.keyring()
    await keyring.client_keys.published()
    listed = [key for key in await keyring.inventory() if key.kind == "client"]
    assert sorted(key.purpose for key in listed) == sorted(SUITES)
    assert all(key.id.startswith("cek_") and key.wrapped_by.startswith("kek_") for key in listed)
