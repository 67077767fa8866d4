"""The verb of access: may this caller do this to that? Denied unless a policy permits it.

No I/O: policies are files of this release. Denials are counted and journaled as refusals.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from strongroom.access import errors
from strongroom.access.actions import MERCHANTS_ONLY
from strongroom.access.decide import question_of
from strongroom.access.engine import Engine
from strongroom.access.model import Decision, Explanation, Question, Value
from strongroom.identity import Mode, Principal, PrincipalKind, Refusals, Refused
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.conditions import Condition
from strongroom.kernel.decided import run_under

DECISIONS_KEPT = 4_096
"""Answers remembered: about 2 MB, for more callers and actions than one process meets at a time."""

BELOW_LEVEL = "deny-below-level"
"""The one denial whose reason a caller is told: it knows its merchant's rule, and must act."""

_DENIED = "The caller may not do that."
_NAME_MERCHANT = "Operators must name the merchant in the Strongroom-Merchant header to do that."


class Authorizer:
    """Decides by the policies in `access/policies`, remembering answers to equal questions.

    Answers never go stale: a question holds everything a policy can read, and the policies of a
    running process do not change.

    Raises:
        StrongroomError: `policy_invalid`; the program must not start.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        refusals: Refusals | None = None,
        cache_size: int = DECISIONS_KEPT,
        engine: Engine | None = None,
        clock: Clock | None = None,
        four_eyes: bool = False,
    ) -> None:
        self._engine = engine or Engine.shipped(mode=mode, four_eyes=four_eyes)
        self._refusals = refusals
        self._clock = clock or SystemClock()
        self._cache_size = cache_size
        self._kept: OrderedDict[Question, Decision] = OrderedDict()
        self._visible: OrderedDict[tuple[Question, frozenset[str]], Condition] = OrderedDict()

    @property
    def policy_set(self) -> str:
        """The id of policies and schema, as it stands in journal entries."""
        return self._engine.policy_set

    def check(
        self,
        principal: Principal,
        *,
        action: str,
        merchant: str | None,
        context: Mapping[str, Value] | None = None,
        resource: Mapping[str, Value] | None = None,
        source: str = "",
    ) -> Decision:
        """Return the decision that permits it; what the caller's task then does stands under it.

        Args:
            principal: who asks.
            action: one of `ACTIONS`.
            merchant: whose thing it is; None for the installation's own.
            context: further attributes the action takes, such as `purpose`.
            resource: what was looked up of the thing, such as its state and the amount asked for.
            source: the caller's address, for security events.

        Raises:
            StrongroomError: `permission_denied`, or `unknown_action` for a name that is none.
        """
        question = self._question(principal, action, merchant, context, resource)
        decision = self._answer(question)
        if not decision.allowed:
            run_under(None)
            self._note(decision, principal, source)
            if principal.level and BELOW_LEVEL in decision.policies:
                raise errors.level_too_low(principal.required_level)
            raise errors.permission_denied(
                _public(question), detail=" ".join(decision.policies) or "no policy permits it"
            )
        run_under(decision.decided())
        return decision

    def check_any(
        self,
        principal: Principal,
        *,
        action: str,
        merchant: str | None,
        contexts: Sequence[Mapping[str, Value]],
        source: str = "",
    ) -> Decision:
        """Return the first decision that permits it in one of the contexts, before one is known.

        Raises:
            StrongroomError: `permission_denied` when none of them permits it.
        """
        for context in contexts[:-1]:
            question = self._question(principal, action, merchant, context)
            decision = self._answer(question)
            if decision.allowed:
                run_under(decision.decided())
                return decision
        return self.check(
            principal, action=action, merchant=merchant, context=contexts[-1], source=source
        )

    def visible(
        self, principal: Principal, *, action: str, merchant: str | None, attributes: frozenset[str]
    ) -> Condition:
        """Return what must hold of a merchant's (None: the installation's) thing to be shown.

        A list narrows itself by this: what it shows is what each thing alone would be permitted.
        `attributes` are those that each thing has beside its merchant.
        """
        question = self._question(principal, action, merchant, None)
        key = (question, attributes)
        found = self._visible.get(key)
        if found is None:
            things = self._engine.things(question, attributes)
            found = self._visible[key] = self._engine.visible(question, things)
            if len(self._visible) > self._cache_size:
                self._visible.popitem(last=False)
        return found

    def explain(
        self,
        principal: Principal,
        *,
        action: str,
        merchant: str | None,
        context: Mapping[str, Value] | None = None,
        resource: Mapping[str, Value] | None = None,
    ) -> Explanation:
        """Return a decision with its reasons in words, and neither raise nor journal a denial."""
        question = self._question(principal, action, merchant, context, resource)
        decision = self._answer(question)
        reasons = [f"{name}: {self._engine.texts[name]}" for name in decision.policies]
        reasons += [f"cannot be evaluated: {problem}" for problem in decision.problems]
        if not reasons:
            roles = ", ".join(question.roles) or "no role"
            reasons = [f"No policy permits {action} to {question.kind} with {roles}."]
        texts = {name: self._engine.sources[name] for name in decision.policies}
        return Explanation(decision=decision, reasons=tuple(reasons), texts=texts)

    def _question(
        self,
        principal: Principal,
        action: str,
        merchant: str | None,
        context: Mapping[str, Value] | None,
        attributes: Mapping[str, Value] | None = None,
    ) -> Question:
        return question_of(
            principal,
            action=action,
            merchant=merchant,
            context=context,
            attributes=attributes,
            now=self._clock.now(),
        )

    def _answer(self, question: Question) -> Decision:
        """Return the answer; one about a single thing is not kept, for it is hardly asked twice."""
        if question.attributes:
            return self._engine.answer(question)
        decision = self._kept.get(question)
        if decision is not None:
            self._kept.move_to_end(question)
            return decision
        decision = self._kept[question] = self._engine.answer(question)
        if len(self._kept) > self._cache_size:
            self._kept.popitem(last=False)
        return decision

    def _note(self, decision: Decision, principal: Principal, source: str) -> None:
        if self._refusals is None:
            return
        self._refusals.note(
            Refused(
                action="access:decision:deny",
                reason="forbidden" if decision.policies else "not_permitted",
                subject=decision.action,
                actor=principal.id,
                merchant=principal.merchant,
                source=source,
                facts=(
                    ("policy", " ".join(decision.policies)),
                    ("policy_set", decision.policy_set),
                ),
            )
        )


def _public(question: Question) -> str:
    unnamed = question.kind == PrincipalKind.OPERATOR.value and question.merchant is None
    return _NAME_MERCHANT if unnamed and question.resource in MERCHANTS_ONLY else _DENIED
