"""The failures of the keys room, each with its stable code (docs/errors.md). None carries a key."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def root_file_unsafe(path: str, problem: str) -> StrongroomError:
    """Return `root_file_unsafe`: a file with key material can be read or replaced by others."""
    return StrongroomError(
        "root_file_unsafe", f"The file {path} {problem}. Make it yours alone: chmod 600 {path}"
    )


def root_file_missing(path: str) -> StrongroomError:
    """Return `root_file_missing`: there is nothing to open."""
    return StrongroomError(
        "root_file_missing", f"There is no file {path}. Make it with: strongroom init"
    )


def root_file_exists(path: str) -> StrongroomError:
    """Return `root_file_exists`: a root key is never overwritten."""
    return StrongroomError(
        "root_file_exists",
        f"The file {path} exists already. A root key is never overwritten: without it every "
        "stored card is lost.",
    )


def root_file_damaged(path: str) -> StrongroomError:
    """Return `root_file_damaged`: not a file of ours, or of a format this release does not know."""
    return StrongroomError(
        "root_file_damaged", f"The file {path} is not a root key file that this release can read."
    )


def root_not_opened(path: str) -> StrongroomError:
    """Return `root_not_opened`: wrong passphrase or key file, or changed; never says which."""
    return StrongroomError(
        "root_not_opened",
        f"The root key in {path} could not be opened: the passphrase or key file is not the "
        "right one, or the file was changed.",
    )


def root_other_world(what: str) -> StrongroomError:
    """Return `root_other_world`: the root belongs to another mode or another installation."""
    return StrongroomError(
        "root_other_world",
        f"The root key belongs to another {what}. Test and live, and two installations, never "
        "share keys.",
    )


def passphrase_too_short(minimum: int) -> StrongroomError:
    """Return `passphrase_too_short`."""
    return StrongroomError(
        "passphrase_too_short", f"The passphrase must have at least {minimum} characters."
    )


def one_unlock_method() -> StrongroomError:
    """Return `root_unlock_method`: neither or both of passphrase and key file were given."""
    return StrongroomError(
        "root_unlock_method", "Give either a passphrase or a key file for the root key."
    )


def not_initialized() -> StrongroomError:
    """Return `not_initialized`: the database names no installation yet."""
    return StrongroomError(
        "not_initialized", "This database holds no installation yet. Run: strongroom init"
    )


def key_not_usable(detail: str) -> StrongroomError:
    """Return `key_not_usable`: a stored key does not open, was substituted, or is retired."""
    return StrongroomError(
        "key_not_usable", "A stored key cannot be used; no card data was touched.", detail=detail
    )


def key_exhausted(detail: str) -> StrongroomError:
    """Return `key_exhausted`: the key sealed as much as is safe and could not be replaced."""
    return StrongroomError(
        "key_exhausted", "The encryption key has reached its usage limit.", detail=detail
    )


def record_not_opened() -> StrongroomError:
    """Return `record_not_opened`: changed, moved or foreign ciphertext, one answer for all."""
    return StrongroomError("record_not_opened", "The stored data could not be opened.")


def key_record_forged(detail: str) -> StrongroomError:
    """Return `key_record_forged`: a key's row is not what this installation signed."""
    return StrongroomError(
        "key_record_forged",
        "A stored key record was exchanged, changed or brought back from before. Nothing is "
        "opened with it. See docs/operations/key-compromise.md.",
        detail=detail,
    )


def keys_rolled_back(detail: str) -> StrongroomError:
    """Return `keys_rolled_back`: the key store is older than what this node has seen of it."""
    return StrongroomError(
        "keys_rolled_back",
        "The stored keys are older than this node remembers: an older backup was restored. See "
        "docs/operations/key-rotation.md.",
        detail=detail,
    )


def key_missing() -> StrongroomError:
    """Return `key_missing`: a record names a key that the key store does not hold."""
    return StrongroomError(
        "key_missing",
        "Stored data names a key that the key store does not hold. Was an older backup of the "
        "keys restored beside newer cards?",
    )


def key_compromised() -> StrongroomError:
    """Return `key_compromised`: what it sealed waits for its rotation, which is under way."""
    return StrongroomError(
        "key_compromised",
        "The stored data is being moved away from a compromised key. Try again shortly.",
        retryable=True,
        retry_after_s=5,
    )


