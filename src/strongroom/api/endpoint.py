"""One declaration per route: method, path, bodies, Cedar action, idempotency, errors, handler.

The router, the checks of the edge and OpenAPI all read this declaration. A route whose action or
error codes are not known does not start.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from strongroom.access import PUBLIC, Authorizer, Value, require_known
from strongroom.access.approvals import Approvals
from strongroom.access.break_glass import BreakGlass
from strongroom.api import errors, problems
from strongroom.api.headers import JSON
from strongroom.api.metrics import Metrics
from strongroom.api.model import NoQuery
from strongroom.identity import Arrival, Callers, Identity, Principal
from strongroom.identity.api_keys import Leaks
from strongroom.identity.oauth import OAuth
from strongroom.journal import Journal
from strongroom.kernel.conditions import NEVER, Condition
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import MAX_BODY_BYTES
from strongroom.ledger import Ledger
from strongroom.payments import Caller, Idempotency, Payments
from strongroom.storage.counters import Spent
from strongroom.vault import Vault

PATH_IDS = {
    "payment_id": ("pay", "payment_not_found", "There is no such payment."),
    "token_id": ("tok", "token_not_found", "There is no such token."),
    "entry_id": ("ent", "entry_not_found", "There is no such journal entry."),
    "merchant_id": ("mer", "not_found", "There is nothing here."),
    "approval_id": ("apr", "approval_not_found", "There is no such request for approval."),
    "gateway": ("", "gateway_not_found", "There is no such gateway."),
}
"""Path parameter → (id prefix, code and words for an id that no thing of ours can have)."""

_GATEWAY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_ID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}\Z")
_PARAMETER = re.compile(r"\{(\w+)\}")


class Owner(enum.Enum):
    """Whose things a route is about."""

    MERCHANT = "merchant"
    """The caller's own merchant, or the one an operator names."""

    EITHER = "either"
    """A merchant's, or the installation's when an operator names none."""

    INSTALLATION = "installation"


class Limited(enum.Enum):
    """What holds callers back on a route where nobody says who they are."""

    ADDRESS = "address"
    EVENTS = "events"
    """Gateways send from few addresses, and much."""

    NOT = "not"
    """Health checks, which must always be answered."""


class Check(msgspec.Struct, frozen=True):
    """One readiness check; `code` says in snake_case what is wrong, without values."""

    name: str
    ok: bool
    code: str = ""


class Limiter(Protocol):
    """Counts requests and refuses those that are too many (`api/limiting.py`)."""

    def check_routes(self, endpoints: Iterable[Endpoint]) -> None:
        """Refuse limits of routes that there are none of."""
        ...

    def check_address(self, source: str) -> None:
        """Refuse an address whose credentials were refused too often."""
        ...

    async def refused(self, source: str) -> None:
        """Count a credential that was refused."""
        ...

    async def admit(self, principal: Principal | None, endpoint: Endpoint, source: str) -> Spent:
        """Count a request and return the tightest limit that it passed."""
        ...

    def enter(self, principal: Principal | None, source: str) -> tuple[str, ...]:
        """Count a request under way and return the places that it takes."""
        ...

    def leave(self, places: Iterable[str]) -> None:
        """Count a request that ended."""
        ...


class Readiness(Protocol):
    """Looks at what the service cannot work without."""

    async def check(self) -> list[Check]:
        """Return every check, within a second."""
        ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The doors of the rooms below, as `app.py` opened them."""

    payments: Payments
    vault: Vault
    ledger: Ledger
    journal: Journal
    identity: Identity
    callers: Callers
    leaks: Leaks
    oauth: OAuth
    authorizer: Authorizer
    limiter: Limiter
    approvals: Approvals
    break_glass: BreakGlass
    readiness: Readiness
    metrics: Metrics


class Reply(msgspec.Struct, frozen=True):
    """An answer: exact bytes with their status and media type."""

    status: int
    body: bytes = b""
    media: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    keep_s: int = 0
    """How long the caller's own cache may keep it; no other cache ever may."""

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


class Shared:
    """What the routes of one application share: its documents, and whether it is draining."""

    __slots__ = ("checked_at", "checks", "documents", "draining")

    def __init__(self, documents: Mapping[str, tuple[bytes, bytes]]) -> None:
        self.documents = documents
        self.draining = False
        self.checks: asyncio.Task[list[Check]] | None = None
        self.checked_at = 0.0


