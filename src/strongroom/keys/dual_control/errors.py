"""The refusals of dual control, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def approval_required(action: str, payload: str) -> StrongroomError:
    """Return `approval_required`: custodians are enrolled and nobody approved this."""
    return StrongroomError(
        "approval_required",
        f"This needs the approval of two custodians. Ask for it: strongroom approvals request "
        f"{action} --payload '{payload}' --reason WHY",
    )


def approval_not_found() -> StrongroomError:
    """Return `approval_not_found`."""
    return StrongroomError(
        "approval_not_found", "There is no such request. See: strongroom approvals list"
    )


def approval_mismatch(what: str) -> StrongroomError:
    """Return `approval_mismatch`: what was approved is not what is about to happen."""
    return StrongroomError(
        "approval_mismatch",
        f"What was approved has another {what}. An approval is good for exactly one action, "
        "payload and requester.",
    )


def approval_incomplete(missing: int) -> StrongroomError:
    """Return `approval_incomplete`: fewer valid signatures than needed."""
    return StrongroomError(
        "approval_incomplete",
        f"{missing} more custodians must approve this, none of them the requester.",
    )


def approval_expired() -> StrongroomError:
    """Return `approval_expired`: requests are good for a day."""
    return StrongroomError("approval_expired", "The request has expired. Ask again.")


def approval_rejected() -> StrongroomError:
    """Return `approval_rejected`: one custodian said no."""
    return StrongroomError("approval_rejected", "A custodian rejected this request.")


def approval_used() -> StrongroomError:
    """Return `approval_used`: each approval is good for one use."""
    return StrongroomError("approval_used", "The approval was used already. Ask again.")


def approval_repeated() -> StrongroomError:
    """Return `approval_repeated`: each custodian decides once."""
    return StrongroomError("approval_repeated", "This custodian has decided already.")


def approval_own() -> StrongroomError:
    """Return `approval_own`: nobody approves what he asked for."""
    return StrongroomError("approval_own", "Nobody approves a request of their own.")


def signature_stale() -> StrongroomError:
    """Return `signature_stale`: signed too long ago, or in the future."""
    return StrongroomError(
        "signature_stale",
        "The signature is older than five minutes or from the future. Sign again; check both "
        "clocks if this repeats.",
    )


def signature_invalid() -> StrongroomError:
    """Return `signature_invalid`: not this custodian's signature over exactly this request."""
    return StrongroomError(
        "signature_invalid",
        "The signature is not this custodian's over exactly this request. Show the request "
        "again and sign what it says.",
    )


def too_many_open() -> StrongroomError:
    """Return `approvals_too_many`."""
    return StrongroomError(
        "approvals_too_many", "Too many requests are open. Decide them or let them expire."
    )


def request_invalid(what: str) -> StrongroomError:
    """Return `approval_invalid`: the request itself cannot be taken."""
    return StrongroomError("approval_invalid", what)


def custodians_required() -> StrongroomError:
    """Return `custodians_required`: a live installation has too few people for dual control."""
    return StrongroomError(
        "custodians_required",
        "This needs two custodians besides the requester. Enroll them first: "
        "strongroom custodian enroll FILE",
    )


def custodian_unknown() -> StrongroomError:
    """Return `custodian_unknown`: not enrolled, or revoked."""
    return StrongroomError(
        "custodian_unknown", "There is no such custodian. See: strongroom custodian list"
    )


def custodian_exists(what: str) -> StrongroomError:
    """Return `custodian_exists`: name or key is taken."""
    return StrongroomError("custodian_exists", f"A custodian with this {what} is enrolled already.")


def custodian_conflict() -> StrongroomError:
    """Return `custodian_conflict`: another enrollment came first."""
    return StrongroomError(
        "custodian_conflict", "Another change of custodians came first. Look, then try again."
    )


def custodians_too_many(limit: int) -> StrongroomError:
    """Return `custodians_too_many`: the fewest necessary (PCI DSS 3.6.1.3)."""
    return StrongroomError(
        "custodians_too_many", f"At most {limit} custodians are enrolled at a time. Revoke one."
    )


def custodian_file_invalid(path: str) -> StrongroomError:
    """Return `custodian_file_invalid`: not a file of ours, or changed."""
    return StrongroomError(
        "custodian_file_invalid", f"The file {path} is not a custodian's file, or was changed."
    )


def custodian_not_opened(path: str) -> StrongroomError:
    """Return `custodian_not_opened`: wrong passphrase or changed; never says which."""
    return StrongroomError(
        "custodian_not_opened",
        f"The custodian key in {path} could not be opened: the passphrase is not the right one, "
        "or the file was changed.",
    )


def records_damaged(detail: str) -> StrongroomError:
    """Return `dual_control_damaged`: a row was written past the service; nothing goes on."""
    return StrongroomError(
        "dual_control_damaged",
        "A record of dual control was not written by this service. Treat the database as "
        "tampered with: see docs/operations/key-ceremony.md.",
        detail=detail,
    )
