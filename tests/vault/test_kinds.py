"""Tokens for one payment, tokens with a life of their own, and tokens that look like digits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import free_text_holds_card_number, holds_card_number
from strongroom.kernel.secret import Pan, luhn_valid
from strongroom.vault import CardVault, TokenKind, TokenView
from strongroom.vault.brands import UNKNOWN, brand_of
from strongroom.vault.formats import Alias, fresh_alias, readings
from tests.keys.house import House, new_merchant
from tests.vault.conftest import PAN, a_card
from tests.vault.gateway import CARD_BODY, FakeGateway, post
from tests.vault.test_cards import pans

ONCE = TokenKind(single_use=True)


async def make(vault: CardVault, merchant: str, kind: TokenKind, number: str = PAN) -> TokenView:
    return await vault.tokenize(merchant, a_card(number), saved=False, actor="key_1", kind=kind)


async def outcomes(*work: object) -> list[str]:
    done = await asyncio.gather(*work, return_exceptions=True)  # type: ignore[call-overload]
    return ["ok" if isinstance(d, TokenView) else getattr(d, "code", repr(d)) for d in done]


# --- for one payment ---


async def test_one_of_many_occasions_gets_a_single_use_token(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    view = await make(vault, merchant, ONCE)
    assert view.single_use and view.used_at is None
    work = [vault.take(merchant, view.token, use=f"payment {n}", actor="key_1") for n in range(32)]
    told = await outcomes(*work)
    assert sorted(told) == ["ok"] + ["token_used"] * 31
    winner = f"payment {told.index('ok')}"
    again = await vault.take(merchant, view.token, use=winner, actor="key_1")
    assert again.used_at is not None
    with pytest.raises(StrongroomError, match="token_used"):
        await vault.take(merchant, view.token, use="another", actor="key_1")
    assert len(await installed.entries("vault:card:use")) == 1
    seen = await vault.describe(merchant, view.token)
    assert seen.single_use and seen.used_at == again.used_at


async def test_other_tokens_are_taken_as_often_as_one_likes(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    view = await make(vault, merchant, TokenKind())
    for n in range(3):
        assert await vault.take(merchant, view.token, use=str(n), actor="key_1") == view
    assert not await installed.entries("vault:card:use")


async def test_forward_uses_a_single_use_token_up(vault: CardVault, gateway: FakeGateway) -> None:
    merchant = new_merchant()
    token = (await make(vault, merchant, ONCE)).token
    await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    with pytest.raises(StrongroomError, match="token_used"):
        await vault.take(merchant, token, use="payment", actor="key_1")


async def test_another_merchant_cannot_use_it_up(vault: CardVault) -> None:
    merchant = new_merchant()
    token = (await make(vault, merchant, ONCE)).token
    with pytest.raises(StrongroomError, match="token_not_found"):
        await vault.take(new_merchant(), token, use="payment", actor="key_2")
    assert (await vault.describe(merchant, token)).used_at is None


async def test_a_token_lives_as_long_as_it_was_told(vault: CardVault, installed: House) -> None:
    merchant = new_merchant()
    short = await make(vault, merchant, TokenKind(expires_in_s=60))
    long = await make(vault, merchant, TokenKind(expires_in_s=30 * 24 * 3600))
    assert (short.expires_at, long.saved) == (
        installed.clock.now() + timedelta(seconds=60),
        False,
    )
    installed.clock.move(61)
    with pytest.raises(StrongroomError, match="token_expired"):
        await vault.describe(merchant, short.token)
    installed.clock.move(2 * 24 * 3600)
    await vault.purge_expired()
    assert await vault.describe(merchant, long.token) == long


@pytest.mark.parametrize(
    ("kind", "saved", "code"),
    [
        (TokenKind(single_use=True), True, "conflicting_parameters"),
        (TokenKind(expires_in_s=3600), True, "conflicting_parameters"),
        (TokenKind(keep_last4=True), False, "conflicting_parameters"),
        (TokenKind(expires_in_s=59), False, "invalid_parameter"),
        (TokenKind(expires_in_s=400 * 24 * 3600 + 1), False, "invalid_parameter"),
    ],
)
async def test_kinds_that_make_no_sense(
    vault: CardVault, kind: TokenKind, saved: bool, code: str
) -> None:
    with pytest.raises(StrongroomError) as refused:
        await vault.tokenize(new_merchant(), a_card(), saved=saved, actor="key_1", kind=kind)
    assert refused.value.code == code


# --- digits ---


@given(pans(), st.booleans())
def test_an_alias_is_never_a_card_number(digits: str, keep: bool) -> None:
    alias = fresh_alias(Pan(digits), keep_last4=keep)
    text = alias.text
    assert len(text) == len(digits) and text.isdigit() and text[0] == "9"
    assert not luhn_valid(text)
    assert brand_of(text).name == UNKNOWN
    assert not free_text_holds_card_number(text) and not holds_card_number(text)
    assert alias.stored == (text[:-4] + "****" if keep else text)
    assert (text[-4:] == digits[-4:]) or not keep
    assert alias.stored in (readings(text) or ())


def test_an_alias_tells_nothing_but_the_last_four_it_was_asked_to_keep() -> None:
    """Every other digit takes every value, whatever the card's digit there is."""
    for keep in (False, True):
        made = [fresh_alias(Pan(PAN), keep_last4=keep).text for _ in range(2_000)]
        free = len(PAN) - 4 if keep else len(PAN)
        for place in range(1, free):
            counts = [sum(text[place] == digit for text in made) for digit in "0123456789"]
            assert min(counts) > 100, (place, counts)


