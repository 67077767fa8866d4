"""The types of access: what is asked, what was decided and why. All frozen."""

from __future__ import annotations

import msgspec

from strongroom.kernel.decided import Decided

MFA_AGE_MAX = 60
"""Minutes past which the age of a second factor makes no difference."""

Value = str | int | bool
"""What a context attribute or a journal fact may be."""

Named = tuple[tuple[str, str, Value], ...]
"""Attributes by name, each with the name of its type, because 1 and True are equal to Python."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision depends on: the request to Cedar is made of this and of nothing else.

    The caller's id is not in it, so no policy can read it and equal questions may share an answer.
    `mfa_age` is in whole minutes, `MFA_AGE_MAX` at most: fewer questions, more shared answers.
    `attributes` are of the one thing that it is done to, such as its state and an amount; they are
    empty while that thing was not looked up.
    """

    kind: str
    roles: tuple[str, ...]
    merchant: str | None
    mode: str
    scopes: frozenset[str] | None
    suspended: bool
    level: int
    required_level: int
    session: bool
    aal: int
    mfa_age: int
    network: str
    break_glass: bool
    action: str
    resource: str
    resource_merchant: str | None
    attributes: Named = ()
    context: Named = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: the ids of the policies that decided, and the policy set they stand in.

    A denial without a policy id means that no policy permits it. `problems` are what the engine
    could not evaluate; there are none in a permit.
    """

    allowed: bool
    action: str
    policies: tuple[str, ...]
    policy_set: str
    problems: tuple[str, ...] = ()

    def decided(self) -> Decided:
        """Return what a journal entry says of this decision."""
        return Decided(" ".join(self.policies), self.policy_set)

    def facts(self) -> dict[str, Value]:
        """Return the same as facts of an entry."""
        return {"policy": " ".join(self.policies), "policy_set": self.policy_set}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision in words: one reason for each policy that decided, in its author's words.

    `texts` are the policies themselves, by id, as they stand in their files.
    """

    decision: Decision
    reasons: tuple[str, ...]
    texts: dict[str, str] = {}
