"""The decision of access under which the running request or command does what it does.

Access sets it, the journal reads it: whatever entry a request causes names the policies that let
it, without any room in between having to hand them on. It belongs to one task and those it starts.
"""

from __future__ import annotations

from contextvars import ContextVar

import msgspec


class Decided(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The ids of the policies that decided, and the id of the policy set they stand in."""

    policy: str
    policy_set: str


_decided: ContextVar[Decided | None] = ContextVar("decided", default=None)


def decided() -> Decided | None:
    """Return the decision that what runs now runs under; None where nobody was asked."""
    return _decided.get()


def run_under(decision: Decided | None) -> None:
    """Let what this task does from now on stand under a decision; None: under none."""
    _decided.set(decision)
