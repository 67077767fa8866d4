"""Builds the rooms of one process from its settings, lowest floor first, and closes them again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

from strongroom.access import ACTIONS, Authorizer
from strongroom.api import ApiSettings, Metrics, Services, WireRenderer
from strongroom.app.databases import target
from strongroom.app.readiness import HouseReadiness
from strongroom.app.roots import open_roots
from strongroom.app.settings import Settings
from strongroom.detection import Detection
from strongroom.gateways import Routing, registry
from strongroom.identity import Identity
from strongroom.journal import MARKER, Journal, Sequencer, Witness
from strongroom.kernel.clock import SystemClock
from strongroom.keys import Keyring, ShredLedger
from strongroom.keys.anchor import FileAnchor
from strongroom.keys.rotation import Rotation
from strongroom.ledger import Ledger
from strongroom.payments import Breaker, Context, Payments
from strongroom.storage import Committer, Database
from strongroom.vault import CardVault, EgressPolicy
from strongroom.vault.rotation import CardRotation

WITNESS_FILE = "journal.witness"
KEYS_SEEN_FILE = "keys.witness"


class House:
    """The opened rooms of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.metrics = Metrics()
        self._stack = AsyncExitStack()

    async def open(self) -> House:
        """Open everything; on failure what was opened is closed and the error raised."""
        try:
            await self._open_storage()
            await self._open_security()
            self._open_money()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def close(self) -> None:
        """Close the rooms, highest floor first."""
        await self._stack.aclose()

    async def __aenter__(self) -> House:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _database(self, role: str, size: int) -> Database:
        database = Database(target(self.settings, role), size=size)
        await database.open()
        self._stack.push_async_callback(database.close)
        return database

    async def _committer(self, role: str, writers: int) -> Committer:
        committer = Committer(target(self.settings, role), marker=MARKER, writers=writers)
        await committer.open()
        self._stack.push_async_callback(committer.close)
        return committer

    async def _open_storage(self) -> None:
        self.database = await self._database("strongroom_pay", 8)
        self.vault_database = await self._database("strongroom_vault", 3)
        self.journal_database = await self._database("strongroom_journal", 2)
        self.committer = await self._committer("strongroom_pay", 2)
        self.vault_committer = await self._committer("strongroom_vault", 1)

    async def _open_security(self) -> None:
        settings = self.settings
        roots = open_roots(settings)
        self._stack.callback(roots.close)
        self.keyring = await Keyring.open(
            self.vault_database,
            self.vault_committer,
            roots.current,
            former=roots.former,
            clock=self.clock,
            anchor=FileAnchor(settings.path(KEYS_SEEN_FILE)),
        )
        self._stack.callback(self.keyring.close)
        self.journal = Journal(self.database, clock=self.clock)
        self.sequencer = Sequencer(
            self.journal_database,
            self.keyring.signer(),
            clock=self.clock,
            witness=Witness(settings.path(WITNESS_FILE)),
        )
        self.identity = Identity(
            self.database,
            self.committer,
            mode=settings.mode,
            hasher=self.keyring.api_key_hasher(),
            known_scopes=ACTIONS,
            clock=self.clock,
        )
        self._stack.push_async_callback(self.identity.close)
        self.authorizer = Authorizer(mode=settings.mode, refusals=self.identity.refusals)
        self.connectors = registry(settings.accounts())
        self.vault = CardVault(
            self.vault_database,
            self.vault_committer,
            self.keyring,
            egress=self._egress(),
            ledger=ShredLedger(settings.path(settings.shred_ledger)),
            clock=self.clock,
        )
        self._stack.push_async_callback(self.vault.close)
        self.shredded_again = await self.vault.replay_shreds()
        self.rotation = Rotation(self.keyring, CardRotation(self.vault_database, self.keyring))

    def _egress(self) -> EgressPolicy:
        origins = [o for c in self.connectors.values() for o in c.capabilities.origins]
        private = tuple(o for o in origins if self.settings.mode == "test" and _is_loopback(o))
        return EgressPolicy(
            origins=tuple(o for o in origins if o not in private), private_origins=private
        )

    def _open_money(self) -> None:
        settings = self.settings
        self.ledger = Ledger(self.database)
        self.payments = Payments(
            Context(
                database=self.database,
                committer=self.committer,
                vault=self.vault,
                ledger=self.ledger,
                connectors=self.connectors,
                routing=Routing(default=settings.default_gateway),
                renderer=WireRenderer(mode=settings.mode, metrics=self.metrics),
                return_url=lambda merchant, payment: (
                    f"{settings.public_url}/v1/return/{merchant}/{payment}"
                ),
                clock=self.clock,
                patience=timedelta(seconds=settings.patience_s),
                breaker=Breaker(self.clock),
                observe=self.metrics.gateway,
            )
        )
        self.detection = Detection(self.database, self.committer, clock=self.clock)
        self.readiness = HouseReadiness(
            committers={"payments": self.committer, "vault": self.vault_committer},
            database=self.database,
            journal=self.journal,
            sequencer=self.sequencer,
            data_dir=settings.data_dir,
        )
        self.metrics.watch(
            "commit_queue_depth", "Changes waiting to be written.", lambda: self.committer.depth
        )
        self.metrics.watch(
            "commit_batch_size", "Mean Changes in one transaction.", self._batch_size
        )
        self.metrics.watch(
            "journal_lag_seconds",
            "Age of the oldest entry without a checkpoint.",
            self.journal.lag,
        )

        self.metrics.watch(
            "dek_cache_hit_ratio",
            "Share of look-ups of data keys that the cache answered.",
            self.keyring.hit_rate,
        )
        self.metrics.watch(
            "payments_unsettled",
            "Operations whose outcome is unknown for more than a minute.",
            self.payments.unsettled,
        )
        self.metrics.watch(
            "findings_open",
            "Card data found outside the vault that nobody has taken on.",
            self.detection.open_count,
        )

    def _batch_size(self) -> float:
        return self.committer.changes / max(1, self.committer.batches)

    def services(self) -> Services:
        """Return what the HTTP face needs."""
        return Services(
            payments=self.payments,
            vault=self.vault,
            ledger=self.ledger,
            journal=self.journal,
            identity=self.identity,
            authorizer=self.authorizer,
            readiness=self.readiness,
            metrics=self.metrics,
        )

    def api_settings(self) -> ApiSettings:
        """Return the settings of the HTTP face."""
        settings = self.settings
        return ApiSettings(
            mode=settings.mode,
            cors_origins=settings.cors_origins,
            public_url=settings.public_url,
            behind_tls=settings.behind_tls,
            concurrency_max=settings.concurrency_max,
        )


def _is_loopback(origin: str) -> bool:
    host = origin.split("://", 1)[-1].rsplit(":", 1)[0]
    return host in ("127.0.0.1", "localhost", "[::1]")
