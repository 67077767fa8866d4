"""Cedar in this process: policies and schema parsed and checked once, then asked.

Refuses to start with a policy that does not fit the schema, has no `@id` or `@doc`, or shares its
id; and when schema and `actions.py` name different actions. An evaluation that reports any error is
a denial: Cedar skips a policy it cannot evaluate, and a skipped `forbid` must not let anybody in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import cedarpy
import msgspec

from strongroom.access import errors
from strongroom.access.actions import MERCHANTS_ONLY, RESOURCE_OF
from strongroom.access.decide import entities_of, request_of
from strongroom.access.model import Decision, Question
from strongroom.access.residual import Things, UnreadableError, condition_of
from strongroom.kernel.conditions import NEVER, Condition

_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
"""The policy set's id stands in journal entries: letters are never taken for a card number."""

_ID_LENGTH = 24
_OPTIONAL = frozenset({"merchant", "state", "operation", "amount", "left", "currency"})
"""Attributes of the schema that a thing may lack."""

_ENTITIES_KEPT = 1_024
"""Callers and things kept as Cedar holds them: one serves all actions on that kind of thing."""

_GROUPS = frozenset({"looking", "containing", "sensitive"})
_ACTION_DECLARATION = re.compile(r'^action\s+("[^"]+"(?:\s*,\s*"[^"]+")*)', re.MULTILINE)
_POLICY = re.compile(r'^@id\("([^"]+)"\)', re.MULTILINE)
_ACTION_NAME = re.compile(r'"([^"]+)"')


class Engine:
    """One policy set under one schema, for one mode.

    Four eyes are demanded in live mode, whatever `four_eyes` says.
    """

    def __init__(self, policies: str, schema: str, *, mode: str, four_eyes: bool = False) -> None:
        try:
            self._schema = cedarpy.Schema.from_str(schema)
            self._policies = cedarpy.PolicySet.from_str(policies)
            parsed = msgspec.json.decode(cedarpy.policies_to_json_str(policies))
        except ValueError as error:
            raise errors.policy_invalid(str(error)) from None
        _check_valid(policies, self._schema)
        _check_actions(schema, self._schema)
        self._mode = mode
        self._four_eyes = four_eyes or mode == "live"
        self._entities = lru_cache(maxsize=_ENTITIES_KEPT)(self._parsed)
        self.policy_set = _id_of(policies, schema)
        self.texts = _texts(parsed["staticPolicies"], templates=parsed["templates"])
        self.sources = _sources(policies)

    @classmethod
    def shipped(cls, *, mode: str, four_eyes: bool = False) -> Engine:
        """Return the engine with the policies of this release."""
        folder = resources.files("strongroom.access")
        files = sorted(
            (item for item in (folder / "policies").iterdir() if item.name.endswith(".cedar")),
            key=lambda item: item.name,
        )
        policies = "\n".join(item.read_text("utf-8") for item in files)
        schema = (folder / "schema.cedarschema").read_text("utf-8")
        return cls(policies, schema, mode=mode, four_eyes=four_eyes)

    def answer(self, question: Question) -> Decision:
        """Evaluate every policy for a question; anything but a clean permit is a denial."""
        if question.resource in MERCHANTS_ONLY and question.resource_merchant is None:
            return self._denied(question, "the merchant whose thing it is was not named")
        try:
            result = cedarpy.is_authorized(
                request_of(question, four_eyes=self._four_eyes),
                self._policies,
                self._read(question),
                self._schema,
            )
        except ValueError as error:
            return self._denied(question, str(error))
        named = result.diagnostics.id_annotations_by_reason
        ids = tuple(sorted(str(name) for name in named.values()))
        problems = tuple(result.diagnostics.errors)
        return Decision(
            allowed=result.decision is cedarpy.Decision.Allow and not problems and bool(ids),
            action=question.action,
            policies=ids,
            policy_set=self.policy_set,
            problems=problems,
        )

    def _read(self, question: Question) -> Any:
        """Return caller and thing for Cedar; a single thing is hardly asked about twice."""
        entities = entities_of(question, mode=self._mode)
        return entities if question.attributes else self._entities(entities)

    def _parsed(self, entities: str) -> Any:
        """Return caller and thing as Cedar holds them; reading them costs most."""
        return cedarpy.Entities.from_json_str(entities, self._schema)

    def visible(self, question: Question, things: Things) -> Condition:
        """Return what must hold of a thing for it to be permitted; anything unclear: nothing is."""
        caller, _ = msgspec.json.decode(entities_of(question, mode=self._mode))
        request = request_of(question, four_eyes=self._four_eyes)
        try:
            result = cedarpy.is_authorized_partial(
                {
                    "principal": 'Caller::"caller"',
                    "action": f'Action::"{question.action}"',
                    "context": request["context"],
                },
                self._policies,
                [caller],
                self._schema,
            )
            if result.diagnostics.errors or len(result.residuals) != len(self.texts):
                return NEVER
            return condition_of(result.residuals, things)
        except (ValueError, UnreadableError):
            return NEVER

    def things(self, question: Question, attributes: frozenset[str]) -> Things:
        """Return what is known of all things that a question could be about."""
        has_merchant = question.resource_merchant is not None
        merchant = frozenset({"merchant"} if has_merchant else ())
        return Things(
            type=question.resource,
            attributes=attributes | merchant,
            known={"mode": self._mode},
            absent=_OPTIONAL - attributes - merchant,
        )

    def _denied(self, question: Question, problem: str) -> Decision:
        return Decision(
            allowed=False,
            action=question.action,
            policies=(),
            policy_set=self.policy_set,
            problems=(problem,),
        )


