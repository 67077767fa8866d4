"""Pure decisions of access: from a caller and a thing to the question, and to Cedar's request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from strongroom.access import errors
from strongroom.access.actions import RESOURCE_OF
from strongroom.access.model import MFA_AGE_MAX, Named, Question, Value
from strongroom.identity import Principal

_CALLER = {"type": "Caller", "id": "caller"}
_THING = "thing"
_encoder = msgspec.json.Encoder()
_VALUES = (str, int, bool)
_MINUTE = timedelta(minutes=1)
_SKEW = timedelta(minutes=1)


def question_of(
    principal: Principal,
    *,
    action: str,
    merchant: str | None,
    context: Mapping[str, Value] | None,
    attributes: Mapping[str, Value] | None = None,
    now: datetime,
) -> Question:
    """Return what is asked, at `now`.

    Raises:
        StrongroomError: `unknown_action`.
    """
    resource = RESOURCE_OF.get(action)
    if resource is None:
        raise errors.unknown_action(action)
    return Question(
        kind=principal.kind.value,
        roles=principal.roles,
        merchant=principal.merchant,
        mode=principal.mode,
        scopes=principal.scopes,
        suspended=principal.suspended,
        level=int(principal.level),
        required_level=int(principal.required_level),
        session=principal.session is not None,
        aal=principal.aal,
        mfa_age=_mfa_age(principal, now),
        network=principal.network,
        break_glass=principal.break_glass,
        action=action,
        resource=resource,
        resource_merchant=None if resource == "Installation" else merchant,
        attributes=() if not attributes else _frozen(attributes),
        context=() if not context else _frozen(context),
    )


def request_of(question: Question, *, four_eyes: bool) -> dict[str, object]:
    """Return the question as Cedar takes it: principal, action, resource, context.

    `four_eyes` is whether the installation demands them.
    """
    context = {name: value for name, _, value in question.context}
    context["action"] = question.action
    context["four_eyes"] = four_eyes
    return {
        "principal": _CALLER,
        "action": {"type": "Action", "id": question.action},
        "resource": {"type": question.resource, "id": _THING},
        "context": _encoder.encode(context).decode(),
    }


def entities_of(question: Question, *, mode: str) -> str:
    """Return the caller and the thing as Cedar entities; `mode` is the installation's."""
    caller: dict[str, object] = {
        "kind": question.kind,
        "mode": question.mode,
        "suspended": question.suspended,
        "level": question.level,
        "required_level": question.required_level,
        "session": question.session,
        "aal": question.aal,
        "mfa_age": question.mfa_age,
        "network": question.network,
        "break_glass": question.break_glass,
    }
    thing: dict[str, object] = {name: value for name, _, value in question.attributes}
    thing["mode"] = mode
    if question.merchant is not None:
        caller["merchant"] = question.merchant
    if question.scopes is not None:
        caller["scopes"] = sorted(question.scopes)
    thing.pop("merchant", None)
    if question.resource_merchant is not None:
        thing["merchant"] = question.resource_merchant
    roles = [{"type": "Role", "id": role} for role in question.roles]
    return _encoder.encode(
        [
            {"uid": _CALLER, "attrs": caller, "parents": roles},
            {"uid": {"type": question.resource, "id": _THING}, "attrs": thing, "parents": []},
        ]
    ).decode()


def _mfa_age(principal: Principal, now: datetime) -> int:
    """Return minutes since the second factor, rounded up; a time ahead of us counts as none."""
    if principal.mfa_at is None or principal.mfa_at > now + _SKEW:
        return MFA_AGE_MAX
    return min(MFA_AGE_MAX, max(0, -((principal.mfa_at - now) // _MINUTE)))


def _frozen(context: Mapping[str, Value]) -> Named:
    for value in context.values():
        if type(value) not in _VALUES:
            raise TypeError("attributes are text, integers or truth values")
    return tuple(sorted((name, type(value).__name__, value) for name, value in context.items()))
