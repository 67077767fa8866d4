"""Shamir's secret sharing over GF(2^8) (ISO/IEC 19592-2), byte by byte, for 256-bit secrets.

Arithmetic is by shifts and masks only: no tables, no branch and no index that depends on a value.
A set of shares has public commitments, so that each share is judged alone, before any combining: a
changed one, one of another set, and one that was given already are told apart. Fewer shares than
the threshold say nothing about the secret.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence

import msgspec

from strongroom.kernel.limits import SHARES_MAX, SHARES_THRESHOLD_MIN
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import errors

SECRET_BYTES = 32
SET_BYTES = 16
_POLYNOMIAL = 0x11B
"""x^8 + x^4 + x^3 + x + 1."""


class Share(msgspec.Struct, frozen=True):
    """One share; `index` is its x coordinate, from 1. `value` is as secret as the key itself."""

    set_id: str
    index: int
    threshold: int
    value: Secret[bytes]


class ShareSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is public about a set of shares; the root's file binds all of it.

    `commitments` has one keyed hash for each share, in hex, in order of index. A share's value is
    256 uniform bits, so its commitment does not help to find it.
    """

    set_id: str
    threshold: int
    total: int
    commitments: tuple[str, ...]


def split(secret: Secret[bytes], *, threshold: int, total: int) -> tuple[ShareSet, list[Share]]:
    """Return a new set in which any `threshold` of `total` shares give the secret back.

    Raises:
        StrongroomError: `shares_invalid` unless 2 <= threshold <= total <= 16.
    """
    clear = secret.reveal()
    if not SHARES_THRESHOLD_MIN <= threshold <= total <= SHARES_MAX:
        raise errors.shares_invalid(
            f"Choose {SHARES_THRESHOLD_MIN} to {SHARES_MAX} shares, and no more of them to open."
        )
    if len(clear) != SECRET_BYTES:
        raise errors.shares_invalid("The secret to split must have 256 bits.")
    set_id = os.urandom(SET_BYTES).hex()
    coefficients = [clear, *(os.urandom(SECRET_BYTES) for _ in range(threshold - 1))]
    shares = [
        Share(set_id, index, threshold, Secret(_evaluate(coefficients, index)))
        for index in range(1, total + 1)
    ]
    commitments = tuple(commitment(share) for share in shares)
    return (
        ShareSet(set_id=set_id, threshold=threshold, total=total, commitments=commitments),
        shares,
    )


def commitment(share: Share) -> str:
    """Return the public commitment to one share."""
    about = f"strongroom share\0{share.set_id}\0{share.index}\0{share.threshold}".encode()
    return hmac.digest(share.value.reveal(), about, "sha256").hex()


def check(public: ShareSet, share: Share) -> None:
    """Refuse a share that is not an unchanged one of this set.

    Raises:
        StrongroomError: `share_foreign`, `share_corrupted`.
    """
    if share.set_id != public.set_id:
        raise errors.share_foreign()
    fits = share.threshold == public.threshold and 1 <= share.index <= public.total
    if not fits or len(share.value.reveal()) != SECRET_BYTES:
        raise errors.share_corrupted()
    if not hmac.compare_digest(commitment(share), public.commitments[share.index - 1]):
        raise errors.share_corrupted()


def combine(public: ShareSet, shares: Sequence[Share]) -> Secret[bytes]:
    """Return the secret from at least `threshold` distinct shares of the set.

    Raises:
        StrongroomError: `shares_missing`, `share_repeated`, `share_foreign`, `share_corrupted`.
    """
    by_index: dict[int, bytes] = {}
    for share in shares:
        check(public, share)
        if share.index in by_index:
            raise errors.share_repeated()
        by_index[share.index] = share.value.reveal()
    if len(by_index) < public.threshold:
        raise errors.shares_missing(public.threshold - len(by_index))
    return Secret(_interpolate_at_0(by_index))


def _evaluate(coefficients: Sequence[bytes], x: int) -> bytes:
    """Return the polynomials' values at x, one for each byte (Horner)."""
    values = bytearray(SECRET_BYTES)
    for coefficient in reversed(coefficients):
        for place in range(SECRET_BYTES):
            values[place] = _multiply(values[place], x) ^ coefficient[place]
    return bytes(values)


def _interpolate_at_0(points: Mapping[int, bytes]) -> bytes:
    values = bytearray(SECRET_BYTES)
    for x, value in points.items():
        weight = 1
        for other in points:
            if other != x:
                weight = _multiply(weight, _multiply(other, _inverse(other ^ x)))
        for place in range(SECRET_BYTES):
            values[place] ^= _multiply(value[place], weight)
    return bytes(values)


def _multiply(a: int, b: int) -> int:
    """Return a product in GF(2^8): always eight steps, whatever the values."""
    product = 0
    for _ in range(8):
        product ^= -(b & 1) & a
        b >>= 1
        a = (a << 1) ^ (-(a >> 7) & _POLYNOMIAL)
    return product


def _inverse(a: int) -> int:
    """Return a^254, which is 1/a."""
    result = 1
    for _ in range(7):
        a = _multiply(a, a)
        result = _multiply(result, a)
    return result
