"""Idempotency keys (IETF draft idempotency-key-header): one effect and one answer for each key.

The claim is written with the first Change of a request and its answer with the last. A key whose
request certainly had no effect is released and may be used again: its next generation.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID

import msgspec

from strongroom.payments.errors import key_in_use, key_reused
from strongroom.payments.idempotency import records
from strongroom.payments.model import Answer, Idempotency
from strongroom.storage import Change, Database

MAX_GENERATIONS = 50
"""How often a released key may be tried again before it is refused."""


class Key(msgspec.Struct, frozen=True):
    """A merchant's idempotency key in one generation; `id` is what is stored of it."""

    merchant: str
    id: UUID
    request_hash: bytes
    generation: int
    source: Idempotency

    def claim(self, change: Change, now: datetime, *, answer: Answer | None = None) -> None:
        """Add the claim of this key to a Change, with its answer when it is known already."""
        records.add_claim(change, self.merchant, self.id, self.request_hash, now, answer=answer)


def first(merchant: str, source: Idempotency, commitment: bytes = b"") -> Key:
    """Return the first generation of a key for a request."""
    hashed = hashlib.sha256()
    for part in (source.scope.encode(), source.payload, commitment):
        hashed.update(len(part).to_bytes(4, "big") + part)
    return _generation(merchant, source, hashed.digest(), 0)


async def resolve(database: Database, key: Key) -> Answer | Key:
    """Return the stored answer of a lost claim, or the next generation of a released key.

    Raises:
        StrongroomError: `idempotency_key_reused` for another request, `idempotency_key_in_use`
            while the first one runs.
    """
    stored = await records.claimed(database, key.merchant, key.id)
    if stored is None:
        return key
    if stored.request_hash != key.request_hash:
        raise key_reused()
    if stored.state == "done" and stored.status is not None and stored.body is not None:
        return Answer(stored.status, stored.body, replayed=True)
    if stored.state == "released" and key.generation < MAX_GENERATIONS:
        return _generation(key.merchant, key.source, key.request_hash, key.generation + 1)
    raise key_in_use()


async def stored_answer(database: Database, merchant: str, claim: UUID) -> Answer | None:
    """Return the answer under a claimed key, if its request has ended."""
    stored = await records.claimed(database, merchant, claim)
    if stored is None or stored.status is None or stored.body is None:
        return None
    return Answer(stored.status, stored.body)


def _generation(merchant: str, source: Idempotency, request_hash: bytes, number: int) -> Key:
    text = "\0".join((merchant, source.scope, source.key, str(number)))
    digest = hashlib.sha256(text.encode()).digest()
    return Key(merchant, UUID(bytes=digest[:16]), request_hash, number, source)


answer = records.add_answer
release = records.add_release
purge = records.purge
