"""What a gateway says back never shows a card, however it writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel.secret import Cvc, Pan
from strongroom.vault.scrub import scrub
from tests.vault.test_cards import pans

VISA = "4242424242424242"
OTHER = "4539148803436467"


@pytest.mark.parametrize(
    "text",
    [
        VISA,
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242.4242.4242.4242",
        "42424242 42424242",
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        f"card {VISA} declined",
        f"1764000000 {VISA} 1764000001",
        f"x{VISA}y",
        f"00{VISA}",
        f"{VISA}00",
        f"{VISA}{VISA}",
        f"number={VISA}&cvc=1",
        f"<pan>{VISA}</pan>",
        "".join(rf"\u003{digit}" for digit in VISA),
    ],
)
def test_the_card_is_masked_in_any_writing(text: str) -> None:
    plain = scrub(text.encode(), Pan(VISA), None).decode()
    in_json = scrub(f'{{"a": "{text}"}}'.encode(), Pan(VISA), None).decode()
    for seen in (plain, in_json):
        assert "424242******4242" in seen
        assert VISA not in "".join(c for c in seen if c.isdigit() or c == "*")
    json.loads(in_json)


def test_other_cards_are_masked_too() -> None:
    body = json.dumps({"previous": OTHER, "n": int(OTHER), "list": [OTHER], OTHER: 1}).encode()
    seen = scrub(body, Pan(VISA), None)
    assert OTHER.encode() not in seen
    assert json.loads(seen) == {
        "previous": "453914******6467",
        "n": "453914******6467",
        "list": ["453914******6467"],
        "453914******6467": 1,
    }
    assert OTHER.encode() not in scrub(body, None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"created":1764000000,"network_transaction_id":"016153570198200"}',
        b'{"pspReference":"7914073381342284","at_ms":1764000000123,"ns":1764000000123456789}',
        b'{"id":"ch_01k9zzzzzzzzzzzzzzzzzzzzzz","uuid":"018f0000-0000-7000-8000-000000000001"}',
        b'{"amount":123,"checks":{"cvc":"pass"},"text":"123"}',
        b"\xff\xfe not text 123456789012 at all",
        b'{"bin":"424242","last4":"4242"}',
    ],
)
def test_what_is_no_card_stays_byte_for_byte(body: bytes) -> None:
    assert scrub(body, Pan(VISA), Cvc("123")) == body


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ({"cvc": "123"}, {"cvc": "***"}),
        ({"card": {"CVV2": "123"}}, {"card": {"CVV2": "***"}}),
        ({"security_code": 123}, {"security_code": "***"}),
        ({"errors": ["wrong cvc: 123"]}, {"errors": ["wrong cvc: ***"]}),
        ({"cvc": "123", "amount": 123}, {"cvc": "***", "amount": 123}),
    ],
)
def test_an_echoed_code_is_masked(body: object, seen: object) -> None:
    got = scrub(json.dumps(body).encode(), Pan(VISA), Cvc("123"))
    assert json.loads(got) == seen


def test_an_echoed_code_is_masked_outside_json() -> None:
    assert scrub(b"ok=0&cvc=123&amount=123", Pan(VISA), Cvc("123")) == b"ok=0&cvc=***&amount=123"


@given(
    pans(),
    st.text(alphabet=' "{}:,\\abcxyz/é', max_size=30),
    st.text(alphabet=' "{}:,\\abcxyz/é', max_size=30),
    st.sampled_from(["", " ", "-", ".", "  "]),
)
def test_no_card_passes_in_any_surroundings(
    number: str, before: str, after: str, separator: str
) -> None:
    written = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
    for body in (f"{before}{written}{after}", json.dumps({"a": f"{before}{written}{after}"})):
        seen = scrub(body.encode(), Pan(number), None).decode()
        assert number not in "".join(c for c in seen if c.isdigit() or c == "*")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 10**10) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=20,
    )
)
def test_json_without_cards_means_the_same(value: object) -> None:
    body = json.dumps({"v": value, "n": VISA}).encode()
    assert json.loads(scrub(body, Pan(VISA), None)) == {"v": value, "n": "424242******4242"}


def test_hostile_nesting_and_size_end_quickly() -> None:
    deep = b"[" * 100_000 + VISA.encode() + b"]" * 100_000
    assert VISA.encode() not in scrub(deep, Pan(VISA), None)
    digits = b"4" * 262_144
    scrub(digits, Pan(VISA), Cvc("444"))
    scrub(b"4 " * 131_072, Pan(VISA), Cvc("444"))
    scrub(b"cvc" + b"-" * 262_000 + b"444", Pan(VISA), Cvc("444"))


@pytest.mark.parametrize(
    "reference", ["ch_ba5318240000000003", "ch_4000000000000002", "4242424242424242f", "pi_3N36"]
)
def test_an_identifier_with_a_luhn_valid_run_is_left_alone(reference: str) -> None:
    body = b'{"id":"' + reference.encode() + b'","status":"approved"}'
    assert scrub(body, Pan("5555555555554444"), None) == body


def test_the_card_at_hand_is_found_inside_an_identifier() -> None:
    body = b'{"id":"ch_4242424242424242x"}'
    assert b"4242424242424242" not in scrub(body, Pan("4242424242424242"), None)
