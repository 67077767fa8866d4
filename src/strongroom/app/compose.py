"""Builds the rooms of one process from its settings and role, lowest floor first, and closes them.

`all` is everything in one process. Apart, the `vault` has keys, cards and the journal's signer and
no payments; `api` and `worker` have payments and no key: they call the vault.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from strongroom.access import Authorizer
from strongroom.api import ApiSettings, Metrics, Services, WireRenderer
from strongroom.app.callers import open_callers
from strongroom.app.certificate_alarms import watch_certificates
from strongroom.app.certified import calling
from strongroom.app.databases import target
from strongroom.app.edge import Proxy
from strongroom.app.elsewhere import dial, keys_elsewhere, payments_elsewhere
from strongroom.app.four_eyes import open_approvals
from strongroom.app.limiting import limiter, open_leases
from strongroom.app.readiness import HouseReadiness
from strongroom.app.roots import open_roots
from strongroom.app.settings import Settings
from strongroom.app.trusted import TrustWatch
from strongroom.detection import Detection
from strongroom.gateways import Routing, registry
from strongroom.journal import MARKER, Journal, Sequencer, Witness
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import KeyDesk, Keyring, LocalDesk, ShredLedger
from strongroom.keys.anchor import FILE as KEYS_SEEN_FILE
from strongroom.keys.anchor import FileAnchor
from strongroom.keys.rotation import Rotation
from strongroom.ledger import Ledger
from strongroom.payments import Breaker, Context, Payments
from strongroom.storage import Committer, Database
from strongroom.vault import CardVault, EgressPolicy, Vault
from strongroom.vault.remote import Caller
from strongroom.vault.rotation import CardRotation

WITNESS_FILE = "journal.witness"
Role = Literal["all", "api", "vault", "worker"]


_BESIDE_KEYS = frozenset({"vault_database", "vault_committer", "journal_database"})
_BESIDE_PAYMENTS = frozenset(
    {
        "approvals", "break_glass", "callers", "connectors", "detection", "identity", "leaks",
        "leases", "ledger", "limiter", "oauth", "operators", "payments", "replays", "signed",
        "workloads",
    }
)  # fmt: skip


class House:
    """The opened rooms of one process.

    Where the settings name a vault elsewhere, a house without a role has no keys either.
    """

    def __init__(self, settings: Settings, *, role: Role = "all") -> None:
        if settings.vault is not None and role in ("all", "vault"):
            if role == "vault":
                raise _wrong_place("names another vault in [vault]")
            role = "api"
        if settings.vault is None and role in ("api", "worker"):
            raise _wrong_place("does not name the vault in [vault]")
        if role == "all" and settings.vault_listener is not None and not settings.has_every_login:
            role = "vault"  # a command beside the vault on its own host
        self.settings = settings
        self.role: Role = role
        self.authorizer = Authorizer(mode=settings.mode, four_eyes=settings.four_eyes.in_test)
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.caller: Caller | None = None
        self._keyring: Keyring | None = None
        self._sequencer: Sequencer | None = None
        self._rotation: Rotation | None = None
        self.shredded_again = 0
        self._stack = AsyncExitStack()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say where a room is that this role of process does not have."""
            if name in _BESIDE_KEYS:
                raise keys_elsewhere()
            if name in _BESIDE_PAYMENTS:
                raise payments_elsewhere()
            raise AttributeError(name)

    async def open(self) -> House:
        """Open everything; on failure what was opened is closed and the error raised."""
        try:
            await self._open_storage()
            await self._open_vault()
            self.trust = TrustWatch(self.desk.trust, clock=self.clock)
            self.certified = calling(
                self.settings, self.role, trust=self.trust.now, clock=self.clock
            )
            if self.role != "vault":
                await self._open_callers()
                self._open_money()
                self.leases = await open_leases(self, self._stack)
                self.limiter = limiter(self, self.leases)
            self._open_readiness()
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

    @property
    def has_keys(self) -> bool:
        """Whether the keys are in this process."""
        return self.role in ("all", "vault")

    @property
    def keyring(self) -> Keyring:
        """The keys; raises `keys_elsewhere` in a process without any."""
        if self._keyring is None:
            raise keys_elsewhere()
        return self._keyring

    @property
    def sequencer(self) -> Sequencer:
        """The journal's sequencer, which signs; raises `keys_elsewhere` where the keys are not."""
        if self._sequencer is None:
            raise keys_elsewhere()
        return self._sequencer

    @property
    def rotation(self) -> Rotation:
        """The rotation of keys; raises `keys_elsewhere` where the keys are not."""
        if self._rotation is None:
            raise keys_elsewhere()
        return self._rotation

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
        self.committers: dict[str, Committer] = {}
        if self.role != "vault":
            self.database = await self._database("strongroom_pay", 8)
            self.committer = await self._committer("strongroom_pay", 2)
            self.committers["payments"] = self.committer
        if self.has_keys:
            self.vault_database = await self._database("strongroom_vault", 3)
            self.journal_database = await self._database("strongroom_journal", 2)
            self.vault_committer = await self._committer("strongroom_vault", 1)
            self.committers["vault"] = self.vault_committer
        if self.role == "vault":
            self.database, self.committer = self.vault_database, self.vault_committer
        self.journal = Journal(self.database, clock=self.clock)

    async def _open_vault(self) -> None:
        """Open the vault with its keys, or the way to it."""
        settings = self.settings
        if not self.has_keys and settings.vault is not None:
            self.caller = dial(settings, settings.vault)
            self._stack.push_async_callback(self.caller.close)
            self.vault: Vault = self.caller.vault
            self.desk: KeyDesk = self.caller.keys
            return
        roots = open_roots(settings)
        self._stack.callback(roots.close)
        self._keyring = await Keyring.open(
            self.vault_database,
            self.vault_committer,
            roots.current,
            former=roots.former,
            clock=self.clock,
            anchor=FileAnchor(settings.path(KEYS_SEEN_FILE)),
        )
        self._stack.callback(self._keyring.close)
        self.desk = LocalDesk(self._keyring)
        self._sequencer = Sequencer(
            self.journal_database,
            self._keyring.signer(),
            clock=self.clock,
            witness=Witness(settings.path(WITNESS_FILE)),
        )
        vault = CardVault(
            self.vault_database,
            self.vault_committer,
            self._keyring,
            egress=_egress(settings),
            ledger=ShredLedger(settings.path(settings.shred_ledger)),
            clock=self.clock,
        )
        self._stack.push_async_callback(vault.close)
        self.shredded_again = await vault.replay_shreds()
        self.vault = vault
        self._rotation = Rotation(self._keyring, CardRotation(self.vault_database, self._keyring))

    async def _open_callers(self) -> None:
        opened = await open_callers(self, self._stack)
        self.identity, self.callers = opened.identity, opened.callers
        self.replays, self.operators = opened.replays, opened.operators
        self.signed, self.leaks = opened.signed, opened.leaks
        self.oauth = opened.oauth
        self.workloads = opened.workloads
        self.authorizer = Authorizer(
            mode=self.settings.mode,
            refusals=self.identity.refusals,
            clock=self.clock,
            four_eyes=self.settings.four_eyes.in_test,
        )
        self.approvals, self.break_glass = open_approvals(self)

    def _open_money(self) -> None:
        settings = self.settings
        self.connectors = registry(settings.accounts())
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
        watch = self.metrics.watch
        watch_certificates(self)
        watch("commit_queue_depth", "Changes waiting to be written.", lambda: self.committer.depth)
        watch("commit_batch_size", "Mean Changes in one transaction.", self._batch_size)
        watch(
            "journal_lag_seconds",
            "Age of the oldest entry without a checkpoint.",
            self.journal.lag,
        )
        if self._keyring is not None and self._rotation is not None:
            self._watch_keys(self._keyring, self._rotation)
        watch(
            "payments_unsettled",
            "Operations whose outcome is unknown for more than a minute.",
            self.payments.unsettled,
        )
        watch(
            "findings_open",
            "Card data found outside the vault that nobody has taken on.",
            self.detection.open_count,
        )
        watch(
            "api_keys_expiring",
            "Living API keys that expire within two weeks.",
            self.identity.keys.expiring,
        )

    def _watch_keys(self, keyring: Keyring, rotation: Rotation) -> None:
        watch = self.metrics.watch
        watch(
            "dek_cache_hit_ratio",
            "Share of look-ups of data keys that the cache answered.",
            keyring.hit_rate,
        )
        watch(
            "key_days_left",
            "Days until the first active key's cryptoperiod ends.",
            rotation.days_left,
        )
        watch(
            "keys_compromised",
            "Compromised keys that are not destroyed yet.",
            rotation.compromised,
        )
        watch("rotation_jobs_open", "Rotations under way or resting.", rotation.open_jobs)
        watch(
            "rotation_cards_left",
            "Cards that open rotations have still to move to a newer key.",
            rotation.cards_left,
        )

    def _open_readiness(self) -> None:
        self.readiness = HouseReadiness(
            committers=self.committers,
            database=self.database,
            journal=self.journal,
            sequencer=self._sequencer,
            caller=self.caller,
            data_dir=self.settings.data_dir,
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
            callers=self.callers,
            leaks=self.leaks,
            oauth=self.oauth,
            authorizer=self.authorizer,
            limiter=self.limiter,
            approvals=self.approvals,
            break_glass=self.break_glass,
            readiness=self.readiness,
            metrics=self.metrics,
        )

    def api_settings(self) -> ApiSettings:
        """Return the settings of the HTTP face."""
        settings = self.settings
        proxy = settings.proxy or Proxy(networks=())
        return ApiSettings(
            mode=settings.mode,
            cors_origins=settings.cors_origins,
            public_url=settings.public_url,
            behind_tls=settings.behind_tls or settings.tls is not None,
            concurrency_max=settings.concurrency_max,
            proxy_networks=proxy.networks,
            proxy_header=proxy.header,
            proxy_certificates=proxy.client_certificates,
        )


def _egress(settings: Settings) -> EgressPolicy:
    """Return where card data may go: to the gateways' addresses; their secrets are not needed."""
    origins = [gateway.base_url for gateway in settings.gateways]
    private = tuple(o for o in origins if settings.mode == "test" and _is_loopback(o))
    return EgressPolicy(
        origins=tuple(o for o in origins if o not in private), private_origins=private
    )


def _is_loopback(origin: str) -> bool:
    host = origin.split("://", 1)[-1].rsplit(":", 1)[0]
    return host in ("127.0.0.1", "localhost", "[::1]")


def _wrong_place(problem: str) -> StrongroomError:
    return StrongroomError(
        "settings_invalid",
        f"strongroom.toml {problem}; see docs/operations/split-vault.md for each role's settings.",
    )
