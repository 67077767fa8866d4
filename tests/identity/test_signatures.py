"""Signed requests: what is accepted, and every way in which one may be wrong."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from strongroom.identity import Arrival, Level
from strongroom.identity.replays import Replays
from strongroom.identity.signatures import SignedRequests, SigningKeySpec
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.identity.support import SCOPES, House, MovableClock, Process
from tests.support.signing import BASE, Signer, digest, raw

URL = "https://pay.example/v1/payments"
BODY = b'{"amount":100}'
UNTOLD = "The signature is not valid."


class World:
    """One merchant with a signing key, in one process."""

    def __init__(self, process: Process, clock: MovableClock) -> None:
        self.process, self.clock = process, clock
        self.door = self.requests(process)
        self.signer = Signer()
        self.merchant = ""

    def requests(self, process: Process) -> SignedRequests:
        identity = process.identity
        return SignedRequests(
            process.database,
            process.committer,
            mode="test",
            known_scopes=SCOPES,
            require_merchant=identity.find_merchant,
            replays=Replays(process.database, process.committer, self.clock),
            refusals=identity.refusals,
            usage=identity.usage,
            clock=self.clock,
        )

    async def add(self, signer: Signer, merchant: str, **more: Any) -> Signer:
        spec = SigningKeySpec(
            merchant=merchant, public_key=signer.public, owner="order service", **more
        )
        signer.key_id = (await self.door.keys.add(spec, actor="local:test")).id
        return signer

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def arrival(
        self, body: bytes = BODY, *, signer: Signer | None = None, url: str = URL, **changes: Any
    ) -> Arrival:
        sent = {"Idempotency-Key": '"k-1"', "Strongroom-Merchant": self.merchant}
        sent = changes.pop("sent", sent)
        made = (signer or self.signer).headers(
            "POST", url, body, now=self.now, sent=sent, **changes
        )
        return Arrival(method="POST", target=url, headers=raw(made.items()), source="192.0.2.1")

    async def refused(
        self, arrival: Arrival, detail: str, door: SignedRequests | None = None
    ) -> str:
        with pytest.raises(StrongroomError) as caught:
            await (door or self.door).authenticate(arrival)
        assert (caught.value.code, caught.value.detail) == ("unauthenticated", detail)
        return caught.value.public


@pytest.fixture
async def world(house: House) -> AsyncIterator[World]:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        made = World(process, clock)
        made.merchant = (await process.identity.create_merchant("Shop", actor="x")).id
        await made.add(made.signer, made.merchant)
        yield made
        await made.door.close()


async def test_a_signed_request_is_its_signers(world: World, house: House) -> None:
    found = await world.door.authenticate(world.arrival())
    assert found.principal.id == found.principal.key_id == world.signer.key_id
    assert (found.principal.merchant, found.principal.level) == (
        world.merchant,
        Level.SIGNED_REQUEST,
    )
    assert found.principal.roles == ("merchant-backend",) and found.principal.scopes is None
    assert found.content_digest is not None
    assert digest(BODY) == f"sha-256=:{base64.b64encode(found.content_digest).decode()}:"
    assert not world.door.claims(Arrival(method="GET", target=URL))
    (entry,) = await house.entries("identity:signing_key:add")
    assert (entry["subject"], entry["merchant"]) == (world.signer.key_id, world.merchant)
    await world.process.identity.flush_usage()
    (listed,) = await world.door.keys.listed(world.merchant)
    assert listed.last_used_at == world.clock.now()


async def test_of_fifty_replays_at_once_one_is_taken(world: World, house: House) -> None:
    arrival = world.arrival()
    async with house.process(clock=world.clock) as process:
        other = world.requests(process)
        tries = [(world.door, other)[n % 2].authenticate(arrival) for n in range(50)]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, StrongroomError)]
        assert len(refused) == 49 and {error.detail for error in refused} == {"replayed"}
        assert {error.public for error in refused} == {UNTOLD}
        await other.close()
    await world.refused(arrival, "replayed")


def altered(arrival: Arrival, name: str, value: str) -> Arrival:
    headers = [(n, v) for n, v in arrival.headers if n != name.encode()]
    return msgspec.structs.replace(arrival, headers=[*headers, *raw([(name, value)])])


async def test_every_part_that_is_covered_is_protected(world: World) -> None:
    good = world.arrival(sent={"idempotency-key": "k", "strongroom-version": "2026-11-23"})
    changed = [
        msgspec.structs.replace(good, method="PUT"),
        msgspec.structs.replace(good, target=URL + "?a=1"),
        msgspec.structs.replace(good, target="https://other.example/v1/payments"),
        altered(good, "content-digest", digest(b"other")),
        altered(good, "idempotency-key", "k2"),
        altered(good, "strongroom-version", "2026-11-24"),
    ]
    header = good.header(b"signature-input") or ""
    later = header.replace(f"expires={world.now + 60}", f"expires={world.now + 61}")
    changed.append(altered(good, "signature-input", later))
    changed.append(altered(good, "signature-input", header.replace('nonce="', 'nonce="x')))
    forged = "sig1=:" + base64.b64encode(bytes(64)).decode() + ":"
    changed.append(altered(good, "signature", forged))
    for arrival in changed:
        assert await world.refused(arrival, "signature") == UNTOLD
    await world.door.authenticate(good)


async def test_a_header_that_changes_what_happens_must_be_covered(world: World) -> None:
    for name in ("idempotency-key", "strongroom-merchant", "strongroom-approval", "content-digest"):
        plain = world.arrival(b"", sent={})
        told = await world.refused(altered(plain, name, "x"), "component_missing")
        assert "must cover" in told
    for bodied in (("content-length", "5"), ("transfer-encoding", "chunked")):
        await world.refused(altered(world.arrival(b"", sent={}), *bodied), "component_missing")
    for missing in (("@method",), ("@target-uri",), ("content-type", "@target-uri")):
        arrival = world.arrival(b"", sent={"content-type": "text/plain"}, covered=missing)
        await world.refused(arrival, "component_missing")
    await world.refused(
        world.arrival(b"", sent={}, covered=(*BASE, "idempotency-key")), "component_absent"
    )
    for unknown in ("@path", "@authority", "date", "x-other", "authorization"):
        await world.refused(
            world.arrival(b"", sent={}, covered=(*BASE, unknown)), "component_unknown"
        )
    assert (await world.door.authenticate(world.arrival(b"", sent={}))).content_digest


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"created": -31}, ""),
        ({"created": 30}, ""),
        ({"created": 31}, "future"),
        ({"created": -89}, ""),
        ({"created": -90}, "expired"),
        ({"created": -100, "expires": 201}, "window"),
        ({"created": -100, "expires": 200}, ""),
        ({"created": 0, "expires": 0}, "window"),
        ({"created": 10, "expires": 5}, "window"),
    ],
)
async def test_a_signature_has_its_time(world: World, changes: dict[str, int], detail: str) -> None:
    times = {name: world.now + seconds for name, seconds in changes.items()}
    arrival = world.arrival(**times)
    if detail:
        await world.refused(arrival, detail)
    else:
        await world.door.authenticate(arrival)


async def test_what_the_profile_does_not_name_is_refused(world: World) -> None:
    now, key = world.now, world.signer.key_id
    for more, detail in (
        (';alg="rsa-pss-sha512"', "algorithm"),
        (';alg="hmac-sha256"', "algorithm"),
        (';alg="none"', "algorithm"),
        (';alg=""', "algorithm"),
        (';tag="x"', "parameter_unknown"),
        (f";created={now}", "malformed"),
        (';keyid="other"', "malformed"),
        (";nonce=5", "malformed"),
        (";alg", "malformed"),
    ):
        await world.refused(world.arrival(more=more), detail)
    for keyid in ("", "sig_x", key.upper(), f"../{key}", f"{key}\u0000", "' OR 1=1 --", "key_x"):
        await world.refused(world.arrival(keyid=keyid), "malformed")
    for nonce in ("short", "x" * 65, "spaces in a nonce here", "quote\\nonce-0123456789"):
        arrival = world.arrival(nonce=nonce)
        with pytest.raises(StrongroomError, match="unauthenticated"):
            await world.door.authenticate(arrival)
    part = f';created={now};expires={now + 9};keyid="{key}"'
    await world.refused(world.arrival(parameters=part), "parameter_missing")
    await world.refused(
        world.arrival(
            parameters=f';created=0{now};expires={now + 9};nonce="{"n" * 16}";keyid="{key}"'
        ),
        "malformed",
    )
    await world.door.authenticate(world.arrival(more=';alg="ed25519"'))


async def test_there_is_one_signature_and_one_way_to_write_it(world: World) -> None:
    good = world.arrival()
    shown = good.header(b"signature-input") or ""
    made = good.header(b"signature") or ""
    doubled = [*good.headers, *raw([("signature-input", shown)])]
    await world.refused(msgspec.structs.replace(good, headers=doubled), "duplicate_header")
    for name in (b"idempotency-key", b"strongroom-merchant", b"content-digest", b"signature"):
        twice = [*good.headers, (name, b"x")]
        await world.refused(msgspec.structs.replace(good, headers=twice), "duplicate_header")
    for name, value in (
        ("signature-input", f"{shown}, sig2={shown[5:]}"),
        ("signature-input", shown.replace("sig1", "sig2")),
        ("signature-input", shown.replace(" ", "  ", 1)),
        ("signature-input", shown.replace('"@method"', '"@method";req')),
        ("signature-input", ""),
        ("signature-input", "x" * 2_000),
        ("signature", f"{made}, sig2={made[5:]}"),
        ("signature", made[:-3] + "A=:"),
        ("signature", made.replace("==:", ":")),
        ("signature", ""),
        ("idempotency-key", "caf\u00e9"),
    ):
        await world.refused(altered(good, name, value), "malformed")
    last = made[-4]
    other = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c != last and c not in "AQgw")
    await world.refused(altered(good, "signature", made[:-4] + other + "==:"), "malformed")
    for value in ("sha-512=:" + "A" * 86 + "==:", "md5=:AAAA:", digest(BODY) + ", " + digest(BODY)):
        await world.refused(altered(good, "content-digest", value), "digest")
    await world.refused(
        msgspec.structs.replace(good, authorization="Bearer sr_test_sk_x"), "ambiguous"
    )
    await world.refused(msgspec.structs.replace(good, target="/v1/payments"), "no_public_url")
    assert len(await world.process.database.fetch("SELECT 1 FROM iam.replay")) == 0
    await world.door.authenticate(good)


async def test_unknown_revoked_foreign_and_suspended_read_alike(world: World, house: House) -> None:
    identity = world.process.identity
    stranger = Signer(new_id("sig"))
    assert await world.refused(world.arrival(signer=stranger), "unknown") == UNTOLD
    other = (await identity.create_merchant("Other", actor="x")).id
    theirs = await world.add(Signer(), other)
    impostor = Signer(world.signer.key_id)
    assert await world.refused(world.arrival(signer=impostor), "signature") == UNTOLD
    theirs.key_id, kept = world.signer.key_id, theirs.key_id
    assert await world.refused(world.arrival(signer=theirs), "signature") == UNTOLD
    theirs.key_id = kept
    assert (await world.door.authenticate(world.arrival(signer=theirs))).principal.merchant == other
    near = await world.add(Signer(), world.merchant, networks=("198.51.100.0/24",))
    assert await world.refused(world.arrival(signer=near), "address") == UNTOLD
    await identity.suspend_merchant(other, actor="x", reason="r")
    world.clock.move(1)
    assert await world.refused(world.arrival(signer=theirs), "suspended") == UNTOLD
    async with house.process(clock=world.clock) as process:
        elsewhere = world.requests(process)
        await elsewhere.authenticate(world.arrival())
        await world.door.keys.revoke(
            world.merchant, world.signer.key_id, actor="x", reason="stolen"
        )
        assert await world.refused(world.arrival(), "revoked") == UNTOLD
        world.clock.move(0.6)
        assert await world.refused(world.arrival(), "revoked", elsewhere) == UNTOLD
        await elsewhere.close()
    await identity.flush_refusals(final=True)
    reasons = {entry["reason"] for entry in await house.entries("identity:signature:reject")}
    assert reasons == {"unknown", "signature", "address", "suspended", "revoked"}


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
NOT_CANONICAL = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


async def test_unsound_keys_and_wrong_wishes_are_refused(world: World) -> None:
    add = world.door.keys.add
    off_curve = (2).to_bytes(32, "little").hex()
    for bad in (*SMALL_ORDER, *NOT_CANONICAL, off_curve, "00" * 31):
        spec = SigningKeySpec(merchant=world.merchant, public_key=bytes.fromhex(bad), owner="x")
        with pytest.raises(StrongroomError, match="sound Ed25519"):
            await add(spec, actor="x")
    for changes, code in (
        ({"role": "operator-admin"}, "invalid_parameter"),
        ({"role": "service-reveal"}, "invalid_parameter"),
        ({"scopes": frozenset({"nothing:known"})}, "invalid_parameter"),
        ({"networks": ("0.0.0.0/0",)}, "invalid_parameter"),
        ({"merchant": new_id("mer")}, "merchant_not_found"),
    ):
        fields = {
            "merchant": world.merchant,
            "public_key": Signer().public,
            "owner": "x",
            **changes,
        }
        with pytest.raises(StrongroomError) as caught:
            await add(SigningKeySpec(**fields), actor="x")  # type: ignore[arg-type]
        assert caught.value.code == code
    with pytest.raises(StrongroomError) as caught:
        await world.add(world.signer, world.merchant)
    assert caught.value.code == "signing_key_exists"


async def test_idle_signing_keys_end(world: World, house: House) -> None:
    world.clock.move(89 * 86_400)
    await world.door.authenticate(world.arrival())
    await world.process.identity.flush_usage()
    world.clock.move(2 * 86_400)
    assert await world.door.keys.disable_idle() == 0
    world.clock.move(89 * 86_400)
    assert await world.door.keys.disable_idle() == 1
    await world.refused(world.arrival(), "revoked")
    (entry,) = await house.entries("identity:signing_key:disable")
    assert (entry["reason"], entry["subject"]) == ("idle", world.signer.key_id)