class Call:
    """One request, checked: who asks, what for, with which typed body. Has no telling `repr`."""

    __slots__ = (
        "action", "approval", "arrival", "body", "content_digest", "granted", "headers",
        "idempotency", "inside", "limit", "owner", "params", "principal", "query", "raw", "request",
        "services", "shared", "source",
    )  # fmt: skip

    def __init__(
        self, services: Services, shared: Shared, request: str, params: dict[str, str]
    ) -> None:
        self.services = services
        self.shared = shared
        self.request = request
        self.params = params
        self.action = PUBLIC
        self.source = ""
        self.principal: Principal | None = None
        self.owner: str | None = None
        self.body: Any = None
        self.query: Any = None
        self.raw = b""
        self.content_digest: bytes | None = None
        self.arrival: Arrival | None = None
        self.limit: Spent | None = None
        self.inside: tuple[str, ...] = ()
        self.approval: str | None = None
        self.granted: Mapping[str, Value] = {}
        self.headers: Mapping[str, str] = {}
        self.idempotency = Idempotency("", "", b"")

    @property
    def merchant(self) -> str:
        """The merchant whose things the call is about; there is one on every `MERCHANT` route."""
        if self.owner is None:
            raise errors.merchant_required()
        return self.owner

    @property
    def actor(self) -> str:
        """The caller's id, for the journal."""
        return "" if self.principal is None else self.principal.id

    @property
    def caller(self) -> Caller:
        """The caller as payments wants it."""
        return Caller(self.actor, self.request, self._permit)

    def _permit(self, payment: Mapping[str, str | int], given_back_minor: int) -> None:
        """Ask the policies again, now that the payment is known.

        What was given back of it may have become more since it was first looked at.
        """
        context, amount = dict(self.granted), payment.get("amount")
        if "alone_up_to" in context and type(amount) is int:
            context["amount"] = given_back_minor + amount
        if self.principal is not None:
            self.services.authorizer.check(
                self.principal,
                action=self.action,
                merchant=self.owner,
                context=context,
                resource=payment,
                source=self.source,
            )

    def visible(self, *attributes: str) -> Condition:
        """Return which of the owner's things the caller may see, told by these attributes."""
        if self.principal is None:
            return NEVER
        return self.services.authorizer.visible(
            self.principal,
            action=self.action,
            merchant=self.owner,
            attributes=frozenset(attributes),
        )

    @property
    def live(self) -> bool:
        """Whether this is the live world."""
        return self.principal is not None and self.principal.mode == "live"


Handler = Callable[[Call], Awaitable[Reply]]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A route.

    `keyed` routes need an Idempotency-Key, compared over `redact`ed bodies. `raw` routes get the
    bytes as sent, `form` routes take an OAuth form and refuse as OAuth does. `browser` routes
    answer CORS, `always` routes also answer while draining or overloaded. `lenient_query` routes
    are called by others, who add parameters of their own. `purposeful` routes say in the body what
    for: the edge asks whether any purpose would do, the handler asks again with the one that was
    given. `approvable` routes may need another person's approval: the edge asks whether it would
    do, the handler uses it up (`api/approving.py`).
    """

    method: str
    path: str
    action: str
    summary: str
    handler: Handler
    request: type | None = None
    query: type = NoQuery
    answers: Mapping[int, Any] = {}
    errors: tuple[str, ...] = ()
    keyed: bool = False
    owner: Owner = Owner.MERCHANT
    raw: bool = False
    form: type | None = None
    browser: bool = False
    always: bool = False
    lenient_query: bool = False
    media: bytes = JSON
    body_bytes_max: int = MAX_BODY_BYTES
    redact: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    limited: Limited = Limited.ADDRESS
    purposeful: bool = False
    approvable: bool = False

    def __post_init__(self) -> None:
        require_known(self.action)
        for code in self.errors:
            if code not in problems.PROBLEMS:
                raise _broken(self, f"the error code {code} is not in api/problems.py")
        for name in self.parameters:
            if name not in PATH_IDS:
                raise _broken(self, f"the path parameter {name} is not known")
        if self.keyed and (self.method != "POST" or self.request is None or self.public):
            raise _broken(self, "an idempotency key needs a caller and a body")
        if self.public and self.request is not None:
            raise _broken(self, "a public route takes no typed body")

    @property
    def public(self) -> bool:
        """Whether nobody has to say who they are."""
        return self.action == PUBLIC

    @property
    def parameters(self) -> list[str]:
        """The names in the path, in order."""
        return _PARAMETER.findall(self.path)

    @property
    def name(self) -> str:
        """The operation's name in OpenAPI: that of its handler."""
        return getattr(self.handler, "__name__", "").strip("_")


def check_params(params: dict[str, str]) -> None:
    """Refuse ids that no id of ours can look like, as things that are not there."""
    for name, value in params.items():
        prefix, code, public = PATH_IDS[name]
        head, _, tail = value.partition("_")
        well_formed = _ID.match(tail) and head == prefix if prefix else _GATEWAY.match(value)
        if not well_formed:
            raise StrongroomError(code, public)


def _broken(endpoint: Endpoint, why: str) -> StrongroomError:
    return StrongroomError("settings_invalid", f"{endpoint.method} {endpoint.path}: {why}.")
