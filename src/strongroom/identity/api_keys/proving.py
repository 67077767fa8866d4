"""Proves who sent an API key. Refused callers read the same sentence when the reason is stored.

Only keyed hashes are looked up. While a pepper is being replaced a key is found under the one or
the other, and its hash moves to the newer one after it was used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from strongroom.identity import errors, keytext
from strongroom.identity.api_keys import decide
from strongroom.identity.api_keys.flow import ApiKeys
from strongroom.identity.api_keys.model import Hashed, Hashes, hashes_of
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import KeyRecord, Mode, Principal, Refusal
from strongroom.identity.refusals import Refusals, Refused
from strongroom.identity.usage import Usage
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError

_MOVES_MAX = 1_000
"""Keys waiting to move to a newer pepper: those that do not fit move at their next use."""

_PUBLIC = {
    Refusal.MISSING: "Send an API key in the Authorization header: 'Bearer sr_…'.",
    Refusal.MALFORMED: "The Authorization header must be 'Bearer sr_…' with a complete API key.",
    Refusal.WRONG_MODE: "The API key is for the other mode: test and live keys never mix.",
    Refusal.AMBIGUOUS: "Send one kind of credential, not two.",
}
_PUBLIC_STORED = "The API key is not valid."


class KeyProof:
    """Accepts and refuses API keys, and notes their use."""

    def __init__(
        self,
        keys: ApiKeys,
        *,
        mode: Mode,
        hashes: Hashes,
        lookup: Lookup[KeyRecord],
        usage: Usage,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._mode = mode
        self._hashes = hashes
        self._lookup = lookup
        self._usage = usage
        self._refusals = refusals
        self._clock = clock
        self._moves: OrderedDict[str, tuple[KeyRecord, Hashed]] = OrderedDict()

    async def authenticate(self, authorization: str | None, *, source: str) -> Principal:
        """Return who sent this `Authorization` header.

        Raises:
            StrongroomError: `unauthenticated`; `storage_unavailable` or `overloaded` when it
                cannot be known now.
        """
        if not authorization:
            raise self.refuse(Refusal.MISSING, source=source)
        presented = keytext.parse(authorization)
        if presented is None:
            raise self.refuse(Refusal.MALFORMED, source=source)
        if presented.mode != self._mode:
            raise self.refuse(Refusal.WRONG_MODE, source=source, presented=presented)
        hashes = await hashes_of(self._hashes, presented.text)
        found = await self.find(hashes)
        now = self._clock.now()
        refusal = decide.refusal_of(found, now=now, source=source)
        if refusal is not None or found is None:
            raise self.refuse(
                refusal or Refusal.UNKNOWN, source=source, presented=presented, found=found
            )
        self._usage.note(found.principal, now)
        if found.pepper_version < hashes[0].pepper_version and len(self._moves) < _MOVES_MAX:
            self._moves[found.principal.id] = (found, hashes[0])
        return found.principal

    async def find(self, hashes: Sequence[Hashed]) -> KeyRecord | None:
        """Return the stored key under one of the hashes."""
        for hashed in hashes:
            found = await self._lookup.find(hashed.digest)
            if found is not None:
                return found
        return None

    async def move_used(self) -> int:
        """Move keys that were used under an older pepper to the newest; return how many."""
        moved = 0
        while self._moves:
            _, (found, hashed) = self._moves.popitem(last=False)
            moved += await self._keys.move(found, hashed)
        return moved

    def refuse(
        self,
        refusal: Refusal,
        *,
        source: str,
        presented: keytext.Presented | None = None,
        found: KeyRecord | None = None,
    ) -> StrongroomError:
        """Count a refused caller and return the error to raise."""
        subject, hint = "none", ""
        if found is not None:
            subject = found.principal.id
        elif presented is not None:
            subject, hint = presented.prefix, presented.hint
        self._refusals.note(
            Refused(
                action="identity:api_key:reject",
                reason=refusal.value,
                subject=subject,
                hint=hint,
                merchant=None if found is None else found.principal.merchant,
                source=source,
            )
        )
        return errors.unauthenticated(_PUBLIC.get(refusal, _PUBLIC_STORED), detail=refusal.value)
