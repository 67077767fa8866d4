"""The types of sign-in by a provider: its settings, what it published, what it said of a person."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

Role = Literal["operator-read", "operator-admin"]
Purpose = Literal["sign_in", "link"]

Algorithm = Literal["RS256", "PS256", "ES256", "ES384", "Ed25519"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "ES384", "Ed25519")
"""Signatures that a provider may use. Never `none`, and never a shared secret (HS…)."""


class OidcSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[oidc]` table: the one provider that operators may sign in by.

    `roles` maps groups to roles; who is in none of them does not get in. `acr` and `amr` map what
    the provider says of a login to our assurance levels; what is not mapped is worth a
    password, and nothing is worth more than two factors.
    `origins` names further origins of the provider's endpoints than that of the issuer.
    """

    issuer: str
    client_id: str
    name: str = "single sign-on"
    client_secret_file: str | None = None
    scopes: tuple[str, ...] = ("openid",)
    groups_claim: str = "groups"
    roles: Mapping[str, Role]
    acr: Mapping[str, Literal[1, 2]] = {}
    amr: Mapping[str, Literal[1, 2]] = {}
    algorithms: tuple[Algorithm, ...] = ALGORITHMS
    origins: tuple[str, ...] = ()
    private_network: bool = False
    ca_file: str | None = None
    max_age_s: int | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's discovery document says, checked."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool
    """The provider puts `iss` into its answers (RFC 9207); then one must be there."""


class Departure(msgspec.Struct, frozen=True):
    """Where the browser goes to sign in."""

    url: str

    def __repr__(self) -> str:
        return "Departure(…)"


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser brought back from the provider. Its `repr` shows no code."""

    state: str
    code: str = ""
    iss: str | None = None
    error: str = ""

    def __repr__(self) -> str:
        return "Callback(…)"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a checked ID token says of a person."""

    iss: str
    sub: str
    acr: str | None
    amr: tuple[str, ...]
    groups: tuple[str, ...]
    auth_time: datetime | None


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom the provider vouched for. `operator` is who they are here, once linked."""

    purpose: Purpose
    issuer: str
    subject: str
    operator: str | None
    role: Role
    aal: int
    at: datetime | None
    """When they showed their factors to the provider, if it said so."""


class Refusal(enum.StrEnum):
    """Why a sign-in by a provider was not accepted; the journal's word for it."""

    STATE = "state"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    DENIED = "denied_by_provider"
    ISSUER = "issuer"
    TOKEN_ENDPOINT = "token_endpoint"  # noqa: S105 - a reason, not a secret
    TOKEN = "token"  # noqa: S105 - a reason, not a secret
    NONCE = "nonce"
    AUDIENCE = "audience"
    STALE = "stale"
    NO_ROLE = "no_role"
    ASSURANCE = "assurance"
    NOT_LINKED = "not_linked"
