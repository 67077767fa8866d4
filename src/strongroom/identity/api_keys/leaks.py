"""Ends keys that were found where they should not be: at once, in every process within a second.

Who reports is a partner whose signature fits (GitHub's secret-scanning program), a caller of ours,
or anybody who holds the key itself. The answer never says what became of a key. Whoever holds a
key can try it anyway; trying it here ends it. Publishable keys are public and end by nobody's
report.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

import msgspec

from strongroom.identity import errors, keytext
from strongroom.identity.api_keys.flow import ApiKeys
from strongroom.identity.api_keys.model import Hashes, hashes_of
from strongroom.identity.api_keys.proving import KeyProof
from strongroom.identity.model import KeyKind, Mode
from strongroom.identity.refusals import Refusals, Refused
from strongroom.journal import Entry
from strongroom.kernel.edge_limits import LEAK_PARTNER_KEYS_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.keys.verifying import is_p256, verify_ecdsa_p256

_KEY_HEADER, _SIGNATURE_HEADER = "github-public-key-identifier", "github-public-key-signature"
_SIGNATURE_MAX = 200
_ACTION = "identity:api_key:leak"


class _PartnerKey(msgspec.Struct, frozen=True):
    key_identifier: str
    key: str


class _PartnerKeys(msgspec.Struct, frozen=True):
    public_keys: list[_PartnerKey]


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who reports: `actor` for the journal, `trusted` for who proved itself."""

    actor: str
    trusted: bool


def partner_keys(text: str) -> dict[str, str]:
    """Return a partner's public keys by their ids, from the JSON that GitHub publishes.

    Raises:
        StrongroomError: `settings_invalid` unless every key is one of P-256.
    """
    try:
        found = msgspec.json.decode(text, type=_PartnerKeys).public_keys
    except msgspec.DecodeError:
        found = []
    if not 0 < len(found) <= LEAK_PARTNER_KEYS_MAX or not all(is_p256(one.key) for one in found):
        raise StrongroomError(
            "settings_invalid", "The file of [leak_reports] must hold P-256 public keys in PEM."
        )
    return {one.key_identifier: one.key for one in found}


class Leaks:
    """Takes reports of leaked keys."""

    def __init__(
        self,
        keys: ApiKeys,
        proof: KeyProof,
        *,
        mode: Mode,
        hashes: Hashes,
        partners: Mapping[str, str],
        refusals: Refusals,
    ) -> None:
        self._keys = keys
        self._proof = proof
        self._mode = mode
        self._hashes = hashes
        self._partners = partners
        self._refusals = refusals

    def partner(self, headers: Mapping[str, str], body: bytes, *, source: str) -> Sender | None:
        """Return the partner that signed a report; None when it has no signature.

        Raises:
            StrongroomError: `leak_report_unsigned` when the signature is not one of a partner.
        """
        key_id, signature = headers.get(_KEY_HEADER), headers.get(_SIGNATURE_HEADER)
        if key_id is None and signature is None:
            return None
        key = self._partners.get(key_id or "")
        made = _decoded(signature or "")
        if key is not None and made is not None and verify_ecdsa_p256(key, made, body):
            return Sender(actor="partner:github", trusted=True)
        self._refusals.note(
            Refused(action=_ACTION, reason="signature", subject="none", source=source)
        )
        raise errors.leak_report_unsigned()

    async def take(self, tokens: Sequence[str], sender: Sender, *, source: str) -> int:
        """End every reported key that is ours and secret; return how many ended now.

        Raises:
            StrongroomError: `storage_unavailable` or `overloaded`: send the report again.
        """
        return sum([await self._one(token, sender, source) for token in dict.fromkeys(tokens)])

    async def _one(self, token: str, sender: Sender, source: str) -> bool:
        presented = keytext.parse_text(token.strip())
        if presented is None:
            return self._noted("no_key", "none", "", sender, source)
        if presented.kind is KeyKind.PUBLISHABLE or presented.mode != self._mode:
            reason = "other_mode" if presented.mode != self._mode else "publishable"
            return self._noted(reason, presented.prefix, presented.hint, sender, source)
        found = await self._proof.find(await hashes_of(self._hashes, presented.text))
        if found is None:
            return self._noted("unknown", presented.prefix, presented.hint, sender, source)
        entry = Entry(
            action=_ACTION,
            subject=found.principal.id,
            outcome="revoked",
            reason="leaked",
            facts={"reported_by": "known" if sender.trusted else "holder"},
            merchant=found.principal.merchant,
            actor=sender.actor,
        )
        _, ended = await self._keys.end(entry)
        return ended

    def _noted(self, reason: str, subject: str, hint: str, sender: Sender, source: str) -> bool:
        self._refusals.note(
            Refused(
                action=_ACTION,
                reason=reason,
                subject=subject,
                hint=hint,
                actor=sender.actor,
                source=source,
            )
        )
        return False


def _decoded(text: str) -> bytes | None:
    if not 0 < len(text) <= _SIGNATURE_MAX or not text.isascii():
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
