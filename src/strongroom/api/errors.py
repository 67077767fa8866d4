"""The failures of the HTTP edge, each with its stable code (docs/errors.md)."""

from __future__ import annotations

import math

from strongroom.kernel.errors import StrongroomError


def not_found() -> StrongroomError:
    """Return `not_found`: no such route."""
    return StrongroomError("not_found", "There is nothing here.")


def method_not_allowed() -> StrongroomError:
    """Return `method_not_allowed`; the header Allow names the methods."""
    return StrongroomError("method_not_allowed", "This method is not allowed here.")


def body_too_large(limit: int) -> StrongroomError:
    """Return `body_too_large`: more bytes than the route takes."""
    return StrongroomError("body_too_large", f"The body may have {limit} bytes.")


def body_not_allowed() -> StrongroomError:
    """Return `body_not_allowed`: a body where none has a meaning."""
    return StrongroomError("body_not_allowed", "This request takes no body.")


def too_many_tokens(limit: int) -> StrongroomError:
    """Return `batch_too_large`: more keys in a report than its sender may send at once."""
    return StrongroomError("batch_too_large", f"A report may name {limit} keys.")


def media_type() -> StrongroomError:
    """Return `unsupported_media_type`."""
    return StrongroomError("unsupported_media_type", "Send the body as application/json in UTF-8.")


def duplicate_header(name: str) -> StrongroomError:
    """Return `duplicate_header`: two values where only one can be meant."""
    return StrongroomError("duplicate_header", f"The header {name} may be sent once.", param=name)


def unsupported_version() -> StrongroomError:
    """Return `unsupported_version`: a Strongroom-Version that was never published."""
    return StrongroomError(
        "unsupported_version",
        "This Strongroom-Version does not exist. Leave the header out or use a published date.",
        param="Strongroom-Version",
    )


def key_missing() -> StrongroomError:
    """Return `idempotency_key_missing`."""
    return StrongroomError(
        "idempotency_key_missing",
        "Send an Idempotency-Key header: a fresh random value for each new request.",
        param="Idempotency-Key",
    )


def key_invalid() -> StrongroomError:
    """Return `idempotency_key_invalid`."""
    return StrongroomError(
        "idempotency_key_invalid",
        "The Idempotency-Key must be 1 to 255 visible ASCII characters, quoted or bare.",
        param="Idempotency-Key",
    )


def merchant_required() -> StrongroomError:
    """Return `merchant_required`: an operator did not say whose things are meant."""
    return StrongroomError(
        "merchant_required",
        "Name the merchant in the header Strongroom-Merchant.",
        param="Strongroom-Merchant",
    )


def conflicting(first: str, second: str) -> StrongroomError:
    """Return `conflicting_parameters`: fields that exclude each other."""
    return StrongroomError(
        "conflicting_parameters", f"Send exactly one of {first} and {second}.", param=first
    )


def exactly_one(first: str, second: str, *, given: bool) -> StrongroomError:
    """Return what is wrong with two fields of which exactly one must be sent."""
    if given:
        return conflicting(first, second)
    return StrongroomError("missing_parameter", "A required field is missing.", param=first)


def invalid(param: str, public: str) -> StrongroomError:
    """Return `invalid_parameter` for a field the schema alone cannot judge."""
    return StrongroomError("invalid_parameter", public, param=param)


def overloaded() -> StrongroomError:
    """Return `overloaded`: as many requests as this process takes are under way."""
    return StrongroomError(
        "overloaded",
        "The service is busy. Try again shortly.",
        retryable=True,
        retry_after_s=1,
    )


def limited(quota: bool, wait_s: float) -> StrongroomError:
    """Return `rate_limited` or `quota_exhausted`, with the seconds to wait."""
    if quota:
        code, public = "quota_exhausted", "The quota of this period is used up."
    else:
        code, public = "rate_limited", "Too many requests. Slow down and try again."
    return StrongroomError(code, public, retryable=True, retry_after_s=max(1, math.ceil(wait_s)))


def too_many_at_once() -> StrongroomError:
    """Return `too_many_at_once`: as many requests of this merchant as may be are under way."""
    return StrongroomError(
        "too_many_at_once",
        "Too many requests at once. Wait for some to end.",
        retryable=True,
        retry_after_s=1,
    )


def shutting_down() -> StrongroomError:
    """Return `shutting_down`: another process takes this request."""
    return StrongroomError(
        "shutting_down",
        "This server is shutting down. Try again.",
        retryable=True,
        retry_after_s=1,
    )


def timed_out() -> StrongroomError:
    """Return `request_timeout`: what was begun is not canceled, only its caller is let go."""
    return StrongroomError(
        "request_timeout",
        "The answer takes too long. Send the same request with the same Idempotency-Key again.",
        retryable=True,
        retry_after_s=2,
    )


def internal() -> StrongroomError:
    """Return `internal_error`: a bug of ours; the request id finds the log line."""
    return StrongroomError(
        "internal_error",
        "Something went wrong on our side. Send the same request again or ask with its request id.",
        retryable=True,
    )


def data_subject_in_use() -> StrongroomError:
    """Return `data_subject_in_use`: a payment waits that still needs one of the person's cards."""
    return StrongroomError(
        "data_subject_in_use",
        "A payment still waits for one of the cards. End it first, or send force.",
        param="force",
    )


def forwarding_invalid() -> StrongroomError:
    """Return `forwarding_invalid`: what a proxy said of the caller, or somebody in its place."""
    return StrongroomError(
        "forwarding_invalid", "The request was not forwarded in a form that is taken here."
    )


def certificate_unusable(path: str, problem: str) -> StrongroomError:
    """Return `certificate_unusable`: a file of the TLS settings, told to operators."""
    return StrongroomError("certificate_unusable", f"{path} {problem}.")


def content_digest() -> StrongroomError:
    """Return `content_digest_mismatch`: the body is not the one that was signed."""
    return StrongroomError(
        "content_digest_mismatch", "The body does not match the Content-Digest header."
    )


def invalid_form(public: str) -> StrongroomError:
    """Return `invalid_request`: a form that an OAuth endpoint cannot read."""
    return StrongroomError("invalid_request", public)
