"""What the journal's tests share: a signer, a house of database roles, and a naive tree."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.journal import MARKER, Entry, Journal, Sequencer, record
from strongroom.journal.note import verifier_key
from strongroom.journal.tree import EMPTY_ROOT, node_hash
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.ids import new_id
from strongroom.storage import Change, Committer, Database
from strongroom.storage.embedded import EmbeddedPostgres

CLOCK = SystemClock()
MERCHANT = new_id("mer")
ACTOR = new_id("key")


class TestSigner:
    """An Ed25519 key in memory."""

    __test__ = False

    def __init__(self, name: str = "strongroom.example/journal", seed: bytes = b"\x07" * 32):
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    @property
    def text(self) -> str:
        return verifier_key(self).text()


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def entry(
    subject: str = "pay_1", merchant: str | None = MERCHANT, reason: str | None = None, **facts: Any
) -> Entry:
    return Entry(
        action="payments:payment:authorize",
        subject=subject,
        outcome="approved",
        merchant=merchant,
        actor=ACTOR,
        reason=reason,
        facts={"amount_minor": 1099, "currency": "EUR", **facts},
        request=new_id("req"),
    )


class House:
    """An empty journal with the roles it meets, and a real committer."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server = server
        self.name = name
        self.signer = TestSigner()
        self.key = self.signer.text
        self.owner = Database(self.target("strongroom_owner"))
        self.database = Database(self.target("strongroom_journal"))
        self.reader = Database(self.target("strongroom_pay"))
        self.committer = Committer(self.target("strongroom_pay"), marker=MARKER)
        self.journal = Journal(self.reader, clock=CLOCK)
        self._sequencers: list[Sequencer] = []

    def target(self, role: str) -> Any:
        return self.server.target(role, database=self.name)

    async def __aenter__(self) -> House:
        await self.owner.open()
        await self.database.open()
        await self.reader.open()
        await self.committer.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sequencer in self._sequencers:
            await sequencer.close()
        await self.committer.close()
        for database in (self.owner, self.database, self.reader):
            await database.close()

    def sequencer(self, **options: Any) -> Sequencer:
        options.setdefault("clock", CLOCK)
        made = Sequencer(self.database, options.pop("signer", self.signer), **options)
        self._sequencers.append(made)
        return made

    async def write(self, count: int = 1, **fields: Any) -> list[str]:
        """Commit entries, one Change each, through the real committer; return their ids."""
        ids = []
        for _ in range(count):
            change = Change()
            ids.append(record(change, entry(**fields), at=datetime.now(UTC)))
            await self.committer.submit(change)
        return ids

    async def fill(self, batches: int = 3, size: int = 4, **fields: Any) -> list[str]:
        """Commit Changes of several entries, each its own batch, and sequence them."""
        ids = []
        for _ in range(batches):
            change = Change()
            ids += [record(change, entry(**fields), at=datetime.now(UTC)) for _ in range(size)]
            await self.committer.submit(change)
        sequencer = self.sequencer()
        while await sequencer.step():
            pass
        await sequencer.close()
        return ids

    async def tamper(self, *statements: str) -> None:
        """Change the store as a superuser does who switches the triggers off."""
        kwargs = self.server.connect_kwargs("postgres", database=self.name)
        connection = await asyncpg.connect(**kwargs)
        try:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                tag = await connection.execute(statement)
                assert not tag.endswith(" 0"), f"nothing was tampered with: {statement}"
        finally:
            await connection.close()
