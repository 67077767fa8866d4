"""The types of dual control: custodians, requests, and the exact statements that people sign.

A statement is canonical JSON (RFC 8785) whose `statement` member names its kind, so that one
signature can never stand for another. It repeats all that a decision is about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms
from strongroom.kernel.ids import id_from
from strongroom.keys.model import Mode

Value = str | int | bool | None
Decision = Literal["approve", "reject"]
State = Literal["open", "approved", "rejected", "expired", "redeemed"]

ACTIONS = frozenset(
    {
        "custodian:enroll",
        "custodian:revoke",
        "keys:compromise",
        "keys:destroy",
        "keys:export",
        "keys:generate",
        "keys:import",
        "vault:export:ff1",
        "vault:import",
        "vault:reveal:bulk",
    }
)
"""What one person must not do alone (PCI DSS 3.7.6, 7.2)."""

PROOF = "ed25519-key-file"
"""The kind of proof: a key file (something one has) that a passphrase opened just now (something
one knows). Other kinds, such as WebAuthn, will be other words."""

ACKNOWLEDGEMENT = (
    "I am a key custodian of this Strongroom. I understand and accept my responsibilities: I keep "
    "my key file and passphrase to myself, use them only where I was asked in person, never hold "
    "two roles in one ceremony, report loss or suspicion at once, and hand over when I leave."
)
"""What a custodian signs before anything is entrusted to him (PCI DSS 3.7.8)."""


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A custodian's public file: who, which public keys, and the signed acknowledgement.

    Keys and signature are base64; times RFC 3339.
    """

    format: str
    custodian: str
    name: str
    signing_key: str
    exchange_key: str
    acknowledged_at: str
    acknowledgement: str


class Custodian(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled person. `id` is `cus_…`; both keys are raw public keys."""

    id: str
    number: int
    name: str
    signing_key: bytes
    exchange_key: bytes
    acknowledged_at: datetime
    acknowledgement: bytes
    enrolled_at: datetime
    enrolled_by: str
    revoked_at: datetime | None = None


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """One custodian's decision about a request, as it arrived."""

    custodian: str
    decision: Decision
    proof: str
    signed_at: datetime
    received_at: datetime
    signature: bytes


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A request and where it stands; `id` is `apr_…`, `payload_sha256` the hash of its payload.

    `requester` is who may use it, `asked_by` who entered it; neither may approve.
    """

    id: str
    action: str
    payload: Mapping[str, Value]
    payload_sha256: str
    requester: str
    asked_by: str
    reason: str
    created_at: datetime
    expires_at: datetime
    state: State = "open"
    approved_by: tuple[str, ...] = ()
    rejected_by: tuple[str, ...] = ()


class World(msgspec.Struct, frozen=True):
    """Where a statement holds: one installation, one mode."""

    installation: UUID
    mode: Mode


def payload_hash(payload: Mapping[str, Value]) -> str:
    """Return SHA-256 of the canonical form of a payload, in hex."""
    return hashlib.sha256(dumps(dict(payload))).hexdigest()


def acknowledgement_statement(
    *, custodian: str, name: str, signing_key: str, exchange_key: str, at: str
) -> bytes:
    """Return what a new custodian signs; binds the person's name to both public keys."""
    return dumps(
        {
            "statement": "strongroom-custodian-acknowledgement/1",
            "text": ACKNOWLEDGEMENT,
            "custodian": custodian,
            "name": name,
            "signing_key": signing_key,
            "exchange_key": exchange_key,
            "signed_at": at,
        }
    )


def approval_statement(
    world: World,
    approval: Approval,
    *,
    custodian: str,
    decision: Decision,
    signed_at: datetime,
    proof: str = PROOF,
) -> bytes:
    """Return what a custodian signs about a request."""
    return dumps(
        {
            "statement": "strongroom-approval/1",
            "installation": str(world.installation),
            "mode": world.mode,
            "approval": approval.id,
            "action": approval.action,
            "payload_sha256": payload_hash(approval.payload),
            "requester": approval.requester,
            "asked_by": approval.asked_by,
            "reason": approval.reason,
            "expires_at": rfc3339_ms(approval.expires_at),
            "custodian": custodian,
            "decision": decision,
            "proof": proof,
            "signed_at": rfc3339_ms(signed_at),
        }
    )


def custodian_record(world: World, custodian: Custodian) -> bytes:
    """Return the canonical bytes of an enrolled custodian that the service's MAC is over."""
    return dumps(
        {
            "record": "strongroom-custodian/1",
            "installation": str(world.installation),
            "mode": world.mode,
            "id": custodian.id,
            "number": custodian.number,
            "name": custodian.name,
            "signing_key": custodian.signing_key.hex(),
            "exchange_key": custodian.exchange_key.hex(),
            "acknowledged_at": rfc3339_ms(custodian.acknowledged_at),
            "acknowledgement": custodian.acknowledgement.hex(),
            "enrolled_at": rfc3339_ms(custodian.enrolled_at),
            "enrolled_by": custodian.enrolled_by,
        }
    )


def approval_record(world: World, approval: Approval) -> bytes:
    """Return the canonical bytes of a request that the service's MAC is over."""
    return dumps(
        {
            "record": "strongroom-approval/1",
            "installation": str(world.installation),
            "mode": world.mode,
            "id": approval.id,
            "action": approval.action,
            "payload_sha256": payload_hash(approval.payload),
            "requester": approval.requester,
            "asked_by": approval.asked_by,
            "reason": approval.reason,
            "created_at": rfc3339_ms(approval.created_at),
            "expires_at": rfc3339_ms(approval.expires_at),
        }
    )


def custodian_id(value: UUID) -> str:
    """Return the outside form of a custodian's id."""
    return id_from("cus", value)
