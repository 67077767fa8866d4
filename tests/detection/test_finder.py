"""Card numbers are found in any writing; ids, digests and times are not; nothing clear gets out."""

from __future__ import annotations

import base64
import binascii
import os
import random
import time
import uuid
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.detection import Finder
from strongroom.detection.scan import OVERLAP_BYTES
from strongroom.detection.streams import matches
from strongroom.kernel.limits import SCAN_CHUNK_BYTES
from strongroom.kernel.secret import luhn_valid
from tests.detection.cards import KINDS, masked, number

PAN = number(("visa", 16), 7)


def grouped(digits: str, gap: str) -> str:
    sizes = {15: (4, 6, 5), 14: (4, 6, 4)}.get(len(digits), (4, 4, 4, 4, 4))
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return gap.join(part for part in parts if part)


def other_script(zero: int) -> Callable[[str], bytes]:
    return lambda digits: "".join(chr(zero + int(d)) for d in digits).encode()


WRITINGS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda d: d.encode(),
    "spaces": lambda d: grouped(d, " ").encode(),
    "hyphens": lambda d: grouped(d, "-").encode(),
    "dots": lambda d: grouped(d, ".").encode(),
    "wide gaps": lambda d: grouped(d, " - ").encode(),
    "nbsp": lambda d: grouped(d, "\u00a0").encode(),
    "nbsp latin-1": lambda d: grouped(d, "\u00a0").encode("latin-1"),
    "thin spaces": lambda d: grouped(d, "\u202f").encode(),
    "en dashes": lambda d: grouped(d, "\u2013").encode(),
    "each digit apart": lambda d: " ".join(d).encode(),
    "pairs": lambda d: "-".join(d[i : i + 2] for i in range(0, len(d), 2)).encode(),
    "form": lambda d: grouped(d, "+").encode(),
    "percent gaps": lambda d: quote(grouped(d, " ")).encode(),
    "html gaps": lambda d: grouped(d, "&nbsp;").encode(),
    "full width": other_script(0xFF10),
    "arabic": other_script(0x660),
    "devanagari": other_script(0x966),
    "bold": other_script(0x1D7CE),
    "utf-16-le": lambda d: d.encode("utf-16-le"),
    "utf-16-be": lambda d: d.encode("utf-16-be"),
    "utf-16 spaces": lambda d: grouped(d, " ").encode("utf-16-le"),
    "base64": lambda d: base64.b64encode(d.encode()),
    "base64 shifted": lambda d: base64.b64encode(b"n=" + d.encode() + b"&"),
    "base64 twice shifted": lambda d: base64.b64encode(b"n" + d.encode()),
    "base64 grouped": lambda d: base64.b64encode(grouped(d, " ").encode()),
    "base64 url": lambda d: base64.urlsafe_b64encode(b'{"pan":"' + d.encode() + b'"}'),
    "mime": lambda d: base64.encodebytes(b"z" * 51 + d.encode() + b"t" * 60),
    "hex": lambda d: binascii.hexlify(d.encode()),
    "hex grouped": lambda d: binascii.hexlify(grouped(d, "-").encode()),
    "hex utf-16": lambda d: binascii.hexlify(d.encode("utf-16-le")).upper(),
    "hex dump": lambda d: d.encode().hex(" ").encode(),
    "percent": lambda d: "".join(f"%{ord(c):02X}" for c in d).encode(),
    "json escapes": lambda d: "".join(f"\\u{ord(c):04x}" for c in d).encode(),
    "c escapes": lambda d: "".join(f"\\x{ord(c):02x}" for c in d).encode(),
    "html": lambda d: "".join(f"&#{ord(c)};" for c in d).encode(),
    "html hex": lambda d: "".join(f"&#x{ord(c):x};" for c in d).encode(),
    "quoted printable": lambda d: "".join(f"={ord(c):02X}" for c in d).encode(),
    "base64 in base64": lambda d: base64.b64encode(
        base64.b64encode(b'{"padding": "' + b"k" * 90 + b'", "number": "' + d.encode() + b'"}')
    ),
    "hex in base64": lambda d: base64.b64encode(b"x" * 100 + b" " + d.encode().hex().encode()),
}
SURE = ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "mir")
_FRAME = st.binary(max_size=60).map(lambda noise: noise.translate(None, b"0123456789"))


