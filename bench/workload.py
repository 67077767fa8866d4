"""The requests a benchmark sends: fresh cards among the published test numbers, fresh keys."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

_CARDS = ("4242424242424242", "5555555555554444", "4000056655665556", "5105105105105100")
_CARD = b'{"number":"%b","exp_month":12,"exp_year":2031,"cvc":"123","holder_name":"Ada Lovelace"}'


def payments(make: Callable[[bytes, str | None], bytes]) -> Iterator[bytes]:
    """Yield payment requests with a new card and automatic capture, each under a new key."""
    run = os.urandom(6).hex()
    cards = itertools.cycle(_CARD % number.encode() for number in _CARDS)
    for number in itertools.count():
        body = (
            b'{"amount":%d,"currency":"EUR","capture_method":"automatic","reference":"order-%d",'
            b'"payment_method":{"card":%b}}' % (100 + number % 9_000, number, next(cards))
        )
        yield make(body, f"{run}-{number}")


def tokens(make: Callable[[bytes, str | None], bytes]) -> Iterator[bytes]:
    """Yield requests for one token each."""
    for number in itertools.cycle(_CARDS):
        yield make(b'{"card":%b}' % (_CARD % number.encode()), None)


def token_batches(make: Callable[[bytes, str | None], bytes], size: int) -> Iterator[bytes]:
    """Yield requests for `size` tokens each."""
    cards = itertools.islice(itertools.cycle(_CARDS), size)
    body = b'{"cards":[%b]}' % b",".join(_CARD % number.encode() for number in cards)
    while True:
        yield make(body, None)
