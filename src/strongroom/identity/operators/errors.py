"""The failures of operators, each with its stable code (docs/errors.md).

Whoever is not signed in reads one sentence for every cause, so that no answer tells whether a login
exists, rests or has another way in.
"""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def sign_in_refused(detail: str) -> StrongroomError:
    """Return `sign_in_refused`, the same for every cause; `detail` goes to operators only."""
    return StrongroomError(
        "sign_in_refused",
        "Signing in was refused. After ten failed tries with a password an account rests for "
        "thirty minutes; a passkey, or a device that signed in before, still works.",
        detail=detail,
    )


def session_over(detail: str) -> StrongroomError:
    """Return `unauthenticated` for a session that does not count, whatever the cause."""
    return StrongroomError("unauthenticated", "Sign in again.", detail=detail)


def step_up_refused(detail: str) -> StrongroomError:
    """Return `step_up_refused`: the proof is not one for this purpose and session."""
    return StrongroomError(
        "step_up_refused", "The proof was not accepted. Ask for a new one.", detail=detail
    )


def invitation_refused(detail: str) -> StrongroomError:
    """Return `invitation_refused`: used, over, or never made."""
    return StrongroomError(
        "invitation_refused",
        "The invitation is used, over or not one of ours. Ask an administrator for a new one.",
        detail=detail,
    )


def passkey_refused(public: str, *, detail: str = "") -> StrongroomError:
    """Return `passkey_refused`: the new passkey cannot be kept."""
    return StrongroomError("passkey_refused", public, detail=detail)


def password_refused(public: str) -> StrongroomError:
    """Return `password_refused`: the new password is not good enough; `public` says why."""
    return StrongroomError("password_refused", public, param="password")


def operator_not_found() -> StrongroomError:
    """Return `operator_not_found`."""
    return StrongroomError("operator_not_found", "There is no such operator.")


def operator_exists() -> StrongroomError:
    """Return `operator_exists`: the login, or one that looks like it, is taken for ever."""
    return StrongroomError(
        "operator_exists", "This login, or one that looks the same, is taken.", param="login"
    )


def operator_state(public: str) -> StrongroomError:
    """Return `operator_state`: the account is not in the state that this needs."""
    return StrongroomError("operator_state", public)


def last_administrator() -> StrongroomError:
    """Return `last_administrator`: without this account nobody could administer."""
    return StrongroomError(
        "last_administrator",
        "This is the last administrator. Invite another one first.",
    )


def second_person() -> StrongroomError:
    """Return `second_person_needed`: a recovery takes two people who are not the recovered one."""
    return StrongroomError(
        "second_person_needed",
        "A recovery needs two administrators, and neither may be the person it is for.",
    )


def recovery_not_found() -> StrongroomError:
    """Return `recovery_not_found`: none waits under this name, or its time is over."""
    return StrongroomError("recovery_not_found", "No such recovery waits for approval.")