@pytest.mark.parametrize("writing", WRITINGS)
@settings(max_examples=8, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**31), before=_FRAME, after=_FRAME)
def test_every_brand_in_every_writing_is_found(
    writing: str, kind: tuple[object, ...], seed: int, before: bytes, after: bytes
) -> None:
    digits = number(kind, seed)
    data = before + b"\n|" + WRITINGS[writing](digits) + b"|\n" + after
    found = Finder(least="low").find(data)
    assert masked(digits) in {match.mask for match in found}, writing


@pytest.mark.parametrize("writing", sorted(set(WRITINGS)))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] in SURE and kind[1] > 13])  # type: ignore[operator]
def test_well_known_brands_need_no_context(writing: str, kind: tuple[object, ...]) -> None:
    digits = number(kind, 3)
    found = Finder().find(b"<" + WRITINGS[writing](digits) + b">")
    assert masked(digits) in {match.mask for match in found}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_cut_into_groups_is_found_at_low_confidence(data: st.DataObject) -> None:
    digits = number(data.draw(st.sampled_from(KINDS)), data.draw(st.integers(0, 999)))
    gaps = data.draw(
        st.lists(
            st.sampled_from(["", "", " ", "-", ".", " - ", "\u00a0", "_", "/"]),
            min_size=len(digits) - 1, max_size=len(digits) - 1,
        )
    )  # fmt: skip
    text = "".join(digit + gap for digit, gap in zip(digits, [*gaps, ""], strict=True))
    masks = {match.mask for match in Finder(least="low").find(f"({text})".encode())}
    assert masked(digits) in masks


class Slow:
    """A source that gives its bytes in uneven pieces."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int, /) -> bytes:
        part = self._data[self._at : self._at + size]
        self._at += len(part)
        return part


@pytest.mark.parametrize("writing", ["plain", "spaces", "full width", "base64", "hex", "utf-16-le"])
@pytest.mark.parametrize("back", [0, 1, 9, 15, 16, 17, OVERLAP_BYTES // 2, OVERLAP_BYTES])
def test_a_number_over_a_border_of_parts_is_found_once(writing: str, back: int) -> None:
    written = WRITINGS[writing](PAN)
    at = SCAN_CHUNK_BYTES - back & ~1
    data = b"-" * (at - 2) + b"\n\n" + written + b"\n" + b"-" * 5000
    found = [seen for seen in matches(Slow(data), Finder()) if seen.match.mask == masked(PAN)]
    assert len(found) == 1
    assert abs(found[0].base + found[0].match.offset - at) <= 8
    assert found[0].line == 3


def test_track_data_and_codes_are_sensitive_authentication_data() -> None:
    finder = Finder()
    track_1 = f"%B{PAN}^DOE/JANE^29122010000000000000?".encode()
    track_2 = f";{PAN}=29122010000012300000?".encode()
    code = f'{{"number": "{PAN}", "exp": "12/29", "cvv2": "917"}}'.encode()
    assert [m.sad for m in finder.find(track_1)] == ["track1"]
    assert [m.sad for m in finder.find(track_2)] == ["track2"]
    assert [m.sad for m in finder.find(code)] == ["cvc"]
    assert [m.sad for m in finder.find(f"card {PAN} declined".encode())] == [""]


def test_bytes_in_decimal_beside_a_word_that_ends_in_cid_are_no_card() -> None:
    """PostgreSQL keeps expressions so: a text constant as a list of bytes, near a `funcid`."""
    tree = "{FUNCEXPR :funcid 1777 :funcresulttype 16} :constvalue 17 [ 68 0 0 0 %s ]"
    letters = random.Random(7)  # noqa: S311 - text to look into
    for _ in range(400):
        text = " ".join(str(letters.randint(97, 122)) for _ in range(14))
        assert Finder().find((tree % text).encode()) == []


def test_two_numbers_side_by_side_are_no_card() -> None:
    """As in PostgreSQL's postmaster.pid: a key of eight digits and an id of seven."""
    pairs = ((10478457 + step, 1757000 + step * 3) for step in range(500))
    assert not any(Finder().find(b"5432\n%d   %d\nready" % pair) for pair in pairs)


