"""The types of identity: who calls, what a key is, what a merchant is. All frozen.

None of them holds a key's text: that exists once, as a `Secret`, in the answer to its creation.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Literal

import msgspec

Mode = Literal["test", "live"]
Network = Literal["internal", "external"]


class PrincipalKind(enum.StrEnum):
    """What sort of caller this is."""

    MERCHANT = "merchant"
    OPERATOR = "operator"
    SERVICE = "service"
    GATEWAY = "gateway"
    SYSTEM = "system"


class KeyKind(enum.StrEnum):
    """The kind of an API key; it stands in the key's text."""

    SECRET = "sk"  # noqa: S105 - the name of a kind, not a secret
    PUBLISHABLE = "pk"
    RESTRICTED = "rk"


class Level(enum.IntEnum):
    """How strongly a merchant's caller proves itself; a merchant may demand a lowest level."""

    NONE = 0
    """Not a merchant's caller, or one that no level applies to (a publishable key)."""

    API_KEY = 1
    """A secret sent with every request."""

    BOUND_TOKEN = 2
    """A short-lived token bound to a key that is never sent (RFC 8705, RFC 9449), or mTLS."""

    SIGNED_REQUEST = 3
    """The request itself is signed, its body too (RFC 9421)."""


MERCHANT_ROLES = ("merchant-backend", "merchant-publishable", "service-reveal")
OPERATOR_ROLES = ("operator-read", "operator-admin")
SERVICE_ROLES = ("service-backend", "service-tokens", "service-monitor")
ROLES = (*MERCHANT_ROLES, *OPERATOR_ROLES, *SERVICE_ROLES, "gateway", "system")
"""Every role there is; what each may do is written in `access/policies`."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A caller whose identity is proved. `id` is what journal entries name as actor.

    `merchant` is the caller's own merchant, or the one an operator named for this request; None
    stands for the installation. `scopes` None means all that the roles permit. `level` is how a
    merchant's caller proved itself and `required_level` what its merchant demands. `aal` is an
    operator's authenticator assurance (1 password, 2 one-time code, 3 passkey; 0: no person there)
    and `mfa_at` when the second factor was last shown. `network` is `internal` for callers on our
    own workload certificates, else `external`. `break_glass`: emergency access, reviewed after.
    """

    id: str
    kind: PrincipalKind
    merchant: str | None
    mode: Mode
    roles: tuple[str, ...]
    scopes: frozenset[str] | None = None
    key_id: str | None = None
    suspended: bool = False
    level: Level = Level.NONE
    required_level: Level = Level.NONE
    aal: int = 0
    mfa_at: datetime | None = None
    network: Network = "external"
    break_glass: bool = False
    session: str | None = None

    @classmethod
    def local_operator(cls, user: str, *, mode: Mode, merchant: str | None = None) -> Principal:
        """Return who runs `strongroom` commands on this machine: it already holds the data."""
        return cls(
            id=f"local:{user}",
            kind=PrincipalKind.OPERATOR,
            merchant=merchant,
            mode=mode,
            roles=("operator-admin",),
        )

    @classmethod
    def for_gateway(cls, name: str, *, mode: Mode) -> Principal:
        """Return a gateway whose event carried a valid signature."""
        return cls(
            id=f"gateway:{name}",
            kind=PrincipalKind.GATEWAY,
            merchant=None,
            mode=mode,
            roles=("gateway",),
        )

    @classmethod
    def for_system(cls, name: str, *, mode: Mode) -> Principal:
        """Return a worker of ours, such as recovery: an actor for the journal, with no rights."""
        return cls(
            id=f"system:{name}",
            kind=PrincipalKind.SYSTEM,
            merchant=None,
            mode=mode,
            roles=("system",),
        )


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What authentication reads of a stored key; `merchant_status` is None when there is none.

    `hash` is what it is found by. `networks` are where it may be used from, empty for everywhere.
    `public_key` is that of a signing key.
    """

    hash: bytes
    principal: Principal
    expires_at: datetime | None
    revoked_at: datetime | None
    merchant_status: str | None
    networks: tuple[str, ...] = ()
    pepper_version: int = 1
    public_key: bytes = b""


class KeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key somebody wants. `owner` says who answers for it (PCI DSS 8.2.2).

    `networks` are where it may be used from, such as `192.0.2.0/24`; empty for everywhere.
    """

    merchant: str | None
    kind: KeyKind
    role: str
    owner: str
    scopes: frozenset[str] | None = None
    expires_at: datetime | None = None
    networks: tuple[str, ...] = ()


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as its owner may see it: never its text, only a `hint` to recognize it by."""

    id: str
    merchant: str | None
    kind: KeyKind
    role: str
    scopes: tuple[str, ...] | None
    owner: str
    hint: str
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    networks: tuple[str, ...] = ()
    replaces: str | None = None


class MerchantView(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant of this installation; `required_level` is the lowest level it takes."""

    id: str
    name: str
    status: Literal["active", "suspended"]
    created_at: datetime
    required_level: Level = Level.API_KEY


class Refusal(enum.StrEnum):
    """Why a caller was not accepted."""

    MISSING = "missing"
    MALFORMED = "malformed"
    WRONG_MODE = "wrong_mode"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    AMBIGUOUS = "ambiguous"
    ADDRESS = "address"
    """It came from where the key may not be used."""
