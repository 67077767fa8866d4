"""A process that waits for shares: an ephemeral key, answers of custodians, then the root key.

Each answer is judged alone and refused with its reason; nothing is combined before the threshold.
An answer is good for this session only: another session has another key. After its time a session
drops what it was given.
"""

from __future__ import annotations

import base64
import os
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from strongroom.kernel import limits
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import errors
from strongroom.keys.ceremony.model import (
    ANSWER_FORMAT,
    SESSION_FORMAT,
    Answer,
    Holder,
    Purpose,
    RootFile,
    SessionCard,
    ShareFile,
    answer_info,
    answer_statement,
)
from strongroom.keys.ceremony.shamir import Share, check, combine
from strongroom.keys.ceremony.shares_root import open_share, opened
from strongroom.keys.dual_control import CustodianKey
from strongroom.keys.dual_control.custodian_file import decoded, open_with, seal_to, signed_by


class Session:
    """Collects shares of one root until there are enough; `after` is what custodians agree to."""

    def __init__(self, root: RootFile, *, purpose: Purpose, clock: Clock, after: str = "") -> None:
        self._root = root
        self._clock = clock
        self._private = X25519PrivateKey.generate()
        self._shares: dict[int, Share] = {}
        self._id = os.urandom(16).hex()
        self._purpose: Purpose = purpose
        self._after = after
        self._until = clock.now() + timedelta(seconds=limits.UNSEAL_SESSION_S)
        self.root_key: Secret[bytes] | None = None

    @property
    def expired(self) -> bool:
        """Whether its time is over; make a new session then."""
        return self._clock.now() >= self._until

    def card(self) -> SessionCard:
        """Return what custodians need to answer."""
        public = self._private.public_key().public_bytes_raw()
        return SessionCard(
            format=SESSION_FORMAT,
            session=self._id,
            purpose=self._purpose,
            root=self._root.root,
            mode=self._root.mode,
            installation=self._root.installation,
            set_id=self._root.shares.set_id,
            threshold=self._root.shares.threshold,
            given=tuple(sorted(self._shares)),
            key=base64.b64encode(public).decode(),
            expires_at=rfc3339_ms(self._until),
            after=self._after,
        )

    def accept(self, answer: Answer) -> Holder:
        """Take one custodian's answer; with the last one needed, `root_key` is there.

        Raises:
            StrongroomError: `unseal_expired`, `unseal_other_session`, `share_foreign`,
                `share_corrupted`, `share_repeated`, `signature_invalid`, `root_not_opened`.
        """
        held = self._judge(answer)
        info = answer_info(self.card(), index=held.index, custodian=held.custodian)
        value = open_with(self._private, decoded(answer.sealed, "of the answer"), info=info)
        if value is None:
            raise errors.share_corrupted()
        public = self._root.shares
        share = Share(public.set_id, held.index, public.threshold, value)
        check(public, share)
        self._shares[held.index] = share
        if len(self._shares) == public.threshold:
            self.root_key = opened(self._root, combine(public, list(self._shares.values())))
            self._shares.clear()
        return held

    def _judge(self, answer: Answer) -> Holder:
        """Return whose answer it is, or raise why it is not taken; its share is not yet opened."""
        if self.expired:
            self._shares.clear()
            raise errors.unseal_expired()
        if answer.session != self._id or answer.format != ANSWER_FORMAT or self.root_key:
            raise errors.unseal_other_session()
        held = self._root.holder(answer.index)
        if held is None or held.custodian != answer.custodian:
            raise errors.share_foreign()
        if held.index in self._shares:
            raise errors.share_repeated()
        statement = answer_statement(
            self.card(), index=held.index, custodian=held.custodian, sealed=answer.sealed
        )
        signature = decoded(answer.signature, "of the answer")
        if not signed_by(decoded(held.signing_key, held.name), signature, statement):
            raise errors.answer_not_signed()
        return held


def answer_to(card: SessionCard, share: ShareFile, key: CustodianKey, *, at: datetime) -> Answer:
    """Return a custodian's answer, made on the custodian's side with his key.

    Raises:
        StrongroomError: `share_foreign` when share, custodian and session do not belong together,
            `unseal_expired`.
    """
    ours = (share.root, share.mode, share.installation, share.set_id, share.threshold)
    asked = (card.root, card.mode, card.installation, card.set_id, card.threshold)
    if ours != asked or card.format != SESSION_FORMAT:
        raise errors.share_foreign()
    if datetime.fromisoformat(card.expires_at) <= at:
        raise errors.unseal_expired()
    opened_share = open_share(share, key)
    custodian = key.card.custodian
    info = answer_info(card, index=share.index, custodian=custodian)
    sealed = seal_to(decoded(card.key, "of the session"), opened_share.value, info=info)
    text = base64.b64encode(sealed).decode()
    statement = answer_statement(card, index=share.index, custodian=custodian, sealed=text)
    return Answer(
        format=ANSWER_FORMAT,
        session=card.session,
        index=share.index,
        custodian=custodian,
        sealed=text,
        signature=base64.b64encode(key.sign(statement)).decode(),
    )
