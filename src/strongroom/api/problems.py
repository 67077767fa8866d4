"""The one place that knows HTTP statuses: every error code of the house, with status and title.

Codes that can only arise at start-up or on the command line stand in `NEVER_ANSWERED`; should one
reach a caller all the same it reads as `internal_error`. docs/errors.md is kept in step by a test.
"""

from __future__ import annotations

import msgspec

from strongroom.api import errors
from strongroom.api.model import PaymentAnswer, ProblemAnswer, RefundAnswer
from strongroom.kernel.errors import StrongroomError

PROBLEMS: dict[str, tuple[int, str]] = {
    # what is wrong with the request itself
    "invalid_http": (400, "Malformed HTTP"),
    "invalid_json": (400, "Not JSON"),
    "invalid_encoding": (400, "Not UTF-8"),
    "duplicate_name": (400, "Duplicate name in JSON"),
    "json_too_deep": (400, "JSON nests too deep"),
    "number_not_integer": (400, "Number is not an integer"),
    "number_not_safe": (400, "Integer out of range"),
    "text_not_printable": (400, "Unprintable text"),
    "duplicate_header": (400, "Duplicate header"),
    "unsupported_version": (400, "Unknown API version"),
    "body_not_allowed": (400, "Body not allowed"),
    "merchant_required": (400, "Merchant not named"),
    "idempotency_key_missing": (400, "Idempotency key missing"),
    "idempotency_key_invalid": (400, "Idempotency key malformed"),
    "webhook_malformed": (400, "Webhook malformed"),
    "method_not_allowed": (405, "Method not allowed"),
    "header_timeout": (408, "Request too slow"),
    "body_too_large": (413, "Body too large"),
    "url_too_long": (414, "URL too long"),
    "unsupported_media_type": (415, "Not application/json"),
    "headers_too_large": (431, "Headers too large"),
    # who asks
    "unauthenticated": (401, "Not authenticated"),
    "webhook_signature_invalid": (401, "Webhook signature invalid"),
    "permission_denied": (403, "Not permitted"),
    "purpose_required": (422, "Purpose missing"),
    "reveal_limit": (429, "Reveal limit reached"),
    "approval_required": (403, "Approval required"),
    "approval_not_found": (404, "Approval not found"),
    "approval_mismatch": (409, "Approval is for something else"),
    "approval_incomplete": (403, "Approval incomplete"),
    "approval_rejected": (403, "Approval rejected"),
    "approval_expired": (403, "Approval expired"),
    "approval_used": (409, "Approval used"),
    "custodians_required": (403, "Custodians required"),
    # what is asked for
    "not_found": (404, "Not found"),
    "payment_not_found": (404, "Payment not found"),
    "token_not_found": (404, "Token not found"),
    "data_subject_not_found": (404, "Data subject not found"),
    "merchant_not_found": (404, "Merchant not found"),
    "api_key_not_found": (404, "API key not found"),
    "entry_not_found": (404, "Journal entry not found"),
    "gateway_not_found": (404, "Gateway not found"),
    # fields
    "missing_parameter": (422, "Field missing"),
    "unknown_parameter": (422, "Field unknown"),
    "invalid_parameter": (422, "Field invalid"),
    "conflicting_parameters": (422, "Fields exclude each other"),
    "invalid_id": (422, "Id malformed"),
    "not_canonical": (422, "Value has no canonical form"),
    "card_number_in_text": (422, "Card number in free text"),
    "currency_not_supported": (422, "Currency not supported"),
    "amount_not_positive": (422, "Amount not positive"),
    "amount_too_large": (422, "Amount too large"),
    "amount_not_supported": (422, "Amount not supported by the gateway"),
    "amount_exceeds_capturable": (422, "More than can be captured"),
    "amount_exceeds_refundable": (422, "More than can be refunded"),
    "batch_too_large": (422, "Batch too large"),
    # cards
    "incorrect_number": (422, "Card number incorrect"),
    "invalid_number_length": (422, "Card number has the wrong length"),
    "invalid_cvc": (422, "Security code invalid"),
    "invalid_expiry_month": (422, "Expiry month invalid"),
    "invalid_expiry_year": (422, "Expiry year invalid"),
    "invalid_holder_name": (422, "Holder name invalid"),
    "expired_card": (422, "Card expired"),
    "encrypted_card_invalid": (422, "Encrypted card cannot be opened"),
    "encrypted_card_expired": (422, "Encrypted card outside its time"),
    "encrypted_card_replayed": (409, "Encrypted card used before"),
    "test_card_in_live_mode": (422, "Test card in live mode"),
    "live_card_in_test_mode": (422, "Live card in test mode"),
    "card_data_missing": (422, "Card data missing"),
    "cvc_handle_invalid": (422, "Security code no longer held"),
    "token_expired": (422, "Token expired"),
    "token_used": (409, "Token used"),
    "hold_too_long": (422, "Card held too long"),
    "token_contended": (409, "Token busy"),
    "invalid_data_subject": (422, "Data subject malformed"),
    "data_subject_in_use": (409, "Data subject in use"),
    "data_subject_busy": (409, "Data subject busy"),
    "shred_ledger_unwritable": (503, "Shred ledger not writable"),
    "shred_ledger_missing": (503, "No shred ledger"),
    # the issuer or the gateway said no
    "card_declined": (402, "Card declined"),
    "payment_blocked": (402, "Payment blocked"),
    "capture_rejected": (402, "Capture rejected"),
    "cancel_rejected": (402, "Cancellation rejected"),
    "refund_failed": (402, "Refund failed"),
    # the state does not allow it
    "payment_not_capturable": (409, "Payment not capturable"),
    "payment_not_cancelable": (409, "Payment not cancelable"),
    "payment_not_refundable": (409, "Payment not refundable"),
    "payment_not_in_review": (409, "Payment not in review"),
    "operation_in_progress": (409, "Operation in progress"),
    "operation_not_supported": (409, "Operation not supported by the gateway"),
    "constraint_violated": (409, "Conflict with the current state"),
    "conflict": (409, "Changed by somebody else"),
    "idempotency_key_in_use": (409, "First request still running"),
    "idempotency_key_reused": (422, "Idempotency key used before"),
    # try again later
    "sealed": (503, "Sealed"),
    "overloaded": (503, "Busy"),
    "shutting_down": (503, "Shutting down"),
    "root_unavailable": (503, "Key provider unavailable"),
    "storage_unavailable": (503, "Storage unavailable"),
    "key_compromised": (503, "Card moving to a new key"),
    "gateway_unavailable": (503, "Gateway unavailable"),
    "gateway_outcome_unknown": (503, "Outcome being looked up"),
    "vault_unavailable": (503, "Vault unavailable"),
    "not_yet_sequenced": (503, "Entry not yet under a checkpoint"),
    "no_checkpoint": (503, "No checkpoint yet"),
    "request_timeout": (504, "Answer takes too long"),
    # our fault
    "internal_error": (500, "Internal error"),
    "vault_call_invalid": (500, "Vault of another release"),
    "vault_verb_refused": (403, "Not for this process"),
    "impossible_transition": (500, "Impossible state change"),
    "journal_refused": (500, "Not recordable"),
}
"""Code → (HTTP status, title)."""

