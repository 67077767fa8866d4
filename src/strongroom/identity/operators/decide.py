"""Pure decisions of operators: may this account sign in, may this person decide, is it theirs?"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from strongroom.identity.model import Principal, PrincipalKind
from strongroom.identity.operators import errors
from strongroom.identity.operators.model import Account, Refusal, StepUp
from strongroom.identity.operators.names import spelled
from strongroom.kernel.edge_limits import OPERATOR_IDLE_DAYS, STEP_UP_S

IDLE_FOR = timedelta(days=OPERATOR_IDLE_DAYS)
_STEP_UP = timedelta(seconds=STEP_UP_S)


def sign_in_refusal(account: Account, *, now: datetime) -> Refusal | None:
    """Return why an account may not sign in at `now`, or None when it may.

    An account that nobody used for ninety days is closed from that moment, whether the worker has
    written so yet or not.
    """
    if account.view.status != "active":
        return Refusal.NOT_ACTIVE
    if now - (account.view.seen_at or account.view.created_at) >= IDLE_FOR:
        return Refusal.IDLE_ACCOUNT
    return None


def is_shell(actor: str) -> bool:
    """Return whether an actor is a person at the machine itself."""
    return actor.startswith("local:")


def check_second(operator: str, *, asked_by: str, approver: str, others: int) -> None:
    """Refuse a recovery that is not two people's.

    Whoever holds the machine holds the data anyway; so the shell counts as one of the two, and as
    both only while no other administrator is there to ask.

    Args:
        operator: the account to recover.
        asked_by: who asked.
        approver: who approves.
        others: administrators besides the recovered one.

    Raises:
        StrongroomError: `second_person_needed`.
    """
    if operator in (asked_by, approver):
        raise errors.second_person()
    if is_shell(asked_by) and is_shell(approver):
        if others:
            raise errors.second_person()
        return
    if asked_by == approver:
        raise errors.second_person()


def check_person(actor: Principal) -> None:
    """Refuse who is no person: an API key may keep things, not decide who gets in.

    Raises:
        StrongroomError: `second_person_needed`.
    """
    signed_in = actor.session is not None and actor.aal >= 2
    admin = actor.kind is PrincipalKind.OPERATOR and "operator-admin" in actor.roles
    if not admin or not (signed_in or is_shell(actor.id)):
        raise errors.second_person()


def check_step_up(session: Principal, step_up: StepUp, *, purpose: bytes, now: datetime) -> None:
    """Refuse a proof that is somebody else's, another session's, for something else, or old.

    Raises:
        StrongroomError: `step_up_refused`.
    """
    same = (step_up.operator, step_up.session, step_up.purpose)
    if same != (session.id, session.session, purpose):
        raise errors.step_up_refused("another person, session or purpose")
    if not timedelta() <= now - step_up.at < _STEP_UP:
        raise errors.step_up_refused("too old")


def keys_of(account: Account, keys: list[tuple[UUID, str, str]]) -> list[UUID]:
    """Return the operators' API keys that are this person's: by owner, or made by them.

    The owner of a key is free text; it is theirs when it is their account, login or name.
    """
    view = account.view
    names = {spelled(name) for name in (view.id, view.login, view.name)}
    return [key for key, owner, maker in keys if spelled(owner) in names or maker == view.id]
