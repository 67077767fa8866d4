"""Data subjects: all cards of one person, destroyed together with the key they are sealed under."""

from __future__ import annotations

from typing import Annotated

import msgspec

from strongroom.api import errors
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.strict import check_no_card_number
from strongroom.api.wire import Flag, Label, MerchantId, Reason, Wire, data
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret


class ErasureBody(Wire, frozen=True, kw_only=True):
    """POST /v1/data-subjects/erase. `force` erases although payments still wait for a card."""

    data_subject: Annotated[
        Secret[str], data("personal", description="Your own reference of the person.")
    ]
    reason: Reason
    force: Flag = False


class ShredReceipt(Wire, frozen=True, kw_only=True):
    """What was destroyed. The signature is over exactly these values in canonical JSON."""

    format: Annotated[str, data("public")]
    id: Label
    installation: Label
    mode: Annotated[str, data("public")]
    merchant: MerchantId
    subject: Annotated[str, data("personal", description="A keyed hash of the reference.")]
    keys: Annotated[list[str], data("internal")]
    cards_removed: Annotated[int, data("internal")]
    destroyed_at: Annotated[str, data("internal", description="RFC 3339, UTC.")]
    reason: Annotated[str, data("confidential")]
    requested_by: Annotated[str, data("confidential")]
    request: Annotated[str | None, data("internal")]


class ErasureAnswer(Wire, frozen=True, kw_only=True):
    """A signed receipt; keep it, and check it offline with `strongroom subjects verify-receipt`."""

    receipt: ShredReceipt
    signature: Annotated[str, data("public", description="Ed25519, base64.")]
    key: Annotated[str, data("public", description="The public key, base64.")]


async def erase_subject(call: Call) -> Reply:
    """Destroy all cards of one person."""
    body: ErasureBody = call.body
    check_no_card_number(body.reason, param="reason")
    vault = call.services.vault
    try:
        if not body.force:
            tokens = await vault.subject_tokens(call.merchant, body.data_subject)
            if await call.services.payments.waiting_for(call.merchant, tokens):
                raise errors.data_subject_in_use()
        told = await vault.erase_subject(
            call.merchant,
            body.data_subject,
            reason=body.reason,
            actor=call.actor,
            request_id=call.request,
        )
    except StrongroomError as error:
        if error.param == "card.data_subject":
            error.param = "data_subject"
        raise
    return Reply(200, msgspec.json.encode(told))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/data-subjects/erase",
        action="data_subject:erase",
        summary="Destroy all cards of one person and return a signed receipt",
        handler=erase_subject,
        request=ErasureBody,
        answers={200: ErasureAnswer},
        errors=(
            "invalid_data_subject",
            "card_number_in_text",
            "data_subject_not_found",
            "data_subject_in_use",
            "data_subject_busy",
            "shred_ledger_unwritable",
            "shred_ledger_missing",
        ),
    ),
)
