"""The types of ceremonies: the root's file, a custodian's share, a session that waits, an answer.

None of them holds anything secret in clear: shares are encrypted (HPKE) to one custodian, answers
to one waiting process. What each is bound to stands in its `info`, as canonical JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from strongroom.kernel.canonical import dumps
from strongroom.keys.ceremony.shamir import ShareSet
from strongroom.keys.dual_control.model import Card
from strongroom.keys.model import Mode

ROOT_FORMAT = "strongroom-shares-root/1"
SHARE_FORMAT = "strongroom-share/1"
SESSION_FORMAT = "strongroom-unseal-session/1"
ANSWER_FORMAT = "strongroom-unseal-answer/1"

Purpose = Literal["unseal", "reshare"]


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who holds the share of an index; keys are base64."""

    index: int
    custodian: str
    name: str
    signing_key: str
    exchange_key: str


class RootFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root's file. All of it but `wrapped` is the additional data of the wrapped root key."""

    format: str
    root: str
    mode: Mode
    installation: str
    created_at: str
    kcv: str
    shares: ShareSet
    holders: tuple[Holder, ...]
    wrapped: str

    def holder(self, index: int) -> Holder | None:
        """Return who holds a share."""
        return next((held for held in self.holders if held.index == index), None)


class ShareFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one custodian keeps: a share only that custodian's key opens."""

    format: str
    root: str
    mode: Mode
    installation: str
    set_id: str
    threshold: int
    index: int
    custodian: str
    name: str
    sealed: str


class SessionCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a waiting process tells custodians; `key` is its ephemeral public key (base64).

    `after` says whose the shares will be, when the purpose is to make new ones.
    """

    format: str
    session: str
    purpose: Purpose
    root: str
    mode: Mode
    installation: str
    set_id: str
    threshold: int
    given: tuple[int, ...]
    key: str
    expires_at: str
    after: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A custodian's share for one waiting process, encrypted to it and signed by the custodian."""

    format: str
    session: str
    index: int
    custodian: str
    sealed: str
    signature: str


def share_info(share: ShareFile) -> bytes:
    """Return what a share's encryption is bound to."""
    return dumps(
        {
            "purpose": SHARE_FORMAT,
            "root": share.root,
            "mode": share.mode,
            "installation": share.installation,
            "set": share.set_id,
            "threshold": share.threshold,
            "index": share.index,
            "custodian": share.custodian,
        }
    )


def answer_info(card: SessionCard, *, index: int, custodian: str) -> bytes:
    """Return what the encryption of an answer is bound to."""
    return dumps({**_about(card), "purpose": ANSWER_FORMAT, "index": index, "custodian": custodian})


def answer_statement(card: SessionCard, *, index: int, custodian: str, sealed: str) -> bytes:
    """Return what a custodian signs when he gives his share."""
    return dumps(
        {
            **_about(card),
            "statement": "strongroom-unseal/1",
            "for": card.purpose,
            "index": index,
            "custodian": custodian,
            "sealed_sha256": hashlib.sha256(sealed.encode()).hexdigest(),
        }
    )


def verified_statement(root: RootFile, *, index: int, custodian: str, at: str) -> bytes:
    """Return what a custodian signs after a dry run: his share opens and is the right one."""
    return dumps(
        {
            "statement": "strongroom-share-verified/1",
            "root": root.root,
            "mode": root.mode,
            "installation": root.installation,
            "set": root.shares.set_id,
            "index": index,
            "custodian": custodian,
            "signed_at": at,
        }
    )


def fingerprint(card: SessionCard) -> str:
    """Return what people compare: the waiting process and a custodian's screen both show it."""
    digest = hashlib.sha256(dumps({**_about(card), "for": card.purpose, "key": card.key}))
    text = digest.hexdigest()[:20]
    return "-".join(text[place : place + 4] for place in range(0, 20, 4))


def new_set(cards: Sequence[Card], threshold: int) -> str:
    """Return what custodians are told of a new set: how many open it, and whose shares it has."""
    people = [f"{card.name} {card.custodian} {card.signing_key[:16]}" for card in cards]
    return f"{threshold} of {len(cards)}: {', '.join(people)}"


def _about(card: SessionCard) -> dict[str, str | int]:
    return {
        "session": card.session,
        "root": card.root,
        "mode": card.mode,
        "installation": card.installation,
        "set": card.set_id,
        "after": card.after,
    }