def key_state(detail: str) -> StrongroomError:
    """Return `key_state_not_possible`: the key's state does not allow what was asked."""
    return StrongroomError(
        "key_state_not_possible", f"The key cannot become that: {detail}.", detail=detail
    )


def token_not_signable(detail: str) -> StrongroomError:
    """Return `token_not_signable`: what is to be signed is no access token of ours."""
    return StrongroomError(
        "token_not_signable", "Only access tokens are signed here.", detail=detail
    )


def key_not_found() -> StrongroomError:
    """Return `key_not_found`."""
    return StrongroomError("key_not_found", "There is no such key.")


def keys_contended() -> StrongroomError:
    """Return `keys_contended`: others changed keys at the same moment, again and again."""
    return StrongroomError(
        "keys_contended",
        "The keys were changed by others at the same time. Try again.",
        retryable=True,
        retry_after_s=1,
    )


def certificate_request_invalid(days_max: int) -> StrongroomError:
    """Return `certificate_request_invalid`: no name of a service, or too long a life."""
    return StrongroomError(
        "certificate_request_invalid",
        "Certificates are for services (a to z, 0 to 9 and -, 40 characters at most) "
        f"and for 1 to {days_max} days.",
    )


def certificate_request_refused(detail: str) -> StrongroomError:
    """Return `certificate_request_refused`: no PKCS#10 request of a P-256 key."""
    return StrongroomError(
        "certificate_request_refused",
        "The request must be PKCS#10, signed by the P-256 key it is for.",
        detail=detail,
    )


def certificate_not_found() -> StrongroomError:
    """Return `certificate_not_found`."""
    return StrongroomError("certificate_not_found", "There is no such certificate.")


def join_token_invalid(minutes_max: int) -> StrongroomError:
    """Return `join_token_invalid`: no name of a service, or too long a time."""
    return StrongroomError(
        "join_token_invalid",
        "Join tokens are for services other than the vault (a to z, 0 to 9 and -), "
        f"and for 1 to {minutes_max} minutes.",
    )


def join_token_unreadable() -> StrongroomError:
    """Return `join_token_unreadable`: the text is no join token."""
    return StrongroomError("join_token_unreadable", "This is no join token.")


def join_refused(detail: str) -> StrongroomError:
    """Return `join_refused`: one sentence for every reason; `detail` is for the journal."""
    return StrongroomError(
        "join_refused",
        "No certificate is given for this. Ask for a new join token.",
        detail=detail,
    )


def client_suite_unknown(suites: tuple[str, ...]) -> StrongroomError:
    """Return `client_suite_unknown`: no client keys of this kind exist."""
    return StrongroomError(
        "client_suite_unknown", f"Client keys are of these suites: {', '.join(suites)}."
    )


def data_subject_not_found() -> StrongroomError:
    """Return `data_subject_not_found`: no card was ever stored for this reference."""
    return StrongroomError(
        "data_subject_not_found",
        "No card was ever stored for this data subject.",
        param="data_subject",
    )


def data_subject_busy() -> StrongroomError:
    """Return `data_subject_busy`: others keep changing this person's keys."""
    return StrongroomError(
        "data_subject_busy",
        "The data subject is being changed by other requests. Try again.",
        retryable=True,
        retry_after_s=1,
    )


def shred_receipt_invalid() -> StrongroomError:
    """Return `shred_receipt_invalid`: not a receipt, changed, or signed by another key."""
    return StrongroomError(
        "shred_receipt_invalid", "This is no receipt that was signed by the given key."
    )


def shred_key_invalid() -> StrongroomError:
    """Return `shred_key_invalid`: the text is no public key."""
    return StrongroomError(
        "shred_key_invalid",
        "The key must be the 64 hexadecimal digits that `strongroom subjects key` prints.",
    )


def shred_ledger_damaged(path: str, line: int) -> StrongroomError:
    """Return `shred_ledger_damaged`: a line was changed, moved or taken out."""
    return StrongroomError(
        "shred_ledger_damaged",
        f"The shred ledger {path} was changed or is damaged. Nothing is served before it is put "
        "right: restore the file from its copy.",
        detail=f"line {line}",
    )


def shred_ledger_unwritable(path: str, problem: str) -> StrongroomError:
    """Return `shred_ledger_unwritable`: the file cannot be used now."""
    return StrongroomError(
        "shred_ledger_unwritable",
        "The shred ledger cannot be written. The data is gone; ask again for its receipt.",
        detail=f"{path}: {problem}",
        retryable=True,
        retry_after_s=5,
    )
