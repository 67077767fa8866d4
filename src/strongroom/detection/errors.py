"""The errors of detection."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def finding_not_found() -> StrongroomError:
    """Return `finding_not_found`."""
    return StrongroomError("finding_not_found", "There is no finding with this id.")


def already_resolved() -> StrongroomError:
    """Return `finding_resolved`: what is closed is not acknowledged or closed again."""
    return StrongroomError("finding_resolved", "The finding is resolved already.")


def incomplete(what: str) -> StrongroomError:
    """Return `resolution_incomplete`: a step of PCI DSS 12.10.7 is missing."""
    return StrongroomError("resolution_incomplete", what)


def card_in_text(param: str) -> StrongroomError:
    """Return `card_number_in_text`: a reason must not become the next leak."""
    return StrongroomError(
        "card_number_in_text", "The text holds what looks like a card number.", param=param
    )


def changed_meanwhile() -> StrongroomError:
    """Return `conflict`: another process kept changing the same finding."""
    return StrongroomError(
        "conflict", "The finding was changed meanwhile. Try again.", retryable=True
    )
