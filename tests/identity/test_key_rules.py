"""API keys: where they work, how they are replaced, when they end, and what a leak report does."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.identity import KeyKind, Level
from strongroom.identity.api_keys import Hashed, Leaks, Sender
from strongroom.kernel.errors import StrongroomError
from strongroom.storage.change import ConstraintViolated
from tests.identity.support import (
    House,
    MovableClock,
    Process,
    bearer,
    hasher,
    operator_key,
    secret_key,
)

NOT_VALID = "The API key is not valid."


async def refused(process: Process, header: str, detail: str, source: str = "") -> None:
    with pytest.raises(StrongroomError) as caught:
        await process.identity.authenticate(header, source=source)
    error = caught.value
    assert (error.code, error.public, error.detail) == ("unauthenticated", NOT_VALID, detail)


async def test_a_key_works_from_its_networks_only(process: Process, merchant: str) -> None:
    spec = secret_key(merchant, networks=("2001:DB8::/32", "192.0.2.0/24", "198.51.100.7"))
    key, text = await process.identity.create_key(spec, actor="x")
    assert key.networks == ("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32")
    for source in ("192.0.2.9", "::ffff:192.0.2.9", "198.51.100.7", "2001:db8::1"):
        await process.identity.authenticate(bearer(text), source=source)
    elsewhere = ("", "192.0.3.1", "198.51.100.8", "::ffff:192.0.3.1", "2001:db9::1", "unix:")
    unwritten = ("::192.0.2.9", "192.0.2.9, 203.0.113.1", "0300.0.2.9", "192.0.2.9/24")
    for source in (*elsewhere, *unwritten):
        await refused(process, bearer(text), "address", source)
    mapped = secret_key(merchant, networks=("::ffff:203.0.113.0/120",))
    assert (await process.identity.create_key(mapped, actor="x"))[0].networks == ("203.0.113.0/24",)


@pytest.mark.parametrize(
    "network",
    [
        "192.0.2.1/24",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "::/64",
        "x",
        "",
        "fe80::1%eth0",
        "1.2.3",
    ],
)
async def test_what_is_no_network_is_refused(process: Process, merchant: str, network: str) -> None:
    with pytest.raises(StrongroomError, match="invalid_parameter"):
        await process.identity.create_key(secret_key(merchant, networks=(network,)), actor="x")


async def test_both_keys_work_while_one_replaces_the_other(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = (await identity.create_merchant("Shop", actor="x")).id
        spec = secret_key(
            shop,
            kind=KeyKind.RESTRICTED,
            scopes=frozenset({"payment:read"}),
            networks=("192.0.2.0/24",),
            expires_at=clock.now() + timedelta(days=100),
        )
        old, old_text = await identity.create_key(spec, actor="x")
        clock.move(86_400)
        made = await identity.keys.rotate(shop, old.id, overlap=timedelta(hours=1), actor="key_o")
        new = made.successor
        assert (new.replaces, new.scopes, new.networks) == (old.id, old.scopes, old.networks)
        assert new.expires_at == clock.now() + timedelta(days=100)
        assert made.former.expires_at == clock.now() + timedelta(hours=1)
        for text in (old_text, made.secret):
            await identity.authenticate(bearer(text), source="192.0.2.1")
        assert [age.warnings for age in await identity.keys.report()] == [(), ()]
        clock.move(3600)
        await refused(process, bearer(old_text), "expired", "192.0.2.1")
        await identity.authenticate(bearer(made.secret), source="192.0.2.1")
        with pytest.raises(StrongroomError, match="api_key_not_active"):
            await identity.keys.rotate(shop, old.id, overlap=timedelta(hours=1), actor="x")
        for overlap in (timedelta(seconds=59), timedelta(days=30, seconds=1)):
            with pytest.raises(StrongroomError, match="invalid_parameter"):
                await identity.keys.rotate(shop, new.id, overlap=overlap, actor="x")
        with pytest.raises(StrongroomError, match="api_key_not_found"):
            await identity.keys.rotate(None, new.id, overlap=timedelta(hours=1), actor="x")
        (entry,) = await house.entries("identity:api_key:rotate")
        assert (entry["subject"], entry["actor"]) == (old.id, "key_o")
        assert entry["facts"]["successor"] == new.id
        assert (await house.entries("identity:api_key:create"))[1]["facts"]["replaces"] == old.id


async def test_idle_keys_end_and_the_report_says_so_before(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = (await identity.create_merchant("Shop", actor="x")).id
        idle, idle_text = await identity.create_key(secret_key(shop), actor="x")
        used, used_text = await identity.create_key(secret_key(shop), actor="x")
        clock.move(80 * 86_400)
        await identity.create_key(operator_key(), actor="x")
        await identity.authenticate(bearer(used_text))
        await identity.flush_usage()
        told = {age.id: age for age in await identity.keys.report(older_than_days=79)}
        assert told[idle.id].idle_days == 80 and "idle for 80 days" in told[idle.id].warnings[0]
        assert told[used.id].warnings == ("older than 79 days: rotate it",)
        clock.move(10 * 86_400 + 60)
        assert await identity.keys.disable_idle() == 1
        assert await identity.keys.disable_idle() == 0
        await refused(process, bearer(idle_text), "revoked")
        await identity.authenticate(bearer(used_text))
        (entry,) = await house.entries("identity:api_key:disable")
        assert (entry["subject"], entry["reason"]) == (idle.id, "idle")
        clock.move(70 * 86_400)
        assert await identity.keys.expiring() == 1, "the operator's"


async def test_nothing_gives_a_key_more(process: Process, merchant: str, house: House) -> None:
    soon = secret_key(merchant, kind=KeyKind.RESTRICTED, scopes=frozenset({"payment:read"}))
    key, _ = await process.identity.create_key(soon, actor="x")
    execute = process.database.execute
    await execute("UPDATE iam.api_key SET expires_at = now() + interval '1 day'")
    await process.identity.revoke_key(merchant, key.id, actor="x", reason="r")
    for attempt, rule in (
        ("expires_at = NULL", "api_key_end_comes_nearer"),
        ("expires_at = expires_at + interval '1 second'", "api_key_end_comes_nearer"),
        ("revoked_at = NULL", "api_key_stays_revoked"),
        ("revoked_at = now() + interval '1 year'", "api_key_stays_revoked"),
        ("hash = sha256('x')", "api_key_hash_moves_on"),
        ("hash = sha256('x'), pepper_version = 0", "api_key_hash_moves_on"),
    ):
        with pytest.raises(ConstraintViolated) as caught:
            await execute(f"UPDATE iam.api_key SET {attempt}")
        assert caught.value.constraint == rule


async def test_a_merchants_level_shows_in_its_callers(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = (await identity.create_merchant("Shop", actor="x")).id
        _, text = await identity.create_key(secret_key(shop), actor="x")
        assert (await identity.authenticate(bearer(text))).required_level == Level.API_KEY
        await identity.set_level(shop, Level.SIGNED_REQUEST, actor="key_o", reason="theft")
        clock.move(0.6)
        principal = await identity.authenticate(bearer(text))
        assert principal.required_level == Level.SIGNED_REQUEST
        assert (await identity.demanded(principal)).required_level == Level.SIGNED_REQUEST
        await identity.set_level(shop, Level.API_KEY, actor="key_o", reason="over")
        outcomes = [e["outcome"] for e in await house.entries("identity:merchant:level")]
        assert outcomes == ["raised", "lowered"]
        with pytest.raises(StrongroomError, match="invalid_parameter"):
            await identity.set_level(shop, Level.NONE, actor="x", reason="r")


async def test_used_keys_move_to_the_newer_pepper(
    process: Process, merchant: str, house: House
) -> None:
    """Rows of a key made before are found under the former hash, and moved after a use."""
    identity = process.identity
    key, text = await identity.create_key(secret_key(merchant), actor="x")
    _, unused = await identity.create_key(secret_key(merchant), actor="x")

    def both(data: bytes) -> list[Hashed]:
        newer = hasher(b"2" + data)
        return [
            Hashed(pepper_version=2, digest=newer),
            Hashed(pepper_version=1, digest=hasher(data)),
        ]

    identity.proof._hashes = both
    await identity.authenticate(bearer(text))
    await identity.flush_usage()
    versions = "SELECT pepper_version FROM iam.api_key ORDER BY id"
    assert [row[0] for row in await process.database.fetch(versions)] == [2, 1]
    await identity.authenticate(bearer(text))
    identity.proof._hashes = lambda data: both(data)[:1]
    await identity.authenticate(bearer(text))
    await refused(process, bearer(unused), "unknown")
    (entry,) = await house.entries("identity:api_key:rehash")
    assert (entry["subject"], entry["facts"]) == (key.id, {"pepper": 2})


HOLDER = Sender(actor="anonymous", trusted=False)


async def test_a_leaked_key_ends_everywhere_and_strangers_learn_nothing(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as one, house.process(clock=clock) as two:
        identity = one.identity
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        leaks = Leaks(
            identity.keys,
            identity.proof,
            mode="test",
            hashes=lambda text: [Hashed(pepper_version=1, digest=hasher(text))],
            partners={"k1": pem.decode()},
            refusals=identity.refusals,
        )
        shop = (await identity.create_merchant("Shop", actor="x")).id
        key, text = await identity.create_key(secret_key(shop), actor="x")
        public = secret_key(shop, kind=KeyKind.PUBLISHABLE, role="merchant-publishable")
        _, shown = await identity.create_key(public, actor="x")
        await two.identity.authenticate(bearer(text))
        tokens: Sequence[str] = [text.reveal(), text.reveal(), shown.reveal(), "x", "sr_test_sk_"]
        assert await leaks.take(tokens, HOLDER, source="192.0.2.1") == 1
        assert await leaks.take(tokens, HOLDER, source="192.0.2.1") == 0
        await refused(one, bearer(text), "revoked")
        clock.move(0.6)
        await refused(two, bearer(text), "revoked")
        await identity.authenticate(bearer(shown))
        entries = await house.entries("identity:api_key:leak")
        (ended,) = [entry for entry in entries if entry["outcome"] == "revoked"]
        assert (ended["subject"], ended["reason"], ended["merchant"]) == (key.id, "leaked", shop)

        body = b'[{"token": "x"}]'
        made = base64.b64encode(private.sign(body, ec.ECDSA(hashes.SHA256()))).decode()
        headers = {"github-public-key-identifier": "k1", "github-public-key-signature": made}
        sender = leaks.partner(headers, body, source="")
        assert sender is not None and sender.trusted
        assert leaks.partner({}, body, source="") is None
        for wrong in (
            {"github-public-key-identifier": "k2"},
            {"github-public-key-signature": ""},
            {"github-public-key-signature": "!"},
            {"github-public-key-signature": made[:-8] + "AAAAAAA="},
        ):
            with pytest.raises(StrongroomError, match="leak_report_unsigned"):
                leaks.partner({**headers, **wrong}, body, source="")
        with pytest.raises(StrongroomError, match="leak_report_unsigned"):
            leaks.partner(headers, body + b" ", source="")
