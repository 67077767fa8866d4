"""Cards that independent clients encrypted become tokens: once, within ten minutes."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import CLIENT_KEY_OVERLAP_S, ENCRYPTED_CARD_REMEMBERED_S
from strongroom.kernel.secret import EncryptedCard
from strongroom.keys.client_keys.model import SUITES
from strongroom.vault import CardVault
from tests.keys.house import House, new_merchant
from tests.support.clients import CARD, encrypt
from tests.vault.clients import document, said
from tests.vault.conftest import a_card


@pytest.mark.parametrize("suite", SUITES)
async def test_every_suite_from_another_library(vault: CardVault, suite: str) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    full = {**CARD, "holder_name": "Ångström Øst"}
    made = await vault.tokenize_encrypted(
        merchant, EncryptedCard(encrypt(keys, suite, full)), saved=True, actor="key_t",
        hold_cvc=True,
    )  # fmt: skip
    clear = a_card(holder="Ångström Øst")
    twin = await vault.tokenize(merchant, clear, saved=True, actor="key_t")
    assert (made.view.brand, made.view.last4, made.view.saved) == ("visa", "4242", True)
    assert made.view.fingerprint == twin.fingerprint and made.view.token != twin.token
    assert made.commitment == await vault.commitment(merchant, clear)
    assert made.cvc is not None
    assert vault._cvcs.open(merchant, made.view.token, made.cvc).reveal() == CARD["cvc"]


@pytest.mark.parametrize("suite", SUITES)
async def test_a_message_works_once(vault: CardVault, suite: str) -> None:
    merchant = new_merchant()
    text = encrypt(await document(vault, merchant), suite)
    assert await said(vault, merchant, text) == "accepted"
    assert await said(vault, merchant, text) == "encrypted_card_replayed"


async def test_the_same_name_in_another_message_is_a_replay_too(vault: CardVault) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    name = "a-random-name-of-a-message"
    assert await said(vault, merchant, encrypt(keys, "jwe-p256", jti=name)) == "accepted"
    again = encrypt(keys, "hpke-xwing", jti=name)
    assert await said(vault, merchant, again) == "encrypted_card_replayed"
    other = new_merchant()
    theirs = encrypt(await document(vault, other), "jwe-p256", jti=name)
    assert await said(vault, other, theirs) == "accepted", "names are each merchant's own"


async def test_fifty_at_once_have_one_winner(vault: CardVault) -> None:
    merchant = new_merchant()
    text = encrypt(await document(vault, merchant), "jwe-p256")
    answers = await asyncio.gather(*(said(vault, merchant, text) for _ in range(50)))
    assert sorted(answers) == ["accepted"] + ["encrypted_card_replayed"] * 49


async def test_two_processes_at_once_have_one_winner(vault: CardVault, installed: House) -> None:
    from strongroom.journal import MARKER
    from strongroom.storage import Committer
    from strongroom.vault import EgressPolicy

    target = installed.server.target("strongroom_vault", database=installed.name)
    committer = await Committer(target, marker=MARKER).open()
    other = CardVault(
        installed.database, committer, await installed.keyring(), egress=EgressPolicy(),
        clock=installed.clock,
    )  # fmt: skip
    merchant = new_merchant()
    keys = await document(vault, merchant)
    for _ in range(5):
        text = encrypt(keys, "jwe-p256")
        answers = await asyncio.gather(
            *(said(one, merchant, text) for one in (vault, other) for _ in range(5))
        )
        assert answers.count("accepted") == 1, answers
    await other.close()
    await committer.close()


async def test_a_refused_card_is_used_up_and_told(vault: CardVault) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    for changes, code, param in (
        ({"exp_year": 2020}, "expired_card", "encrypted_card.exp_year"),
        ({"cvc": "9731"}, "invalid_cvc", "encrypted_card.cvc"),
        ({"number": "4111111111111112"}, "incorrect_number", "encrypted_card.number"),
        ({"number": "4539148803436467"}, "live_card_in_test_mode", "encrypted_card.number"),
        ({"holder_name": "\u202e"}, "invalid_holder_name", "encrypted_card.holder_name"),
    ):
        text = EncryptedCard(encrypt(keys, "jwe-p256", {**CARD, **changes}))
        with pytest.raises(StrongroomError) as caught:
            await vault.tokenize_encrypted(merchant, text, saved=False, actor="key_t")
        assert (caught.value.code, caught.value.param) == (code, param)


async def test_time_is_the_servers(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    now = keys["server_time"]
    ahead = encrypt(keys, "jwe-p256", iat=now + 55, exp=now + 655)
    too_far = encrypt(keys, "jwe-p256", iat=now + 70, exp=now + 600)
    late = encrypt(keys, "hpke-x25519")
    assert await said(vault, merchant, ahead) == "accepted"
    assert await said(vault, merchant, too_far) == "encrypted_card_expired"
    installed.clock.move(601)
    assert await said(vault, merchant, late) == "encrypted_card_expired"
    made = await vault.commitment_encrypted(merchant, EncryptedCard(late))
    assert made == await vault.commitment(merchant, a_card())


async def test_what_was_used_is_forgotten_after_its_time_only(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    text = encrypt(await document(vault, merchant), "jwe-p256")
    assert await said(vault, merchant, text) == "accepted"
    installed.clock.move(600 + ENCRYPTED_CARD_REMEMBERED_S - 5)
    await vault.purge_expired()
    assert len(await installed.sql("SELECT id FROM vault.client_message")) == 1
    installed.clock.move(10)
    await vault.purge_expired()
    assert await installed.sql("SELECT id FROM vault.client_message") == []


async def test_a_superseded_key_opens_through_its_overlap(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    await vault._keyring.client_keys.rotate(actor="system:test")
    assert {k["kid"] for k in keys["keys"]}.isdisjoint(
        k["kid"] for k in (await document(vault, merchant))["keys"]
    )
    assert await said(vault, merchant, encrypt(keys, "jwe-p256")) == "accepted"
    installed.clock.move(CLIENT_KEY_OVERLAP_S)
    keys["server_time"] += CLIENT_KEY_OVERLAP_S
    assert await said(vault, merchant, encrypt(keys, "jwe-p256")) == "encrypted_card_invalid"


async def test_a_batch_is_all_or_none(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    keys = await document(vault, merchant)
    texts = [EncryptedCard(encrypt(keys, suite)) for suite in SUITES]
    views = await vault.tokenize_encrypted_batch(merchant, texts, saved=True, actor="key_t")
    assert len({view.token for view in views}) == len(SUITES)
    fresh = EncryptedCard(encrypt(keys, "jwe-p256"))
    for bad, code in ((texts[0], "encrypted_card_replayed"), (fresh, "encrypted_card_replayed")):
        with pytest.raises(StrongroomError) as caught:
            await vault.tokenize_encrypted_batch(merchant, [fresh, bad], saved=True, actor="key_t")
        assert caught.value.code == code and str(caught.value.param).startswith("encrypted_cards[")
    wrong = EncryptedCard(encrypt(keys, "jwe-p256", {**CARD, "exp_year": 2020}))
    with pytest.raises(StrongroomError) as caught:
        await vault.tokenize_encrypted_batch(merchant, [wrong], saved=True, actor="key_t")
    assert caught.value.param == "encrypted_cards[0].exp_year"
    for size in (0, 101):
        with pytest.raises(StrongroomError, match="batch_too_large"):
            await vault.tokenize_encrypted_batch(
                merchant, [fresh] * size, saved=True, actor="key_t"
            )
    assert len(await installed.sql("SELECT id FROM vault.card")) == len(SUITES)


async def test_nothing_that_is_kept_tells_the_card(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    text = encrypt(await document(vault, merchant), "jwe-p256")
    assert "[secret]" in repr(EncryptedCard(text)) and text not in repr(EncryptedCard(text))
    await vault.tokenize_encrypted(merchant, EncryptedCard(text), saved=True, actor="key_t")
    for table in ("vault.client_message", "journal.entry", "keys.client_key", "vault.card"):
        for row in await installed.sql(f"SELECT to_jsonb(t)::text FROM {table} t"):
            assert CARD["number"] not in row[0] and text[-80:] not in row[0]
