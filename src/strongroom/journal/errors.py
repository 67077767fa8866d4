"""The failures of the journal, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def refused(reason: str) -> StrongroomError:
    """Return `journal_refused`: an entry held what the journal never takes."""
    return StrongroomError(
        "journal_refused",
        "The operation was not carried out because it could not be recorded safely.",
        detail=reason,
    )


def note_invalid(reason: str) -> StrongroomError:
    """Return `journal_note_invalid`: a signed note or key is malformed or not signed by us."""
    return StrongroomError("journal_note_invalid", reason)


def fork(reason: str) -> StrongroomError:
    """Return `journal_fork`: going on would sign a second history."""
    return StrongroomError("journal_fork", reason)


def overtaken(reason: str) -> StrongroomError:
    """Return `journal_overtaken`: another sequencer was first; this one wrote nothing."""
    return StrongroomError(
        "journal_overtaken",
        "Another sequencer extended the journal first; this one signed nothing and starts over.",
        detail=reason,
        retryable=True,
    )


def proof_invalid(reason: str) -> StrongroomError:
    """Return `proof_invalid`: a proof does not show what it claims."""
    return StrongroomError("proof_invalid", reason)


def damaged(reason: str) -> StrongroomError:
    """Return `journal_damaged`: the stored tree does not fit the last signed checkpoint."""
    return StrongroomError("journal_damaged", reason)


def entry_not_found() -> StrongroomError:
    """Return `entry_not_found`: no such entry, or not this merchant's."""
    return StrongroomError("entry_not_found", "There is no such journal entry.")


def not_yet_sequenced() -> StrongroomError:
    """Return `not_yet_sequenced`: the entry is committed but not yet under a checkpoint."""
    return StrongroomError(
        "not_yet_sequenced",
        "The entry is stored but not yet under a signed checkpoint; ask again in a second.",
        retryable=True,
        retry_after_s=1,
    )


def no_checkpoint() -> StrongroomError:
    """Return `no_checkpoint`: nothing has been signed yet."""
    return StrongroomError(
        "no_checkpoint",
        "The journal has no signed checkpoint yet; ask again in a second.",
        retryable=True,
        retry_after_s=1,
    )


def slice_unwritable(reason: str) -> StrongroomError:
    """Return `slice_refused`: an export was asked for that cannot be made."""
    return StrongroomError("slice_refused", reason)