@pytest.mark.parametrize(
    "text", ["", "9", "9" * 11, "9" * 20, PAN, "8" + "1" * 15, "９" * 16, "9000000000000000"]
)
def test_what_is_no_alias(text: str) -> None:
    """The last one passes the Luhn check."""
    if text == "9000000000000000":
        text = next(f"900000000000000{d}" for d in range(10) if luhn_valid(f"900000000000000{d}"))
    assert readings(text) is None


@pytest.mark.parametrize("keep", [False, True])
async def test_an_alias_leads_to_its_token_and_no_others(
    vault: CardVault, installed: House, keep: bool
) -> None:
    merchant = new_merchant()
    view = await make(vault, merchant, TokenKind(digits=True, keep_last4=keep))
    assert view.alias is not None and len(view.alias) == 16
    assert await vault.resolve(merchant, view.alias) == view
    assert await vault.describe(merchant, view.token) == view
    wrong = view.alias[:-4] + ("0000" if view.alias[-4:] != "0000" else "1111")
    for whose, alias in ((new_merchant(), view.alias), (merchant, wrong), (merchant, PAN)):
        with pytest.raises(StrongroomError, match="token_not_found"):
            await vault.resolve(whose, alias)
    (row,) = await installed.sql("SELECT alias FROM vault.alias")
    assert row["alias"].endswith("****") is keep
    await vault.delete(merchant, view.token, actor="key_1")
    with pytest.raises(StrongroomError, match="token_not_found"):
        await vault.resolve(merchant, view.alias)


async def test_a_taken_alias_is_drawn_again(
    vault: CardVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = new_merchant()
    drawn = [Alias(t, t) for t in ("9111111111111112", "9111111111111112", "9222222222222223")]
    monkeypatch.setattr("strongroom.vault.tokens.fresh_alias", lambda *_, **__: drawn.pop(0))
    digits = TokenKind(digits=True)
    first = await make(vault, merchant, digits)
    second = await make(vault, merchant, digits)
    assert (first.alias, second.alias) == ("9111111111111112", "9222222222222223")
    drawn += [Alias("9111111111111112", "9111111111111112")] * 20
    with pytest.raises(StrongroomError, match="token_contended"):
        await make(vault, merchant, digits)
    assert await vault.resolve(merchant, "9111111111111112") == first


async def test_batches_have_kinds_too(vault: CardVault) -> None:
    merchant = new_merchant()
    cards = [a_card(), a_card("378282246310005"), a_card("30569309025904")]
    views = await vault.tokenize_batch(
        merchant,
        cards,
        saved=True,
        actor="key_1",
        kind=TokenKind(digits=True, keep_last4=True),
    )
    assert [len(view.alias or "") for view in views] == [16, 15, 14]
    assert [(view.alias or "")[-4:] for view in views] == ["4242", "0005", "5904"]
    for view in views:
        assert await vault.resolve(merchant, view.alias or "") == view
