"""Sealed rows of cards just stored or described, for the `forward` that follows within moments.

Only ciphertext is held, each row for one use and half a minute, so a payment costs one database
read less. A card removed in this process leaves at once; one removed elsewhere within that half
minute could have been forwarded a moment earlier just as well.
"""

from __future__ import annotations

from collections import OrderedDict

from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import FRESH_CARD_TTL_S, FRESH_CARDS_MAX
from strongroom.vault.records import StoredCard


class FreshCards:
    """Maps (merchant, token) to a sealed row; bounded, one-shot, short-lived."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._held: OrderedDict[tuple[str, str], tuple[float, StoredCard]] = OrderedDict()

    def put(self, merchant: str, token: str, card: StoredCard) -> None:
        """Hold a row for its next use."""
        self._held[merchant, token] = (self._monotonic() + FRESH_CARD_TTL_S, card)
        if len(self._held) > FRESH_CARDS_MAX:
            self._held.popitem(last=False)

    def take(self, merchant: str, token: str) -> StoredCard | None:
        """Return a row once."""
        held = self._held.pop((merchant, token), None)
        if held is None or held[0] <= self._monotonic():
            return None
        return held[1]
