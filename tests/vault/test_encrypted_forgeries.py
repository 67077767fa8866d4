"""No forged, changed, foreign or malformed message opens, and all get the same answer."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.kernel.limits import CLIENT_KEY_OVERLAP_S, CLIENT_KEY_USE_S
from strongroom.keys.client_keys.model import SUITES
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.vault import CardVault, EgressPolicy
from strongroom.vault.client_encryption import decide
from tests.keys.house import House, house, new_merchant
from tests.support import forgeries
from tests.support.clients import b64url, encrypt, jwe_card, unb64url
from tests.vault.clients import document, said

INVALID = "encrypted_card_invalid"
MESSAGE_CHARS = 'ABCab019-_.=+/ \n{}"v'


async def nothing_was_stored(installed: House) -> bool:
    return not (
        await installed.sql("SELECT 1 FROM vault.card")
        + await installed.sql("SELECT 1 FROM vault.client_message")
    )


async def test_every_class_of_forgery_gets_the_same_answer(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    tried = list(forgeries.structural(keys))
    accepted = [
        (name, code)
        for name, text in tried
        if (code := await said(vault, merchant, text)) != INVALID
    ]
    assert not accepted
    assert len({text for _, text in tried}) > 750
    assert await nothing_was_stored(installed)
    control = forgeries.raw_jwe(keys)
    assert await said(vault, merchant, control) == "accepted", "the tool itself makes good ones"
    control = forgeries.raw_jwe(keys, suite="jwe-x25519")
    assert await said(vault, merchant, control) == "accepted"


@pytest.mark.parametrize("suite", SUITES)
async def test_one_changed_character_anywhere(
    vault: CardVault, installed: House, suite: str
) -> None:
    merchant = new_merchant()
    good = encrypt(await document(vault, merchant), suite)
    for name, text in forgeries.flips(good):
        assert await said(vault, merchant, text) == INVALID, name
    assert await nothing_was_stored(installed)
    assert await said(vault, merchant, good) == "accepted"


@pytest.mark.parametrize("suite", SUITES)
async def test_cut_anywhere(vault: CardVault, installed: House, suite: str) -> None:
    merchant = new_merchant()
    good = encrypt(await document(vault, merchant), suite)
    for name, text in forgeries.cuts(good):
        assert await said(vault, merchant, text) == INVALID, name
    assert await nothing_was_stored(installed)


async def test_random_mutations(vault: CardVault) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    good = [encrypt(keys, suite) for suite in SUITES]
    loop = asyncio.get_running_loop()

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(good),
        st.lists(
            st.tuples(
                st.integers(0, 2_500), st.integers(0, 60), st.text(MESSAGE_CHARS, max_size=20)
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def mutate(text: str, edits: list[tuple[int, int, str]]) -> None:
        mutant = text
        for place, length, instead in edits:
            mutant = mutant[:place] + instead + mutant[place + length :]
        code = asyncio.run_coroutine_threadsafe(said(vault, merchant, mutant), loop).result()
        assert code == INVALID or mutant in good

    await asyncio.to_thread(mutate)
    rng = random.Random(1)  # noqa: S311 (mutations to be repeated, not secrets)
    for _ in range(2_000):
        text = rng.choice(good)
        parts = text.split(".")
        number = rng.randrange(len(parts))
        raw = bytearray(unb64url(parts[number])) if parts[number] else bytearray(1)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        mutant = forgeries.changed(parts, number, b64url(bytes(raw)))
        assert await said(vault, merchant, mutant) == INVALID
    fresh = [encrypt(keys, suite) for suite in SUITES]
    assert [await said(vault, merchant, text) for text in fresh] == ["accepted"] * len(SUITES)


@pytest.mark.parametrize("suite", SUITES)
async def test_parts_of_two_messages_do_not_fit(vault: CardVault, suite: str) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    one, other = encrypt(keys, suite).split("."), encrypt(keys, suite).split(".")
    for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        if mine != theirs:
            mixed = forgeries.changed(one, number, theirs)
            if number != len(one) - 1 or suite.startswith("jwe"):
                assert await said(vault, merchant, mixed) == INVALID


@pytest.mark.parametrize("suite", SUITES)
async def test_what_is_meant_for_others_does_not_open(
    vault: CardVault, postgres: EmbeddedPostgres, tmp_path: Path, suite: str
) -> None:
    """Another merchant, and an installation in live mode, with and without its keys."""
    merchant, other = new_merchant(), new_merchant()
    ours, theirs = await document(vault, merchant), await document(vault, other)
    assert await said(vault, merchant, encrypt(theirs, suite)) == INVALID
    directory = tmp_path / "live"
    directory.mkdir()
    async with house(postgres, directory, mode="live") as live:
        far = CardVault(
            live.database, live.committer, await live.keyring(), egress=EgressPolicy(),
            clock=live.clock,
        )  # fmt: skip
        elsewhere = await document(far, merchant)
        assert ":live:" in elsewhere["audience"]
        for mixed in (elsewhere, {**ours, "keys": elsewhere["keys"]},
                      {**ours, "audience": elsewhere["audience"]}):  # fmt: skip
            assert await said(vault, merchant, encrypt(mixed, suite)) == INVALID
        assert await said(far, merchant, encrypt(ours, suite)) == INVALID
        assert await said(far, merchant, encrypt(elsewhere, suite)) == "test_card_in_live_mode"
        await far.close()


async def test_an_erased_key_opens_nothing(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    for seconds in (CLIENT_KEY_USE_S + 1, CLIENT_KEY_OVERLAP_S + 1):
        installed.clock.move(seconds)
        await vault.purge_expired()
    keys["server_time"] = int(installed.clock.now().timestamp())
    for suite in SUITES:
        assert await said(vault, merchant, encrypt(keys, suite)) == INVALID


async def test_unknown_keys_do_not_cost_a_query_each(
    vault: CardVault, installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    reads = []
    read = vault._keyring.client_keys._read

    async def counted() -> None:
        reads.append(1)
        await read()

    monkeypatch.setattr(vault._keyring.client_keys, "_read", counted)
    installed.clock.move(5)
    for number in range(50):
        text = jwe_card(keys, kid=b64url(number.to_bytes(32, "big")))
        assert await said(vault, merchant, text) == INVALID
    assert len(reads) == 1


@given(st.text("AQgw-_0", max_size=12))
def test_base64url_has_one_spelling(text: str) -> None:
    try:
        data = decide.unb64url(text)
    except ValueError:
        return
    assert b64url(data) == text
