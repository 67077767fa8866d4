"""Making, listing and ending keys and merchants: what is stored, journaled, refused."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.storage.change import StorageUnavailable
from strongroom.storage.datamap import read, undeclared
from tests.identity.support import (
    House,
    MovableClock,
    Process,
    bearer,
    operator_key,
    secret_key,
)

LUHN_VALID = "4242424242424242"


async def test_a_key_is_stored_nowhere(house: House, process: Process, merchant: str) -> None:
    """Every value of every table is searched for the key, its random part and pieces of it."""
    identity = process.identity
    texts = []
    for _ in range(5):
        key, text = await identity.create_key(secret_key(merchant), actor="local:test")
        texts.append(text.reveal())
        await identity.authenticate(bearer(text), source="192.0.2.1")
    await identity.revoke_key(merchant, key.id, actor="local:test", reason="test")
    await asyncio.sleep(0.6)
    with pytest.raises(StrongroomError):
        await identity.authenticate(f"Bearer {texts[-1]}", source="192.0.2.1")
    await identity.flush_usage()
    await identity.flush_refusals(final=True)
    stored = await house.everything_stored()
    assert merchant.encode() in stored
    for text in texts:
        for piece in (text, text[11:], text[11:41], text[15:30], text[20:28], text[-10:]):
            assert piece.encode() not in stored
            assert piece.encode().hex().encode() not in stored


async def test_a_key_is_shown_once(process: Process, merchant: str) -> None:
    identity = process.identity
    key, text = await identity.create_key(secret_key(merchant), actor="local:test")
    clear = text.reveal()
    listed = await identity.list_keys(merchant)
    assert [k.id for k in listed] == [key.id]
    for shown in (repr(key), repr(listed), repr(text), str(text), f"{text}"):
        assert clear not in shown
        assert clear[15:41] not in shown
    with pytest.raises(TypeError):
        pickle.dumps(text)


async def test_a_listed_key_is_the_made_one(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = await identity.create_merchant("Shop", actor="x")
        spec = secret_key(
            shop.id,
            kind=KeyKind.RESTRICTED,
            scopes=frozenset({"payment:read", "payment:create"}),
            expires_at=clock.now() + timedelta(days=1),
        )
        made, text = await identity.create_key(spec, actor="key_x")
        assert (await identity.list_keys(shop.id)) == [made]
        assert made.scopes == ("payment:create", "payment:read")
        assert made.hint == text.reveal()[:15] + "…"
        assert (made.owner, made.created_by, made.status) == ("order service", "key_x", "active")
        clock.move(24 * 3600)
        assert (await identity.list_keys(shop.id))[0].status == "expired"


async def test_lists_come_in_pages_and_stay_with_their_merchant(
    process: Process, merchant: str
) -> None:
    identity = process.identity
    other = (await identity.create_merchant("Other", actor="x")).id
    made = [(await identity.create_key(secret_key(merchant), actor="x"))[0].id for _ in range(5)]
    await identity.create_key(secret_key(other), actor="x")
    await identity.create_key(operator_key(), actor="x")
    first = await identity.list_keys(merchant, limit=3)
    rest = await identity.list_keys(merchant, limit=3, after=first[-1].id)
    assert [k.id for k in (*first, *rest)] == made
    assert len(await identity.list_keys(None)) == 1
    assert len(await identity.list_keys(other)) == 1
    pages = await identity.list_merchants(limit=1)
    pages += await identity.list_merchants(limit=9, after=pages[0].id)
    assert [m.id for m in pages] == [merchant, other]


async def test_making_and_ending_are_journaled(house: House, process: Process) -> None:
    identity = process.identity
    shop = await identity.create_merchant("Shop", actor="local:ada", request="req_1")
    key, _ = await identity.create_key(secret_key(shop.id), actor="local:ada", request="req_2")
    operator, _ = await identity.create_key(operator_key(), actor="local:ada")
    await identity.revoke_key(shop.id, key.id, actor="key_o", reason="rotated", request="req_3")
    await identity.suspend_merchant(shop.id, actor="key_o", reason="fraud")
    await identity.resume_merchant(shop.id, actor="key_o", reason="cleared")

    created = (await house.entries("identity:merchant:create"))[0]
    assert (created["subject"], created["merchant"]) == (shop.id, shop.id)
    assert (created["actor"], created["request"]) == ("local:ada", "req_1")
    made, made_operator = await house.entries("identity:api_key:create")
    assert (made["subject"], made["merchant"], made["request"]) == (key.id, shop.id, "req_2")
    assert made["facts"] == {"kind": "sk", "role": "merchant-backend"}
    assert (made_operator["subject"], made_operator["merchant"]) == (operator.id, None)
    assert set(made_operator["facts"]) == {"kind", "role", "expires_at"}
    (revoked,) = await house.entries("identity:api_key:revoke")
    assert (revoked["subject"], revoked["reason"]) == (key.id, "rotated")
    assert (revoked["actor"], revoked["outcome"]) == ("key_o", "revoked")
    for action, reason in (("suspend", "fraud"), ("resume", "cleared")):
        (entry,) = await house.entries(f"identity:merchant:{action}")
        assert (entry["subject"], entry["reason"]) == (shop.id, reason)
        assert entry["outcome"] == f"{action.removesuffix('e')}ed"
    assert b"Ada Example" not in b"".join(
        row["body"] for row in await house.owner.fetch("SELECT body FROM journal.entry")
    )


async def test_what_cannot_be_journaled_does_not_happen(
    house: House, process: Process, merchant: str
) -> None:
    identity = process.identity
    key, text = await identity.create_key(secret_key(merchant), actor="x")
    for attempt in (
        identity.revoke_key(merchant, key.id, actor="x", reason=f"saw {LUHN_VALID}"),
        identity.suspend_merchant(merchant, actor="x", reason=f"saw {LUHN_VALID}"),
        identity.create_key(secret_key(merchant), actor=LUHN_VALID),
        identity.create_merchant("New", actor=LUHN_VALID),
    ):
        with pytest.raises(StrongroomError) as caught:
            await attempt
        assert caught.value.code == "journal_refused"
    await house.owner.execute("REVOKE INSERT ON journal.entry FROM strongroom_pay")
    with pytest.raises(StorageUnavailable):
        await identity.create_key(secret_key(merchant), actor="x")
    assert len(await identity.list_keys(merchant)) == 1
    assert len(await identity.list_merchants()) == 1
    await identity.authenticate(bearer(text))


async def test_revoking_is_done_once_however_many_ask(
    house: House, process: Process, merchant: str
) -> None:
    identity = process.identity
    key, _ = await identity.create_key(secret_key(merchant), actor="x")
    views = await asyncio.gather(
        *(identity.revoke_key(merchant, key.id, actor="x", reason="r") for _ in range(12))
    )
    assert {view.status for view in views} == {"revoked"}
    assert len({view.revoked_at for view in views}) == 1
    assert len(await house.entries("identity:api_key:revoke")) == 1
    again = await identity.revoke_key(merchant, key.id, actor="y", reason="again")
    assert again.revoked_at == views[0].revoked_at


async def test_suspending_is_done_once_however_many_ask(
    house: House, process: Process, merchant: str
) -> None:
    views = await asyncio.gather(
        *(process.identity.suspend_merchant(merchant, actor="x", reason="r") for _ in range(12))
    )
    assert {view.status for view in views} == {"suspended"}
    assert len(await house.entries("identity:merchant:suspend")) == 1
    assert (await process.identity.find_merchant(merchant)).status == "suspended"


async def test_other_merchants_keys_are_not_there(process: Process, merchant: str) -> None:
    identity = process.identity
    other = (await identity.create_merchant("Other", actor="x")).id
    key, text = await identity.create_key(secret_key(other), actor="x")
    for owner in (merchant, None, new_id("mer")):
        with pytest.raises(StrongroomError) as caught:
            await identity.revoke_key(owner, key.id, actor="x", reason="r")
        assert caught.value.code == "api_key_not_found"
    await identity.authenticate(bearer(text))


async def test_a_key_for_a_merchant_that_is_not_there(process: Process) -> None:
    for unknown in (new_id("mer"), "mer_", "shop"):
        with pytest.raises(StrongroomError) as caught:
            await process.identity.create_key(secret_key(unknown), actor="x")
        assert caught.value.code == "merchant_not_found"


SCOPE = frozenset({"payment:read"})
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(
    ("param", "changes"),
    [
        ("owner", {"owner": ""}),
        ("owner", {"owner": " order service"}),
        ("owner", {"owner": "a\nb"}),
        ("owner", {"owner": "x" * 101}),
        ("role", {"role": "operator-admin"}),
        ("role", {"role": "root"}),
        ("role", {"kind": KeyKind.PUBLISHABLE}),
        ("role", {"kind": KeyKind.RESTRICTED, "role": "merchant-publishable", "scopes": SCOPE}),
        ("merchant", {"merchant": None}),
        ("merchant", {"kind": KeyKind.RESTRICTED, "role": "operator-admin"}),
        ("scopes", {"scopes": SCOPE}),
        ("scopes", {"kind": KeyKind.RESTRICTED}),
        ("scopes", {"kind": KeyKind.RESTRICTED, "scopes": frozenset()}),
        ("scopes", {"kind": KeyKind.RESTRICTED, "scopes": frozenset({"payment:steal"})}),
        ("scopes", {"kind": KeyKind.RESTRICTED, "scopes": frozenset({"*"})}),
        ("expires_at", {"expires_at": YESTERDAY}),
        ("expires_at", {"expires_at": datetime(2090, 1, 1)}),  # noqa: DTZ001 - the point
    ],
)
async def test_no_key_may_be_like_that(
    process: Process, merchant: str, param: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(StrongroomError) as caught:
        await process.identity.create_key(secret_key(merchant, **changes), actor="x")
    assert (caught.value.code, caught.value.param) == ("invalid_parameter", param)
    assert await process.identity.list_keys(merchant) == []


async def test_operator_keys_end(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        key, _ = await process.identity.create_key(operator_key(), actor="x")
        assert key.expires_at == clock.now() + timedelta(days=90)
        too_long = operator_key(expires_at=clock.now() + timedelta(days=367))
        with pytest.raises(StrongroomError) as caught:
            await process.identity.create_key(too_long, actor="x")
        assert caught.value.param == "expires_at"


async def test_last_use_is_noted_once_a_minute(house: House) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as process:
        identity = process.identity
        shop = await identity.create_merchant("Shop", actor="x")
        key, text = await identity.create_key(secret_key(shop.id), actor="x")
        assert (await identity.list_keys(shop.id))[0].last_used_at is None
        assert await identity.flush_usage() == 0
        noted = []
        for _ in range(10):
            clock.move(15)
            await identity.authenticate(bearer(text))
            assert await identity.flush_usage() == 1
            noted.append((await identity.list_keys(shop.id))[0].last_used_at)
        assert sorted(set(noted)) == [noted[0], noted[5]]
        await identity.revoke_key(shop.id, key.id, actor="x", reason="r")


async def test_using_and_revoking_at_once_still_revokes(process: Process, merchant: str) -> None:
    identity = process.identity
    for _ in range(10):
        key, text = await identity.create_key(secret_key(merchant), actor="x")
        await identity.authenticate(bearer(text))
        await asyncio.gather(
            identity.flush_usage(),
            identity.revoke_key(merchant, key.id, actor="x", reason="r"),
        )
        with pytest.raises(StrongroomError):
            await identity.authenticate(bearer(text))


async def test_the_serving_role_can_revoke_a_key_and_no_more(
    house: House, process: Process, merchant: str
) -> None:
    await process.identity.create_key(secret_key(merchant), actor="x")
    for attempt in (
        "UPDATE iam.api_key SET role = 'operator-admin'",
        "UPDATE iam.api_key SET kind = 'sk'",
        "UPDATE iam.api_key SET scopes = NULL",
        "UPDATE iam.api_key SET networks = NULL",
        "UPDATE iam.api_key SET replaces = NULL",
        "UPDATE iam.api_key SET owner = 'nobody'",
        "UPDATE iam.merchant SET merchant_id = merchant_id",
        "DELETE FROM iam.api_key",
        "DELETE FROM iam.merchant",
        "TRUNCATE iam.api_key",
    ):
        with pytest.raises(StorageUnavailable) as caught:
            await process.database.execute(attempt)
        assert "42501" in caught.value.detail, attempt
    reader = await house.pg.database("strongroom_read")
    async with reader.session() as session:
        assert await session.fetch("SELECT merchant_id, id, owner FROM iam.api_key") == []
        await session.execute("SELECT set_config('strongroom.merchant', $1, false)", merchant)
        assert len(await session.fetch("SELECT merchant_id, id, owner FROM iam.api_key")) == 1
    with pytest.raises(StorageUnavailable) as caught:
        await reader.fetch("SELECT hash FROM iam.api_key")
    assert "42501" in caught.value.detail
    vault = await house.pg.database("strongroom_vault")
    with pytest.raises(StorageUnavailable):
        await vault.fetch("SELECT id FROM iam.api_key")


@pytest.mark.parametrize(
    ("kind", "role", "installation", "constraint"),
    [
        ("sk", "operator-admin", True, "api_key_role_of_kind"),
        ("pk", "merchant-backend", False, "api_key_role_of_kind"),
        ("rk", "merchant-backend", False, "api_key_role_of_kind"),
        ("rk", "operator-admin", False, "api_key_operator_is_installation"),
        ("sk", "merchant-backend", True, "api_key_operator_is_installation"),
    ],
)
async def test_the_database_itself_refuses_mixed_up_keys(
    house: House, kind: str, role: str, installation: bool, constraint: str
) -> None:
    owner = "00000000-0000-0000-0000-000000000000" if installation else _UUID
    with pytest.raises(StrongroomError) as caught:
        await house.owner.execute(
            "INSERT INTO iam.api_key (merchant_id, id, hash, kind, role, owner, hint, created_at, "
            "created_by, expires_at, version) VALUES "
            "($1, gen_random_uuid(), decode(repeat('00', 32), 'hex'), $2, $3, 'o', 'h', now(), "
            "'x', now() + interval '1 day', 1)",
            owner,
            kind,
            role,
        )
    assert caught.value.constraint == constraint  # type: ignore[attr-defined]


_UUID = "01890000-0000-7000-8000-000000000001"


async def test_every_column_is_on_the_data_map(house: House) -> None:
    columns = [column for column in await read(house.owner) if column.schema == "iam"]
    assert len(columns) > 21
    assert undeclared(columns) == []
    classes = {f"{c.table}.{c.name}": c.data_class for c in columns}
    assert classes["api_key.hash"] == "secret"
    assert classes["api_key.owner"] == "personal"


def test_a_key_spec_needs_an_owner() -> None:
    with pytest.raises(TypeError):
        KeySpec(merchant=None, kind=KeyKind.SECRET, role="x")  # type: ignore[call-arg]