NEVER_ANSWERED = frozenset(
    {
        "already_initialized",
        "approval_invalid",
        "approval_own",
        "approval_repeated",
        "approvals_too_many",
        "bad_migration",
        "certificate_request_invalid",
        "certificate_unusable",
        "client_suite_unknown",
        "custodian_conflict",
        "custodian_exists",
        "custodian_file_invalid",
        "custodian_name_invalid",
        "custodian_not_opened",
        "custodian_unknown",
        "custodians_too_many",
        "database_in_use",
        "database_programs_missing",
        "database_start_failed",
        "database_version_mismatch",
        "dual_control_damaged",
        "egress_misconfigured",
        "export_off",
        "export_output_unusable",
        "finding_not_found",
        "finding_resolved",
        "gateway_misconfigured",
        "gateway_reference_invalid",
        "import_file_changed",
        "import_file_unusable",
        "import_output_unusable",
        "import_running",
        "installation_mismatch",
        "journal_damaged",
        "journal_fork",
        "journal_note_invalid",
        "journal_overtaken",
        "key_exhausted",
        "key_missing",
        "key_not_found",
        "key_not_usable",
        "key_record_forged",
        "key_state_not_possible",
        "keys_contended",
        "keys_rolled_back",
        "live_mode",
        "malformed_line",
        "not_initialized",
        "passphrase_too_short",
        "policy_invalid",
        "proof_invalid",
        "record_not_opened",
        "resolution_incomplete",
        "root_access_denied",
        "root_file_damaged",
        "root_file_exists",
        "root_file_missing",
        "root_file_unsafe",
        "root_in_use",
        "root_key_refused",
        "root_misconfigured",
        "root_not_found",
        "root_not_opened",
        "root_other_world",
        "root_unlock_method",
        "schema_behind",
        "schema_mismatch",
        "secret_file_unusable",
        "service_unreachable",
        "settings_invalid",
        "share_corrupted",
        "share_file_invalid",
        "share_foreign",
        "share_repeated",
        "shares_invalid",
        "shares_missing",
        "shred_key_invalid",
        "shred_ledger_damaged",
        "shred_receipt_invalid",
        "signature_invalid",
        "signature_stale",
        "slice_refused",
        "start_failed",
        "transcript_invalid",
        "unknown_action",
        "unseal_expired",
        "unseal_not_waiting",
        "unseal_other_session",
        "unseal_unsafe",
    }
)
"""Codes of start-up, of the command line, or of damage: callers read `internal_error`."""

_encoder = msgspec.json.Encoder()


def status_of(code: str) -> int:
    """Return the HTTP status of a code; 500 for one that is not for callers."""
    return PROBLEMS.get(code, (500, ""))[0]


def shown(error: StrongroomError) -> StrongroomError:
    """Return what a caller may see of an error: itself, or `internal_error`."""
    return error if error.code in PROBLEMS else errors.internal()


def body(
    error: StrongroomError,
    *,
    request: str | None,
    instance: str,
    doc_base: str,
    decline_code: str | None = None,
    payment: PaymentAnswer | None = None,
    refund: RefundAnswer | None = None,
) -> bytes:
    """Return the problem document (RFC 9457) of an error that is in the table."""
    status, title = PROBLEMS[error.code]
    return _encoder.encode(
        ProblemAnswer(
            type=f"urn:strongroom:problem:{error.code}",
            title=title,
            status=status,
            detail=error.public,
            instance=instance,
            code=error.code,
            request_id=request,
            doc_url=f"{doc_base}/docs#{error.code}",
            param=error.param,
            decline_code=decline_code,
            payment=payment,
            refund=refund,
        )
    )
