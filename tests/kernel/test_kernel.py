"""Ids, money and canonical JSON."""

from __future__ import annotations

import random
import time
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel import canonical
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_id, new_uuid7, unix_ms_of, uuid_of
from strongroom.kernel.money import CURRENCIES, Money, exponent
from strongroom.kernel.screen import free_text_holds_card_number
from strongroom.kernel.secret import Pan, luhn_valid

ASCII = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(ASCII, inner),
    max_leaves=20,
)


@given(st.uuids())
def test_an_id_holds_its_uuid(value: UUID) -> None:
    text = id_from("pay", value)
    assert len(text) == 30
    assert uuid_of(text, "pay") == value


def test_the_published_typeid_vector() -> None:
    value = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert id_from("prefix", value) == "prefix_01h455vb4pex5vsknk084sn02q"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "pay_",
        "tok_01h455vb4pex5vsknk084sn02q",
        "pay_01h455vb4pex5vsknk084sn02",
        "pay_01H455VB4PEX5VSKNK084SN02Q",
        "pay_81h455vb4pex5vsknk084sn02q",
        "pay_01h455vb4pex5vsknk084sn0il",
        "pay_01h455vb4pex5vsknk084sn02q\n",
        "pay_٠1h455vb4pex5vsknk084sn02q",
    ],
)
def test_malformed_ids_are_refused(text: str) -> None:
    with pytest.raises(StrongroomError) as caught:
        uuid_of(text, "pay")
    assert caught.value.code == "invalid_id"
    assert len(text) < 5 or text not in caught.value.public


def test_ids_sort_by_time_and_say_when() -> None:
    before = time.time_ns() // 1_000_000
    first = new_uuid7()
    time.sleep(0.002)
    second = new_id("pay")
    assert id_from("pay", first) < second
    assert before <= unix_ms_of(first) <= time.time_ns() // 1_000_000
    assert first.version == 7
    assert first.variant == "specified in RFC 4122"


@given(VALUES)
def test_canonical_json_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [1.0, 2**53, {"é": 1}, {1: 1}, b"x", {"a": object()}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(StrongroomError) as caught:
        canonical.dumps(value)
    assert caught.value.code == "not_canonical"


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1099, "EUR"), "10.99 EUR"),
        (Money(5, "EUR"), "0.05 EUR"),
        (Money(-105, "USD"), "-1.05 USD"),
        (Money(500, "JPY"), "500 JPY"),
        (Money(1234567, "KWD"), "1234.567 KWD"),
    ],
)
def test_money_for_people(money: Money, text: str) -> None:
    assert money.text() == text


def test_every_currency_has_one_exponent() -> None:
    assert {exponent(c) for c in CURRENCIES} == {0, 2, 3}
    with pytest.raises(StrongroomError):
        exponent("eur")


@given(st.text("0123456789", min_size=11, max_size=18))
def test_luhn_takes_one_check_digit_of_ten(digits: str) -> None:
    assert sum(luhn_valid(digits + str(check)) for check in range(10)) == 1


@pytest.mark.parametrize(
    "digits", ["4242424242424241", "42424242424", "4242 4242 4242 4242", "٤" * 16]
)
def test_a_pan_is_digits_that_pass_luhn(digits: str) -> None:
    with pytest.raises(StrongroomError) as caught:
        Pan(digits)
    assert caught.value.code == "incorrect_number"
    assert digits not in str(caught.value)


@pytest.mark.parametrize("pan", ["4012888888881881", "378282246310005", "30569309025904"])
@given(separator=st.text("-./_ \u00a0\u200d", max_size=3), before=st.sampled_from(["", "x", "a: "]))
def test_free_text_does_not_hide_a_card_number(pan: str, separator: str, before: str) -> None:
    written = separator.join([pan[:4], pan[4:10], pan[10:]])
    assert free_text_holds_card_number(f"{before}{written}")
    assert not free_text_holds_card_number(written[:-1])


def test_references_that_merchants_make_are_taken() -> None:
    chance = random.Random(7)  # noqa: S311 (repeatable, not secret)
    made = [f"{chance.getrandbits(128):032x}" for _ in range(100_000)]
    refused = [reference for reference in made if free_text_holds_card_number(reference)]
    assert len(refused) < 10
    dashed = [str(UUID(reference)) for reference in made]
    assert not any(map(free_text_holds_card_number, dashed))
