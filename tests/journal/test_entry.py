"""What an entry is, byte for byte, and what it refuses to hold."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.journal import Entry, record
from strongroom.journal.decide import body_of, timestamp
from strongroom.journal.records import ENTRY
from strongroom.kernel import canonical
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, new_id, new_uuid7, uuid_of
from strongroom.kernel.screen import holds_card_number, possible
from strongroom.kernel.secret import Cvc, Pan, Secret, luhn_valid
from strongroom.storage import Change
from tests.journal.support import MERCHANT, entry

AT = datetime(2026, 11, 23, 8, 30, 35, 123_987, tzinfo=UTC)
ID = "ent_01m83rxknnfp0b7s4642bwe5vc"
VISA = "4111111111111111"
CARDS = [VISA, "378282246310005", "5555555555554444", "6200000000000005", "30569309025904"]


def body(made: Entry) -> bytes:
    return body_of(made, entry_id=ID, at=AT)


def test_body_is_canonical_json_with_its_own_id() -> None:
    made = entry(subject="pay_1", b="é\u2028\x01", a=True)
    told = json.loads(body(made))
    assert body(made) == rfc8785.dumps(told)
    assert told == {
        "id": ID,
        "at": "2026-11-23T08:30:35.123Z",
        "merchant": MERCHANT,
        "actor": made.actor,
        "action": "payments:payment:authorize",
        "subject": "pay_1",
        "outcome": "approved",
        "reason": None,
        "facts": {"amount_minor": 1099, "currency": "EUR", "b": "é\u2028\x01", "a": True},
        "request": made.request,
    }


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(max_codepoint=127)),
        st.one_of(
            st.text(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=3)
        ),
    )
)
def test_any_facts_are_canonical(facts: dict[str, Any]) -> None:
    made = Entry(action="a:b:c", subject="s", outcome="o", merchant=None, actor="x", facts=facts)
    if holds_card_number(json.dumps(facts, ensure_ascii=False)):
        return
    held = body(made)
    assert held == canonical.dumps(json.loads(held)) == rfc8785.dumps(json.loads(held))


def test_time_is_utc_with_milliseconds_cut() -> None:
    assert timestamp(AT) == "2026-11-23T08:30:35.123Z"
    assert timestamp(AT.astimezone(timezone(timedelta(hours=2)))) == "2026-11-23T08:30:35.123Z"
    assert timestamp(AT.replace(microsecond=0)) == "2026-11-23T08:30:35.000Z"


def test_record_adds_one_row_to_the_change() -> None:
    change = Change()
    entry_id = record(change, entry(), at=AT)
    [(shape, row)] = change.rows
    assert shape is ENTRY
    assert row[:5] == (
        uuid_of(MERCHANT, "mer"),
        uuid_of(entry_id, "ent"),
        AT,
        "payments:payment:authorize",
        "pay_1",
    )
    assert json.loads(row[5])["id"] == entry_id


def test_entries_of_the_installation_have_no_merchant() -> None:
    change = Change()
    record(change, entry(merchant=None), at=AT)
    [(_, row)] = change.rows
    assert row[0] == NIL_UUID
    assert json.loads(row[5])["merchant"] is None


@pytest.mark.parametrize(
    "secret", [Pan(VISA), Cvc("123"), Secret("abc"), b"bytes", 1.5, None, [1], {"a": 1}]
)
@pytest.mark.parametrize("field", ["subject", "outcome", "actor", "fact", "reason", "action"])
def test_nothing_but_plain_values_is_taken(secret: Any, field: str) -> None:
    if secret is None and field == "reason":
        return
    values: dict[str, Any] = {
        "action": "a:b:c",
        "subject": "s",
        "outcome": "o",
        "actor": "x",
        "merchant": None,
        "facts": {"fact": secret} if field == "fact" else {},
    }
    if field != "fact":
        values[field] = secret
    with pytest.raises(StrongroomError) as refusal:
        Entry(**values)
    assert refusal.value.code == "journal_refused"
    assert "4111" not in f"{refusal.value}{refusal.value.detail}"


@pytest.mark.parametrize("action", ["payment", "a:b", "A:b:c", "a:b:c:d", "a:b:", "a:b:c\n", ""])
def test_actions_have_a_grammar(action: str) -> None:
    with pytest.raises(StrongroomError, match="journal_refused"):
        Entry(action=action, subject="s", outcome="o", merchant=None, actor="x")


def test_facts_without_canonical_form_are_refused() -> None:
    for facts in ({"a": 2**53}, {"é": 1}, {1: "a"}):
        with pytest.raises(StrongroomError, match="journal_refused"):
            Entry(
                action="a:b:c",
                subject="s",
                outcome="o",
                merchant=None,
                actor="x",
                facts=facts,  # type: ignore[arg-type]
            )
    with pytest.raises(StrongroomError, match="journal_refused"):
        body(entry(text="\ud800"))


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "card {}",
        "PAN{}",
        "{}abc",
        "pan:{}.",
        "{} {}",
        "12 {}",
        "{}-7",
        "order 2026-11-23 {}",
        "_{}_",
    ],
)
def test_card_numbers_are_found_in_any_text(card: str, form: str) -> None:
    spaced = " ".join(card[at : at + 4] for at in range(0, len(card), 4))
    for number in (card, spaced, spaced.replace(" ", "-")):
        text = form.replace("{}", number)
        for made in (entry(note=text), entry(reason=text), entry(subject=text)):
            with pytest.raises(StrongroomError) as refusal:
                body(made)
            assert refusal.value.code == "journal_refused"
            assert card not in f"{refusal.value}{refusal.value.detail}{refusal.value!r}"


def test_card_numbers_are_found_in_integers() -> None:
    with pytest.raises(StrongroomError, match="journal_refused"):
        body(entry(number=int(VISA)))


def test_what_only_looks_long_is_taken() -> None:
    now = time.time_ns()
    harmless: list[str | int] = [
        "4111111111111112",
        "01234567890123456789",
        "41111111111111111111111",
        now // 1000,
        now // 1_000_000,
        "2026-11-23T08:30:35.123Z",
        "4111 1111",
        "12345678-1234-4111-8111-111111111111",
        f"e3b0c4{VISA}ab",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ]
    for value in harmless:
        body(entry(value=value))


def test_ids_and_digests_are_never_taken_for_cards() -> None:
    """Digits fill almost every place of these ids; none may be refused."""
    for number in range(2_000):
        digits = f"{number:020d}"
        suffix = "01" + digits + "4111"
        assert not holds_card_number(f"pay_{suffix}")
        assert not holds_card_number(str(UUID(f"{number:012d}41118111{number:012d}")))
    for number in range(20_000):
        assert not holds_card_number(new_id("tok"))
        assert not holds_card_number(hashlib.sha256(b"%d" % number).hexdigest())


@given(st.text('0123456789 -ab"', min_size=12, max_size=60))
def test_the_cheap_look_misses_nothing(text: str) -> None:
    if holds_card_number(text):
        assert possible(text.encode())


@given(st.integers(2 * 10**14, 7 * 10**14 - 1))
def test_any_luhn_number_is_found(head: int) -> None:
    card = next(f"{head}{check}" for check in range(10) if luhn_valid(f"{head}{check}"))
    assert holds_card_number(json.dumps({"x": card}))


def test_recording_costs_microseconds() -> None:
    """Every request records several entries; 10 µs is the aim, the bound allows a busy machine."""
    at = datetime.now(UTC)
    best = float("inf")
    for _ in range(5):
        change = Change()
        start = time.perf_counter()
        for _ in range(500):
            record(change, entry(token="tok_01m83rxknne5k95qw4yqt4t36h"), at=at)
        best = min(best, (time.perf_counter() - start) / 500)
    assert best < 60e-6, f"{best * 1e6:.1f} µs"


def test_new_uuids_sort_after_older_ones() -> None:
    first = new_uuid7()
    time.sleep(0.002)
    assert new_uuid7() > first
