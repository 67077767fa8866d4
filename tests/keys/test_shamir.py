"""Shamir's scheme: any m shares give the key, fewer give nothing, and a bad share is named."""

from __future__ import annotations

import itertools
import os
import random
import secrets

import msgspec
import pytest
from pyshamir import combine as their_combine
from pyshamir import split as their_split

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import shamir
from strongroom.keys.ceremony.shamir import Share, ShareSet, check, combine, split


def refused(public: ShareSet, shares: list[Share]) -> str:
    with pytest.raises(StrongroomError) as caught:
        combine(public, shares)
    return caught.value.code


def changed(share: Share, **to: object) -> Share:
    return msgspec.structs.replace(share, **to)


@pytest.mark.parametrize(("threshold", "total"), [(2, 2), (2, 3), (3, 5), (5, 5), (4, 7), (16, 16)])
def test_any_m_of_n_give_the_secret_back(threshold: int, total: int) -> None:
    secret = os.urandom(32)
    public, shares = split(Secret(secret), threshold=threshold, total=total)
    subsets = list(itertools.combinations(shares, threshold))
    for chosen in random.sample(subsets, min(len(subsets), 12)):
        order = random.sample(chosen, len(chosen))
        assert combine(public, order).reveal() == secret
    assert combine(public, shares).reveal() == secret


def test_too_few_shares_are_refused_and_fit_every_secret() -> None:
    public, shares = split(Secret(b"\x5a" * 32), threshold=3, total=5)
    assert refused(public, shares[:2]) == "shares_missing"
    assert refused(public, []) == "shares_missing"
    points = {share.index: share.value.reveal()[0] for share in shares[:2]}
    possible = set()
    for third in range(256):
        tried = {**points, 3: third}
        padded = {x: bytes([y]) * 32 for x, y in tried.items()}
        possible.add(shamir._interpolate_at_0(padded)[0])
    assert len(possible) == 256, "two of three shares leave every byte possible"


def test_shares_of_one_secret_look_random() -> None:
    firsts = {
        split(Secret(bytes(32)), threshold=2, total=2)[1][0].value.reveal() for _ in range(64)
    }
    assert len(firsts) == 64
    ones = sum(bin(int.from_bytes(value)).count("1") for value in firsts)
    assert abs(ones - 64 * 128) < 600


def test_the_other_implementation_reads_ours_and_we_read_theirs() -> None:
    for _ in range(5):
        secret = os.urandom(32)
        _, shares = split(Secret(secret), threshold=3, total=5)
        given = [bytearray(s.value.reveal() + bytes([s.index])) for s in shares]
        assert bytes(their_combine(random.sample(given, 3))) == secret
        theirs = their_split(secret, 5, 3)
        points = {part[-1]: bytes(part[:-1]) for part in random.sample(theirs, 3)}
        assert shamir._interpolate_at_0(points) == secret


def test_the_field_is_a_field() -> None:
    def slow(a: int, b: int) -> int:
        product = 0
        for bit in range(8):
            product ^= (a << bit) * (b >> bit & 1)
        for bit in range(15, 7, -1):
            product ^= (shamir._POLYNOMIAL << bit - 8) * (product >> bit & 1)
        return product

    for a in range(256):
        assert [shamir._multiply(a, b) for b in range(256)] == [slow(a, b) for b in range(256)]
        assert a == 0 or shamir._multiply(a, shamir._inverse(a)) == 1


def test_a_bad_share_is_told_from_a_foreign_and_a_repeated_one() -> None:
    secret = Secret(secrets.token_bytes(32))
    public, shares = split(secret, threshold=3, total=5)
    other, others = split(secret, threshold=3, total=5)
    assert refused(public, [shares[0], shares[1], shares[1]]) == "share_repeated"
    assert refused(public, [shares[0], shares[1], others[2]]) == "share_foreign"
    moved = changed(others[2], set_id=public.set_id)
    assert refused(public, [shares[0], shares[1], moved]) == "share_corrupted"
    assert refused(public, [shares[0], changed(shares[1], index=3)]) == "share_corrupted"
    for index in (0, 6, -1, 2**40):
        assert refused(public, [changed(shares[0], index=index)]) == "share_corrupted"
    assert refused(public, [changed(shares[0], threshold=2)]) == "share_corrupted"
    assert refused(other, shares[:3]) == "share_foreign"


def test_every_changed_bit_of_a_share_is_noticed() -> None:
    public, shares = split(Secret(os.urandom(32)), threshold=2, total=3)
    value = shares[0].value.reveal()
    for bit in range(256):
        spoiled = bytearray(value)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StrongroomError, match="share_corrupted"):
            check(public, changed(shares[0], value=Secret(bytes(spoiled))))
    with pytest.raises(StrongroomError, match="share_corrupted"):
        check(public, changed(shares[0], value=Secret(value[:-1])))


@pytest.mark.parametrize(
    ("threshold", "total"), [(1, 3), (0, 0), (4, 3), (2, 17), (17, 17), (-2, 5)]
)
def test_numbers_that_make_no_set_are_refused(threshold: int, total: int) -> None:
    with pytest.raises(StrongroomError, match="shares_invalid"):
        split(Secret(os.urandom(32)), threshold=threshold, total=total)


def test_no_share_shows_itself() -> None:
    _, shares = split(Secret(b"\xaa" * 32), threshold=2, total=2)
    assert shares[0].value.reveal().hex() not in repr(shares)
    with pytest.raises(TypeError):
        msgspec.json.encode(shares[0])