def test_confidence_grows_with_context() -> None:
    finder = Finder(least="low")

    def sure(text: str) -> str:
        return finder.find(text.encode())[0].confidence

    assert sure(f"order {PAN} shipped") == "medium"
    assert sure(f"card {PAN} shipped") == "high"
    assert sure(f"ratio 0.{PAN}") == "low"
    assert sure(f"id a1b2c{PAN}d4e5") == "low"
    assert sure(f"id 9f{PAN}cc81") == "low"
    assert finder.find(b'"pan":"%s"' % PAN.encode(), named=False)[0].confidence == "high"
    assert finder.find(PAN.encode(), named=True)[0].confidence == "high"


def test_published_test_numbers_are_told_apart() -> None:
    (found,) = Finder().find(b"card 4111 1111 1111 1111")
    assert found.is_test
    assert not Finder().find(f"card {PAN}".encode())[0].is_test


def test_equal_numbers_have_equal_hashes_whatever_their_writing() -> None:
    finder = Finder(keyed_hash=lambda digits: digits[::-1][:3])
    hashes = {finder.find(b" " + write(PAN))[0].keyed_hash for write in WRITINGS.values()}
    assert len(hashes) == 1
    assert Finder().find(PAN.encode())[0].keyed_hash == ""


def test_nothing_clear_gets_out(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(digits: bytes) -> bytes:
        raise RuntimeError("the hash failed")

    shown = repr(Finder().find(f"card {PAN} cvv 123".encode()))
    assert PAN not in shown and PAN[6:12] not in shown
    with pytest.raises(RuntimeError) as failed:
        Finder(keyed_hash=broken).find(PAN.encode())
    assert PAN not in str(failed.value)


NOISE: dict[str, Callable[[random.Random], str]] = {
    "uuids": lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
    "digests": lambda r: f"{r.getrandbits(256):064x}",
    "short digests": lambda r: f"commit {r.getrandbits(160):040x}"[:19],
    "unix ms": lambda r: f'"ts":{r.randrange(1_500_000_000_000, 1_900_000_000_000)}',
    "unix ns": lambda r: f"{r.randrange(15 * 10**17, 19 * 10**17)}",
    "iso times": lambda r: f"2026-11-{r.randrange(10, 28)} 10:17:07.{r.random():.6f}",
    "floats": lambda r: f"{r.random()!r}",
    "addresses": lambda r: ".".join(str(r.randrange(256)) for _ in range(4)) + " 200 1532",
    "phones": lambda r: f"+49 {r.randrange(100, 999)} {r.randrange(10**6, 10**7)}",
    "our ids": lambda r: f"pay_{r.getrandbits(125):026x}",
    "columns": lambda r: "  ".join(str(r.randrange(10**5)) for _ in range(8)),
    "versions": lambda r: ".".join(str(r.randrange(100)) for _ in range(6)),
    "base64": lambda r: base64.b64encode(r.randbytes(48)).decode(),
}  # fmt: skip


@pytest.mark.parametrize("kind", NOISE)
def test_what_is_no_card_is_rarely_found(kind: str) -> None:
    chance = random.Random(kind)  # noqa: S311 (test data)
    data = "\n".join(NOISE[kind](chance) for _ in range(20_000)).encode()
    found = Finder().find(data)
    assert len(found) <= 4, f"{len(found)} of 20,000 lines"


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_check_digit_is_no_card(kind: tuple[object, ...]) -> None:
    digits = number(kind, 11)
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert Finder(least="low").find(f"card {wrong}".encode()) == []


def test_order_numbers_are_found_by_chance_only() -> None:
    """Sixteen digits by chance: check digit and issuer leave a few in a hundred."""
    chance = random.Random(16)  # noqa: S311 (test data)
    data = "\n".join(f"order {chance.randrange(10**15, 10**16)}" for _ in range(20_000)).encode()
    assert 0.01 < len(Finder().find(data)) / 20_000 < 0.04


def test_random_bytes_are_no_cards() -> None:
    assert list(matches(Slow(os.urandom(8 << 20)), Finder())) == []


def test_a_dump_of_cards_is_read_in_time() -> None:
    chance = random.Random(1)  # noqa: S311 (test data)
    bodies = (f"453201{chance.randrange(10**9):09d}" for _ in range(20_000))
    lines = [f"card {b}{next(d for d in '0123456789' if luhn_valid(b + d))}" for b in bodies]
    started = time.monotonic()
    assert len(Finder().find("\n".join(lines).encode())) > 19_900
    assert time.monotonic() - started < 20
