"""From what Cedar leaves of a policy, when the thing is not known yet, to a condition on rows.

Only what is listed here is understood. Anything else, a residual of another form, an operator, an
attribute, an entity, an error, makes the whole answer `unreadable`, and then nobody sees a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from strongroom.kernel.conditions import (
    EVERYWHERE,
    NEVER,
    Always,
    Compare,
    Condition,
    OneOf,
    Scalar,
    both,
    either,
    holds,
    negated,
)

_DEPTH_MAX = 200
"""Deeper than any policy of ours by far; a bound for the recursion."""

_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_PLAIN: Mapping[str, tuple[Literal["=", "<", "<="], bool]] = {
    "==": ("=", False),
    "!=": ("=", True),
    "<": ("<", False),
    "<=": ("<=", False),
    ">": ("<=", True),
    ">=": ("<", True),
}
"""Cedar's operators as ours, and whether the answer is turned around."""

_ALL = {"op": "All"}


class UnreadableError(Exception):
    """The residual says something this module does not know."""


class Things(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of things that are not known one by one.

    `attributes` differ among them and none lacks one; `known` are the same for all; `absent` none
    of them has.
    """

    type: str
    attributes: frozenset[str]
    known: Mapping[str, Scalar] = {}
    absent: frozenset[str] = frozenset()


def condition_of(residuals: Mapping[str, Any], things: Things) -> Condition:
    """Return what must hold of one of the things: a permit does and no forbid does.

    `residuals` is what Cedar left of each policy, as its JSON.

    Raises:
        UnreadableError: nobody may see anything by this.
    """
    reader = _Reader(things)
    permitted: Condition = NEVER
    forbidden: Condition = NEVER
    for policy in residuals.values():
        effect, condition = reader.policy(policy)
        if effect == "permit":
            permitted = either(permitted, condition)
        else:
            forbidden = either(forbidden, condition)
    return both(permitted, negated(forbidden))


class _Reader:
    def __init__(self, things: Things) -> None:
        self._things = things

    def policy(self, policy: Any) -> tuple[str, Condition]:
        match policy:
            case {
                "effect": "permit" | "forbid" as effect,
                "principal": principal,
                "action": action,
                "resource": resource,
                "conditions": list(clauses),
            } if principal == action == resource == _ALL:
                found: Condition = EVERYWHERE
                for clause in clauses:
                    found = both(found, self._clause(clause))
                return effect, found
        raise UnreadableError("policy")

    def _clause(self, clause: Any) -> Condition:
        match clause:
            case {"kind": "when", "body": body, **rest} if not rest:
                return self._truth(body, 0)
            case {"kind": "unless", "body": body, **rest} if not rest:
                return negated(self._truth(body, 0))
        raise UnreadableError("clause")

    def _truth(self, node: Any, depth: int) -> Condition:
        """Read an expression that is true or false."""
        if depth > _DEPTH_MAX or not isinstance(node, dict) or len(node) != 1:
            raise UnreadableError("expression")
        ((operator, part),) = node.items()
        match operator, part:
            case "Value", bool(value):
                return Always(value)
            case "!", {"arg": inner, **rest} if not rest:
                return negated(self._truth(inner, depth + 1))
            case "&&", {"left": left, "right": right, **rest} if not rest:
                first = self._truth(left, depth + 1)
                return NEVER if first == NEVER else both(first, self._truth(right, depth + 1))
            case "||", {"left": left, "right": right, **rest} if not rest:
                first = self._truth(left, depth + 1)
                if first == EVERYWHERE:
                    return EVERYWHERE
                return either(first, self._truth(right, depth + 1))
            case "if-then-else", {"if": test, "then": yes, "else": no, **rest} if not rest:
                return self._chosen(test, yes, no, depth + 1)
        return self._about(operator, part)

    def _about(self, operator: str, part: Any) -> Condition:
        """Read what an expression says of the thing."""
        match operator, part:
            case "has", {"left": left, "attr": str(name), **rest} if not rest:
                return self._has(left, name)
            case "is", {"left": left, "entity_type": str(kind), **rest} if not rest:
                self._is_thing(left)
                return Always(kind == self._things.type)
            case "==" | "!=" | "<" | "<=" | ">" | ">=", {"left": left, "right": right, **rest} if (
                not rest
            ):
                return self._compared(operator, left, right)
            case "contains", {"left": left, "right": right, **rest} if not rest:
                return self._one_of(self._attribute(right), _values(left))
        raise UnreadableError(operator)

    def _chosen(self, test: Any, yes: Any, no: Any, depth: int) -> Condition:
        question = self._truth(test, depth)
        taken = both(question, self._truth(yes, depth))
        return either(taken, both(negated(question), self._truth(no, depth)))

    def _has(self, left: Any, name: str) -> Condition:
        self._is_thing(left)
        if name in self._things.attributes or name in self._things.known:
            return EVERYWHERE
        if name in self._things.absent:
            return NEVER
        raise UnreadableError(f"has {name}")

    def _one_of(self, name: str, values: tuple[Scalar, ...]) -> Condition:
        condition = OneOf(name, values)
        return self._settled(condition) if name in self._things.known else condition

    def _settled(self, condition: Condition) -> Condition:
        """Return a condition on what is the same for all things as the constant it is."""
        return Always(holds(condition, self._things.known))

    def _compared(self, operator: str, left: Any, right: Any) -> Condition:
        if _is_value(left):
            left, right = right, left
            operator = _SWAPPED.get(operator, operator)
        name, value = self._attribute(left), _scalar(right)
        if operator not in ("==", "!=") and type(value) is not int:
            raise UnreadableError("order")
        sign, turned = _PLAIN[operator]
        condition: Condition = Compare(name, sign, value)
        if name in self._things.known:
            condition = self._settled(condition)
        return negated(condition) if turned else condition

    def _attribute(self, node: Any) -> str:
        match node:
            case {".": {"left": left, "attr": str(name), **rest}, **more} if not rest and not more:
                self._is_thing(left)
                if name in self._things.attributes or name in self._things.known:
                    return name
        raise UnreadableError("attribute")

    def _is_thing(self, node: Any) -> None:
        if node != {"unknown": [{"Value": "resource"}]}:
            raise UnreadableError("entity")


def _is_value(node: Any) -> bool:
    return isinstance(node, dict) and list(node) == ["Value"]


def _scalar(node: Any) -> Scalar:
    if _is_value(node):
        value = node["Value"]
        if isinstance(value, str | int | bool):
            return value
    raise UnreadableError("value")


def _values(node: Any) -> tuple[Scalar, ...]:
    match node:
        case {"Set": list(items), **rest} if not rest:
            found = tuple(_scalar(item) for item in items)
        case {"Value": list(plain), **rest} if not rest:
            found = tuple(_scalar({"Value": item}) for item in plain)
        case _:
            raise UnreadableError("set")
    if len({type(value) for value in found}) > 1:
        raise UnreadableError("set of several types")
    return found
