"""The types of four eyes: what is asked, exactly; who decided; where a request stands."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from strongroom.identity import Principal
from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms

Parameter = str | int | bool | None | list[str]
Verdict = Literal["approve", "reject"]
State = Literal["open", "approved", "rejected", "expired", "used"]


class StepUp(Protocol):
    """A proof that an operator was there just now, made for one purpose and used once."""

    @property
    def operator(self) -> str:
        """The operator, `opr_…`."""
        ...

    @property
    def aal(self) -> int:
        """Assurance: 2 a one-time code, 3 a passkey."""
        ...

    @property
    def at(self) -> datetime:
        """When it was shown."""
        ...

    @property
    def purpose(self) -> bytes:
        """What it was shown for: here the SHA-256 of the canonical action."""
        ...


class People(Protocol):
    """Knows which person stands behind a credential, and which are administrators now."""

    async def person_of(self, principal: Principal) -> str | None:
        """Return the person, the same for each of its credentials; None when nobody can tell."""
        ...

    async def administrators(self, people: Collection[str]) -> frozenset[str]:
        """Return those of these people who are active administrators now."""
        ...


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One action as it is approved: any other value anywhere in it makes another hash."""

    action: str
    merchant: str | None
    resource: str
    parameters: Mapping[str, Parameter]
    requester: str
    policy_set: str
    nonce: bytes

    def digest(self) -> bytes:
        """Return SHA-256 of the canonical form (RFC 8785)."""
        return hashlib.sha256(
            dumps(
                {
                    "statement": "strongroom-four-eyes/1",
                    "action": self.action,
                    "merchant": self.merchant,
                    "resource": self.resource,
                    "parameters": dict(self.parameters),
                    "requester": self.requester,
                    "policy_set": self.policy_set,
                    "nonce": self.nonce.hex(),
                }
            )
        ).digest()


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """One person's approval, as it arrived."""

    operator: str
    aal: int
    proved_at: datetime
    decided_at: datetime
    reason: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended."""

    how: Literal["used", "rejected", "expired"]
    at: datetime
    by: str
    reason: str | None = None
    used_for: bytes | None = None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A request and where it stands; `id` is `apr_…`.

    `person` is who stands behind `requester`, and `needed` how many others must approve: two when
    nobody can tell who the person is, so that one of them surely is somebody else.
    """

    id: str
    statement: Statement
    action_sha256: bytes
    person: str | None
    needed: int
    reason: str
    created_at: datetime
    expires_at: datetime
    state: State = "open"
    approved_by: tuple[str, ...] = ()
    end: End | None = None

    @property
    def action(self) -> str:
        """The name of the action."""
        return self.statement.action

    @property
    def merchant(self) -> str | None:
        """Whose thing it is; None for the installation's own."""
        return self.statement.merchant

    @property
    def requester(self) -> str:
        """Who asked, and alone may use it."""
        return self.statement.requester


class Page(msgspec.Struct, frozen=True):
    """Requests, the newest first."""

    data: list[Approval]
    has_more: bool


def approval_record(approval: Approval) -> bytes:
    """Return the canonical bytes of a request that the service's mac is over."""
    return dumps(
        {
            "record": "strongroom-four-eyes/1",
            "id": approval.id,
            "action_sha256": approval.action_sha256.hex(),
            "person": approval.person,
            "needed": approval.needed,
            "reason": approval.reason,
            "created_at": rfc3339_ms(approval.created_at),
            "expires_at": rfc3339_ms(approval.expires_at),
        }
    )


def decision_record(approval: Approval, decided: Decided) -> bytes:
    """Return the canonical bytes of a decision that the service's mac is over."""
    return dumps(
        {
            "record": "strongroom-four-eyes-decision/1",
            "id": approval.id,
            "action_sha256": approval.action_sha256.hex(),
            "operator": decided.operator,
            "aal": decided.aal,
            "proved_at": rfc3339_ms(decided.proved_at),
            "decided_at": rfc3339_ms(decided.decided_at),
            "reason": decided.reason,
        }
    )
