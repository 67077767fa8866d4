"""The key that signs access tokens: made once, replaced, taken out of use, and for nothing else."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from jwcrypto import jwk, jws

from strongroom.kernel.edge_limits import TOKEN_KEY_KEPT_S, TOKEN_KEY_OVERLAP_S
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.keys import AccessToken, Keyring, LocalDesk, PublicTokenKey
from strongroom.keys.token_keys.decide import fault
from tests.keys.house import House


def token(at: datetime, **changes: object) -> AccessToken:
    now = int(at.timestamp())
    made = AccessToken(
        id=new_id("oat"),
        issuer="https://pay.example",
        audience="https://pay.example/v1",
        client=new_id("ocl"),
        merchant=new_id("mer"),
        scope="payment:create payment:read",
        issued_at=now,
        expires_at=now + 300,
        key_thumbprint="A" * 43,
    )
    return msgspec.structs.replace(made, **changes)


def read_by_others(text: str, key: PublicTokenKey) -> dict[str, object]:
    made = jws.JWS()
    made.deserialize(text, jwk.JWK(kty="EC", crv="P-256", x=key.x, y=key.y))
    assert json.loads(json.dumps(made.jose_header)) == {
        "alg": "ES256", "kid": key.kid, "typ": "at+jwt",
    }  # fmt: skip
    found: dict[str, object] = json.loads(made.payload)
    return found


async def test_one_key_is_made_by_however_many_and_signs_what_others_verify(
    installed: House,
) -> None:
    one, two = await installed.keyring(), await installed.keyring()
    found = await asyncio.gather(*(LocalDesk(k).access_token_keys() for k in (one, two, one, two)))
    assert len({key.kid for keys in found for key in keys}) == 1
    wanted = token(installed.clock.now())
    (key,) = found[0]
    for keyring in (one, two):
        claims = read_by_others(await LocalDesk(keyring).sign_access_token(wanted), key)
        assert claims["mode"] == installed.mode and claims["jti"] == wanted.id
        assert claims["cnf"] == {"jkt": "A" * 43}


NO_TOKENS: dict[str, dict[str, object]] = {
    "unbound": {"key_thumbprint": None},
    "bound twice": {"certificate_thumbprint": "B" * 43},
    "short thumbprint": {"key_thumbprint": "A" * 42},
    "padded thumbprint": {"key_thumbprint": "A" * 42 + "="},
    "other audience": {"audience": "https://pay.example"},
    "other service": {"audience": "https://other.example/v1"},
    "no URL": {"issuer": "pay", "audience": "pay/v1"},
    "two lines": {"issuer": "https://pay\n", "audience": "https://pay\n/v1"},
    "a person": {"client": "opr_01k00000000000000000000000"},
    "a key": {"client": "key_01k00000000000000000000000"},
    "a name": {"client": "admin"},
    "no merchant": {"merchant": ""},
    "other id": {"id": "x"},
    "no scope": {"scope": ""},
    "scope of all": {"scope": "*"},
    "strange scope": {"scope": 'payment:create","role":"operator-admin'},
    "two blanks": {"scope": "payment:create  payment:read"},
}


@pytest.mark.parametrize("name", NO_TOKENS)
def test_nothing_else_is_signed(name: str) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert fault(token(now), now) is None
    assert fault(token(now, **NO_TOKENS[name]), now) is not None


async def test_the_signing_side_has_its_own_clock(installed: House) -> None:
    desk = LocalDesk(await installed.keyring())
    now = int(installed.clock.now().timestamp())
    for changes in (
        {"expires_at": now + 301},
        {"expires_at": now + 3600},
        {"issued_at": now + 60, "expires_at": now + 360},
        {"issued_at": now - 60, "expires_at": now + 240},
        {"client": "admin"},
    ):
        with pytest.raises(StrongroomError) as caught:
            await desk.sign_access_token(token(installed.clock.now(), **changes))
        assert caught.value.code == "token_not_signable"


async def states(house: House) -> list[tuple[int, str]]:
    rows = await house.database.fetch(
        "SELECT version, state, wrapped FROM keys.service_key WHERE purpose = 'token-signing' "
        "ORDER BY version"
    )
    assert all((row["wrapped"] is None) == (row["state"] == "destroyed") for row in rows)
    return [(row["version"], row["state"]) for row in rows]


async def test_a_replaced_key_verifies_until_its_last_token_is_over_and_is_then_destroyed(
    installed: House,
) -> None:
    keyring, other = await installed.keyring(), await installed.keyring()
    (first,) = await other.token_keys.published()
    second, former = await keyring.token_keys.rotate(actor="local:test")
    assert former.kid == first.kid and (second.signs, former.signs) == (True, False)
    await other.refresh()
    assert read_by_others(await other.token_keys.sign(token(installed.clock.now())), second)
    installed.clock.move(TOKEN_KEY_OVERLAP_S + 1)
    assert [key.kid for key in await other.token_keys.published()] == [second.kid]
    assert await states(installed) == [(1, "decrypt_only"), (2, "active")]
    installed.clock.move(TOKEN_KEY_KEPT_S)
    await other.token_keys.published()
    assert await states(installed) == [(1, "destroyed"), (2, "active")]


async def test_a_key_is_renewed_before_its_end(installed: House) -> None:
    keyring = await installed.keyring()
    (first,) = await keyring.token_keys.published()
    installed.clock.move(timedelta(days=83, minutes=1).total_seconds())
    second, former = await keyring.token_keys.published()
    assert former.kid == first.kid and second.signs


async def test_a_compromised_key_verifies_nothing_any_more(installed: House) -> None:
    keyring, other = await installed.keyring(), await installed.keyring()
    (first,) = await other.token_keys.published()
    (info,) = [k for k in await keyring.inventory() if k.purpose == "token-signing"]
    assert await keyring.token_keys.is_one(info.id)
    (second,) = await keyring.token_keys.compromise(info.id, actor="local:test")
    await other.refresh()
    assert [key.kid for key in await other.token_keys.published()] == [second.kid] != [first.kid]
    assert await states(installed) == [(1, "destroyed"), (2, "active")]
    with pytest.raises(StrongroomError) as caught:
        await keyring.token_keys.compromise(info.id, actor="local:test")
    assert caught.value.code == "key_state_not_possible"


async def test_a_public_key_that_was_exchanged_is_refused(installed: House) -> None:
    keyring: Keyring = await installed.keyring()
    await keyring.token_keys.published()
    await installed.sql(
        "UPDATE keys.service_key SET public_key = set_byte(public_key, 9, 7) "
        "WHERE purpose = 'token-signing'"
    )
    with pytest.raises(StrongroomError) as caught:
        await (await installed.keyring()).token_keys.published()
    assert caught.value.code == "key_record_forged"
