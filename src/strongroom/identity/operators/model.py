"""The types of operators: accounts, challenges, sessions, proofs. Secrets only as `Secret`."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from strongroom.identity.model import Mode
from strongroom.kernel.secret import Secret

OperatorRole = Literal["operator-read", "operator-admin"]
Status = Literal["invited", "active", "recovering", "disabled", "left"]
Method = Literal["passkey", "password", "oidc"]

PASSKEY_AAL = 3
CODE_AAL = 2


class RelyingParty(msgspec.Struct, frozen=True, kw_only=True):
    """Who passkeys are made for: the host of the public URL, and the one origin that may ask."""

    id: str
    origin: str
    name: str = "Strongroom"

    @classmethod
    def from_url(cls, public_url: str) -> RelyingParty:
        """Return the party of a public URL; without one, this machine's own console."""
        parts = urlsplit(public_url or "http://localhost:8080")
        host = (parts.hostname or "localhost").lower()
        shown = f"[{host}]" if ":" in host else host
        port = (
            "" if parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme)) else parts.port
        )
        origin = f"{parts.scheme}://{shown}" + (f":{port}" if port else "")
        return cls(id=host, origin=origin)


class OperatorView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as administrators see it."""

    id: str
    login: str
    name: str
    role: str
    status: Status
    created_at: datetime
    created_by: str
    seen_at: datetime | None
    passkeys: int
    has_password: bool


class PasskeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey as its owner sees it. `backup_eligible`: it may be synced between devices."""

    id: str
    name: str
    backup_eligible: bool
    backed_up: bool
    aaguid: str
    created_at: datetime
    used_at: datetime | None
    status: Literal["active", "removed", "cloned"]


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its owner and administrators see it."""

    id: str
    operator: str
    method: str
    aal: int
    started_at: datetime
    seen_at: datetime
    status: Literal["active", "idle", "ended"]


class RecoveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A new enrollment that two other administrators allow."""

    id: str
    operator: str
    asked_by: str
    asked_at: datetime
    reason: str
    until: datetime
    approved_by: str | None
    approved_at: datetime | None


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a ceremony begins with: the ticket to bring back, and what the page shows or asks."""

    ticket: Secret[str]
    options: dict[str, Any]

    def __repr__(self) -> str:
        return "Challenge([secret])"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh session. Its token is here and nowhere else."""

    session: Secret[str]
    operator: OperatorView
    aal: int


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What an identity provider says of a person: the most their session may be worth."""

    role: OperatorRole
    mfa_at: datetime | None


class StepUp(msgspec.Struct, frozen=True, kw_only=True):
    """A person just proved to be there, for one purpose and in one session."""

    operator: str
    aal: int
    at: datetime
    purpose: bytes
    session: str


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored public key; `operator_id` is the one person it belongs to."""

    id: UUID
    operator_id: UUID
    credential_id: bytes
    public_key: bytes
    name: str
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    aaguid: str
    created_at: datetime
    used_at: datetime | None
    ended_at: datetime | None
    ended_reason: str | None
    version: int


class Asserted(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion that holds, apart from its counter: `went_back` says that a copy exists."""

    sign_count: int
    backed_up: bool
    went_back: bool


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A stored account with what sign-in needs of it; only this package sees it."""

    view: OperatorView
    uuid: UUID
    sessions_from: datetime
    factors_from: datetime
    invite_until: datetime | None
    one_time: bytes | None
    password: str | None
    version: int


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored session joined with its account, as each request looks at it."""

    hash: bytes
    uuid: UUID
    operator: str
    role: str
    status: str
    device: bytes
    aal: int
    mfa_at: datetime | None
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    sessions_from: datetime
    version: int


class Refusal(enum.StrEnum):
    """Why a sign-in, a session or a proof was refused: for the journal, never for the caller."""

    TICKET = "ticket_not_valid"
    UNKNOWN = "unknown_login"
    LOCKED = "too_many_tries"
    PASSWORD_OR_CODE = "wrong_password_or_code"  # noqa: S105 - a reason, not a password
    CODE_USED = "code_used_before"
    PASSKEY = "passkey_not_valid"
    OTHER_PERSON = "passkey_of_another_person"
    CLONED = "passkey_counter_went_back"
    NOT_ACTIVE = "account_not_active"
    IDLE_ACCOUNT = "account_idle"
    NO_SESSION = "no_such_session"
    ENDED = "session_ended"
    IDLE = "session_idle"
    TOO_OLD = "session_too_old"
    OTHER_DEVICE = "session_of_another_device"
    INVITATION = "invitation_not_valid"


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What all of this package shares and never changes."""

    mode: Mode
    party: RelyingParty
