"""Pure decisions of four eyes: what may be asked, who may approve, where a request stands."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from strongroom.access.approvals import errors
from strongroom.access.approvals.asks import ASKS, Ask
from strongroom.access.approvals.model import Approval, Decided, End, Parameter, State, StepUp
from strongroom.identity import Principal, PrincipalKind
from strongroom.kernel import edge_limits as limits
from strongroom.kernel.canonical import dumps
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import free_text_holds_card_number, holds_card_number

APPROVALS_MAX = 2
"""More approvals than these never count: what is asked is whether any number would do."""

_TEXT_MAX = 500
_NAME_MAX = 100
_FRESH = timedelta(seconds=limits.STEP_UP_S)
_SKEW = timedelta(seconds=5)


def ask_of(action: str) -> Ask:
    """Return how an action is described, or refuse one that nobody can ask for."""
    found = ASKS.get(action)
    if found is None:
        raise errors.invalid("action", f"Ask for one of: {', '.join(sorted(ASKS))}.")
    return found


def checked(ask: Ask, resource: str, parameters: Mapping[str, Parameter]) -> bytes:
    """Return the canonical parameters, or refuse what does not describe the action.

    Raises:
        StrongroomError: `invalid_parameter`, `card_number_in_text`.
    """
    check_line("resource", resource, longest=_NAME_MAX)
    unknown = set(parameters) - set(ask.parameters)
    missing = {
        name
        for name, types in ask.parameters.items()
        if parameters.get(name) is None and type(None) not in types
    }
    if unknown or missing:
        raise errors.invalid("parameters", f"The parameters are: {ask.words()}.")
    for name, value in parameters.items():
        if type(value) not in ask.parameters[name] or not _plain(value):
            raise errors.invalid("parameters", f"The parameter {name} has another type.")
    body = dumps(dict(parameters))
    if len(body) > limits.FOUR_EYES_PARAMETERS_MAX_BYTES:
        raise errors.invalid("parameters", "The parameters are too large.")
    if holds_card_number(body.decode()):
        raise _card("parameters")
    return body


def check_line(param: str, text: str, *, longest: int = _TEXT_MAX) -> str:
    """Return a line that people read, or refuse it."""
    if not (1 <= len(text) <= longest and text.isprintable() and text == text.strip()):
        raise errors.invalid(param, f"Give one line of 1 to {longest} printable characters.")
    if free_text_holds_card_number(text):
        raise _card(param)
    return text


def ttl_of(wanted_s: int | None) -> timedelta:
    """Return how long a request is good for."""
    seconds = limits.FOUR_EYES_TTL_S if wanted_s is None else wanted_s
    if not limits.FOUR_EYES_TTL_MIN_S <= seconds <= limits.FOUR_EYES_TTL_MAX_S:
        raise errors.invalid(
            "ttl_s",
            f"Give {limits.FOUR_EYES_TTL_MIN_S} to {limits.FOUR_EYES_TTL_MAX_S} seconds.",
        )
    return timedelta(seconds=seconds)


def needed_of(principal: Principal, person: str | None) -> int:
    """Return how many must approve.

    A merchant's request is approved by an operator, who is another person. An operator whose
    person is known is told apart from the others. Of two who approve for a requester that nobody
    can tell, at least one is somebody else.
    """
    known = person is not None or principal.kind is PrincipalKind.MERCHANT
    return 1 if known else 2


def standing(decisions: Sequence[Decided], end: End | None, *, needed: int, late: bool) -> State:
    """Return where a request stands; an end is final."""
    if end is not None:
        return end.how
    if late:
        return "expired"
    return "approved" if len(decisions) >= needed else "open"


def closed(approval: Approval) -> StrongroomError | None:
    """Return why a request takes no decision and no use any more, or None while it does."""
    if approval.state == "used":
        return errors.used()
    if approval.state == "rejected":
        return errors.rejected()
    if approval.state == "expired":
        return errors.expired()
    return None


def check_step_up(approval: Approval, principal: Principal, proof: StepUp, now: datetime) -> None:
    """Refuse a proof that is not this person's, for exactly this request, and fresh.

    Raises:
        StrongroomError: `step_up_refused`.
    """
    holds = (
        hmac.compare_digest(proof.purpose, approval.action_sha256)
        and proof.operator == principal.id
        and proof.aal >= limits.STEP_UP_AAL_MIN
        and -_SKEW <= now - proof.at <= _FRESH
    )
    if not holds:
        raise errors.step_up_refused()


def is_own(approval: Approval, person: str) -> bool:
    """Return whether a person asked for this, by whichever credential."""
    return person in (approval.person, approval.requester)


def counted(
    approval: Approval, decisions: Sequence[Decided], administrators: Collection[str]
) -> tuple[str, ...]:
    """Return those whose approval counts now: administrators still, and not the requester."""
    found = [
        decided.operator
        for decided in decisions
        if decided.operator in administrators and not is_own(approval, decided.operator)
    ]
    return tuple(dict.fromkeys(found))


def _plain(value: Parameter) -> bool:
    return not isinstance(value, list) or all(type(item) is str for item in value)


def _card(param: str) -> StrongroomError:
    return StrongroomError(
        "card_number_in_text", "The text holds what looks like a card number.", param=param
    )
