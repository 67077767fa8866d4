"""Which cards the vault takes and how much of them it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.secret import Cvc, Pan, Secret, luhn_valid
from strongroom.vault import CardInput, decide
from strongroom.vault.brands import BRANDS, PUBLISHED_TEST_NUMBERS, brand_of
from strongroom.vault.tokens import new_token_numbers

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIVE_VISA = "4539148803436467"


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn_valid(digits + last))


@st.composite
def pans(draw: st.DrawFn) -> str:
    """A Luhn-valid number of any brand (or none) and any length that brand has."""
    brand = draw(st.sampled_from([*BRANDS, None]))
    if brand is None:
        length, prefix = draw(st.integers(12, 19)), draw(st.sampled_from(["1", "7", "8", "9"]))
    else:
        length = draw(st.sampled_from(sorted(brand.lengths)))
        prefix = str(draw(st.integers(*draw(st.sampled_from(brand.ranges)))))
    rest = length - 1 - len(prefix)
    tail = draw(st.text("0123456789", min_size=rest, max_size=rest))
    return with_check_digit(prefix + tail)


@given(pans())
def test_never_more_digits_show_than_pci_allows(digits: str) -> None:
    """FAQ 1091: at most first six and last four here, and at least four hidden."""
    first, last = decide.shown_digits(digits)
    masked = decide.mask(Pan(digits))
    assert len(masked) == len(digits)
    assert len(first) <= 6 and len(last) <= 4
    assert masked.count("*") >= 4
    assert masked == first + "*" * (len(digits) - len(first) - len(last)) + last
    if len(digits) >= 15:
        assert masked.count("*") >= 5, "Amex and longer"
    assert digits.startswith(first) and digits.endswith(last)


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("371449635398431", "amex"),
        ("6011111111111117", "discover"),
        ("6221260000000000", "discover"),
        ("6229260000000000", "unionpay"),
        ("30569309025904", "diners"),
        ("36227206271667", "diners"),
        ("3530111333300000", "jcb"),
        ("6200000000000005", "unionpay"),
        ("6703444444444449", "maestro"),
        ("9000000000000000", "unknown"),
        ("2220990000000000", "unknown"),
        ("2721000000000000", "unknown"),
    ],
)
def test_brands_by_range(number: str, brand: str) -> None:
    assert brand_of(number).name == brand


def test_every_published_number_is_a_card_of_its_brand() -> None:
    assert len(PUBLISHED_TEST_NUMBERS) >= 50
    for number in PUBLISHED_TEST_NUMBERS:
        assert luhn_valid(number), number
        assert len(number) in brand_of(number).lengths, number


def card(number: str = "4242424242424242", **more: object) -> CardInput:
    given_ = {"exp_month": 12, "exp_year": 2030, **more}
    return CardInput(number=Pan(number), **given_)  # type: ignore[arg-type]


def check(given_: CardInput, mode: str = "test") -> str:
    return decide.check_card(given_, mode=mode, now=NOW).name  # type: ignore[arg-type]


def test_test_mode_takes_published_numbers_only() -> None:
    assert check(card()) == "visa"
    with pytest.raises(StrongroomError, match="live_card_in_test_mode"):
        check(card(LIVE_VISA))


def test_live_mode_refuses_published_numbers() -> None:
    assert check(card(LIVE_VISA), "live") == "visa"
    for number in PUBLISHED_TEST_NUMBERS:
        with pytest.raises(StrongroomError, match="test_card_in_live_mode"):
            check(card(number), "live")


def test_a_visa_has_no_fifteen_digits() -> None:
    with pytest.raises(StrongroomError, match="incorrect_number"):
        check(card(with_check_digit("42424242424242")), "live")


@pytest.mark.parametrize(
    ("month", "year", "code"),
    [
        (0, 2030, "invalid_expiry_month"),
        (13, 2030, "invalid_expiry_month"),
        (-1, 2030, "invalid_expiry_month"),
        (12, 30, "invalid_expiry_year"),
        (12, 2052, "invalid_expiry_year"),
        (12, 99999, "invalid_expiry_year"),
        (10, 2026, "expired_card"),
        (12, 2025, "expired_card"),
        (11, 2026, None),
        (12, 2051, None),
    ],
)
def test_expiry(month: int, year: int, code: str | None) -> None:
    if code is None:
        assert check(card(exp_month=month, exp_year=year))
        return
    with pytest.raises(StrongroomError) as refused:
        check(card(exp_month=month, exp_year=year))
    assert refused.value.code == code


def test_a_card_is_good_to_the_end_of_its_month_everywhere() -> None:
    ended = card(exp_month=11, exp_year=2026)
    still_november = datetime(2026, 12, 1, 11, 59, tzinfo=UTC)
    decide.check_card(ended, mode="test", now=still_november)
    with pytest.raises(StrongroomError, match="expired_card"):
        decide.check_card(ended, mode="test", now=datetime(2026, 12, 1, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("number", "cvc", "good"),
    [
        ("4242424242424242", "123", True),
        ("4242424242424242", "1234", False),
        ("378282246310005", "1234", True),
        ("378282246310005", "123", False),
    ],
)
def test_code_length_by_brand(number: str, cvc: str, good: bool) -> None:
    given_ = card(number, cvc=Cvc(cvc))
    if good:
        check(given_)
    else:
        with pytest.raises(StrongroomError, match="invalid_cvc"):
            check(given_)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00", "x" * 101])
def test_holder_names_that_are_none(name: str) -> None:
    with pytest.raises(StrongroomError, match="invalid_holder_name"):
        check(card(holder_name=Secret(name)))


def test_no_refusal_echoes_the_card() -> None:
    for bad in (
        card(LIVE_VISA),
        card(exp_month=13),
        card(cvc=Cvc("9871")),
        card(holder_name=Secret("evil\nname")),
    ):
        with pytest.raises(StrongroomError) as refused:
            check(bad)
        told = repr(refused.value) + str(refused.value) + refused.value.detail
        assert not any(word in told for word in (LIVE_VISA, "9871", "evil", "4242"))


@given(
    pans(),
    st.one_of(st.none(), st.text(min_size=1, max_size=100)),
    st.integers(1, 12),
    st.integers(2000, 2099),
)
def test_what_is_packed_comes_back(number: str, holder: str | None, month: int, year: int) -> None:
    given_ = CardInput(
        number=Pan(number),
        exp_month=month,
        exp_year=year,
        holder_name=None if holder is None else Secret(holder),
    )
    packed = decide.pack_card(given_)
    back = decide.unpack_card(packed)
    assert len(packed) % 64 == 0
    assert back.number.reveal() == number
    assert (back.exp_month, back.exp_year) == (month, year)
    assert (back.holder_name.reveal() if back.holder_name else None) == holder


@given(pans(), pans(), st.text(max_size=9), st.text(max_size=9))
def test_commitments_differ_when_cards_differ(
    one: str, two: str, name_one: str, name_two: str
) -> None:
    def text(number: str, name: str) -> bytes:
        return decide.commitment_text(card(number, holder_name=Secret(name), cvc=Cvc("123")))

    assert (text(one, name_one) == text(two, name_two)) == ((one, name_one) == (two, name_two))
    assert decide.commitment_text(card()) == decide.commitment_text(card(cvc=Cvc("999")))


def test_tokens_are_random_and_tell_nothing_but_the_minute() -> None:
    made = {UUID(int=number) for number in new_token_numbers(NOW, 10_000)}
    assert len(made) == 10_000
    assert len({uuid.int >> 100 for uuid in made}) == 1
    assert all((uuid.version, uuid.variant) == (8, "specified in RFC 4122") for uuid in made)
    varying = 0
    for uuid in made:
        varying |= uuid.int ^ next(iter(made)).int
    assert varying.bit_count() == 94
    uuid = made.pop()
    assert uuid_of(id_from("tok", uuid), "tok") == uuid