def _check_valid(policies: str, schema: Any) -> None:
    result = cedarpy.validate_policies(policies, schema)
    if not result.validation_passed:
        raise errors.policy_invalid("; ".join(str(error) for error in result.errors))


def _check_actions(schema: str, parsed: Any) -> None:
    """Refuse a schema whose actions are not exactly those of `actions.py`."""
    declared = _declared_actions(schema) - _GROUPS
    if declared != RESOURCE_OF.keys():
        difference = sorted(declared ^ RESOURCE_OF.keys())
        raise errors.policy_invalid(f"schema and actions.py disagree on {', '.join(difference)}")
    for action, resource in RESOURCE_OF.items():
        probe = f'permit (principal, action == Action::"{action}", resource is {resource});'
        if not cedarpy.validate_policies(probe, parsed).validation_passed:
            raise errors.policy_invalid(f"{action} does not apply to {resource} in the schema")


def _declared_actions(schema: str) -> set[str]:
    return set(_ACTION_NAME.findall(" ".join(_ACTION_DECLARATION.findall(schema))))


def _texts(policies: Mapping[str, Any], *, templates: Mapping[str, Any]) -> dict[str, str]:
    """Return the `@doc` of every policy by its `@id`."""
    if templates:
        raise errors.policy_invalid("templates are not used here")
    texts: dict[str, str] = {}
    for policy in policies.values():
        notes = policy.get("annotations", {})
        name, text = notes.get("id"), notes.get("doc")
        if not name or not text or name in texts:
            raise errors.policy_invalid(f"a policy needs its own @id and a @doc (@id {name!r})")
        texts[name] = text
    return texts


def _sources(policies: str) -> dict[str, str]:
    """Return each policy as it was written, comments around it left out, by its `@id`."""
    found = {}
    for start in _POLICY.finditer(policies):
        end = policies.find(";", start.end())
        while policies[start.start() : end].count('"') % 2:  # a semicolon within a text
            end = policies.find(";", end + 1)
        found[start[1]] = policies[start.start() : end + 1]
    return found


def _id_of(policies: str, schema: str) -> str:
    digest = hashlib.sha256(f"{policies}\x00{schema}".encode()).hexdigest()
    return digest[:_ID_LENGTH].translate(_HEX_TO_LETTERS)
