"""The refusals of ceremonies and shares, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def shares_invalid(what: str) -> StrongroomError:
    """Return `shares_invalid`: numbers or people that make no set of shares."""
    return StrongroomError("shares_invalid", what)


def share_foreign() -> StrongroomError:
    """Return `share_foreign`: of another set, installation or custodian."""
    return StrongroomError(
        "share_foreign",
        "The share is not one of this installation's present set: it is of another set or was "
        "made for another custodian. Shares from before a re-share are of no use.",
    )


def share_corrupted() -> StrongroomError:
    """Return `share_corrupted`: right set, wrong bytes."""
    return StrongroomError(
        "share_corrupted", "The share is damaged: it is not what was handed out. Restore its file."
    )


def share_repeated() -> StrongroomError:
    """Return `share_repeated`: this share was given already."""
    return StrongroomError("share_repeated", "This share was given already. Ask another custodian.")


def shares_missing(count: int) -> StrongroomError:
    """Return `shares_missing`: fewer than the threshold."""
    return StrongroomError("shares_missing", f"{count} more shares are needed.")


def share_file_invalid(path: str) -> StrongroomError:
    """Return `share_file_invalid`."""
    return StrongroomError("share_file_invalid", f"The file {path} is not a share's file.")


def answer_not_signed() -> StrongroomError:
    """Return `signature_invalid`: an answer without its custodian's signature."""
    return StrongroomError(
        "signature_invalid", "The answer is not signed by the custodian who holds this share."
    )


def unseal_expired() -> StrongroomError:
    """Return `unseal_expired`: the session's time is over."""
    return StrongroomError(
        "unseal_expired",
        "The session has expired, and what was given is forgotten. Get the new session.",
    )


def unseal_other_session() -> StrongroomError:
    """Return `unseal_other_session`: an answer to another process, or one replayed."""
    return StrongroomError(
        "unseal_other_session",
        "The answer is for another session. Each waiting process needs answers of its own.",
    )


def unseal_unsafe(what: str) -> StrongroomError:
    """Return `unseal_unsafe`: the socket may be somebody else's."""
    return StrongroomError("unseal_unsafe", f"The unseal socket {what}: nothing was sent.")


def nothing_waits() -> StrongroomError:
    """Return `unseal_not_waiting`: no process waits for shares."""
    return StrongroomError(
        "unseal_not_waiting", "No process waits for shares. Start it first: strongroom up"
    )


def sealed() -> StrongroomError:
    """Return `sealed`: the root was not opened by its custodians yet."""
    return StrongroomError(
        "sealed",
        "The root key is sealed. Start the service and let its custodians unseal it: "
        "strongroom ceremony unseal",
        retryable=True,
        retry_after_s=10,
    )


def transcript_invalid(what: str) -> StrongroomError:
    """Return `transcript_invalid`."""
    return StrongroomError("transcript_invalid", f"The transcript cannot be used: {what}.")
