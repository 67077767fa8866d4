"""The failures of access, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def permission_denied(public: str, *, detail: str) -> StrongroomError:
    """Return `permission_denied`; `detail` names the policies, to operators only."""
    return StrongroomError("permission_denied", public, detail=detail)


def level_too_low(required: int) -> StrongroomError:
    """Return `level_too_low`: the merchant demands stronger authentication than this."""
    wanted = "a signed request" if required >= 3 else "a bound token, a certificate or a signature"
    return StrongroomError(
        "level_too_low", f"This merchant demands more than an API key: send {wanted}."
    )


def unknown_action(action: str) -> StrongroomError:
    """Return `unknown_action`: a route, command or call names an action that is not declared."""
    return StrongroomError(
        "unknown_action",
        "The program has no such action; declare it in access/actions.py and the Cedar schema.",
        detail=f"action {action!r}",
    )


def policy_invalid(detail: str) -> StrongroomError:
    """Return `policy_invalid`: the policies or their schema are not fit to decide by."""
    return StrongroomError("policy_invalid", "The access policies are not valid.", detail=detail)
