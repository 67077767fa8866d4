"""The text of keys: uniform, checked, and read strictly."""

from __future__ import annotations

import os
import string
import zlib
from collections import Counter
from itertools import cycle

import pytest

from strongroom.identity.keytext import generate, parse
from strongroom.identity.model import KeyKind

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def checksum(body: str) -> str:
    """Written apart from the code: CRC-32 as six base62 digits, most significant first."""
    number = zlib.crc32(body.encode())
    return "".join(BASE62[number // 62**place % 62] for place in (5, 4, 3, 2, 1, 0))


def fresh(mode: str = "test", kind: KeyKind = KeyKind.SECRET) -> str:
    return generate(mode=mode, kind=kind, random_bytes=os.urandom)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["test", "live"])
@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_fresh_key_reads_back(mode: str, kind: KeyKind) -> None:
    text = fresh(mode, kind)
    assert text[:11] == f"sr_{mode}_{kind.value}_"
    assert len(text) == 11 + 30 + 6
    assert text[-6:] == checksum(text[:-6])
    for scheme in ("Bearer ", "bearer ", "BEARER  "):
        found = parse(scheme + text)
        assert found is not None
        assert (found.text, found.mode, found.kind) == (text.encode(), mode, kind)
        assert text not in repr(found)
        assert found.hint == text[:15] + "…"


def test_a_known_key() -> None:
    body = "sr_test_sk_" + "0" * 30
    found = parse(f"Bearer {body}{checksum(body)}")
    assert found is not None


def test_any_single_wrong_character_is_noticed() -> None:
    text = fresh()
    for place in range(len(text)):
        for other in "0aZ_-":
            wrong = text[:place] + other + text[place + 1 :]
            assert wrong == text or parse(f"Bearer {wrong}") is None


def test_neighbors_swapped_are_noticed() -> None:
    text = fresh()
    for place in range(len(text) - 1):
        wrong = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert wrong == text or parse(f"Bearer {wrong}") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t,
        lambda t: f"Basic {t}",
        lambda t: f"Bearer{t}",
        lambda t: f"Bearer\t{t}",
        lambda t: f" Bearer {t}",
        lambda t: f"Bearer {t} ",
        lambda t: f"Bearer {t}\n",
        lambda t: f"Bearer {t},{t}",
        lambda t: f"Bearer {t[:-1]}",
        lambda t: f"Bearer {t}0",
        lambda t: f"Bearer {t.upper()}",
        lambda t: "Bearer " + t.replace("sr_", "ѕr_"),
        lambda t: "Bearer " + t[:20] + "٣" + t[21:],
        lambda t: "Bearer " + t[:20] + "\0" + t[21:],
        lambda t: "Bearer ",
        lambda t: "Bearer " + "a" * 100_000,
    ],
)
def test_what_is_no_key(spoil: object) -> None:
    assert parse(spoil(fresh())) is None  # type: ignore[operator]


def test_a_key_of_another_kind_or_mode_cannot_be_made_of_one() -> None:
    text = fresh("test", KeyKind.PUBLISHABLE)
    assert parse("Bearer " + text.replace("_pk_", "_sk_")) is None
    assert parse("Bearer " + text.replace("_test_", "_live_")) is None


def test_every_character_is_equally_likely() -> None:
    """All byte values equally often give all 62 characters equally often; 248-255 are unused."""
    stream = cycle(range(256))
    drawn: list[int] = []

    def counted(size: int) -> bytes:
        taken = bytes(next(stream) for _ in range(size))
        drawn.extend(taken)
        return taken

    seen: Counter[str] = Counter()
    text = generate(mode="test", kind=KeyKind.SECRET, random_bytes=counted)
    expected = "".join(BASE62[b % 62] for b in drawn if b < 248)[:30]
    assert text[11:41] == expected
    for start in range(256):
        first = bytes([start]) + bytes(39)
        entropy = generate(mode="test", kind=KeyKind.SECRET, random_bytes=lambda _size, f=first: f)[
            11:41
        ]
        if start < 248:
            seen[entropy[0]] += 1
        else:
            assert entropy == "0" * 30
    assert set(seen.values()) == {4}
    assert len(seen) == 62


def test_two_keys_are_never_the_same() -> None:
    assert len({fresh() for _ in range(2000)}) == 2000
