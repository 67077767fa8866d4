"""What must hold of a row for its reader to see it: a small typed tree of plain comparisons.

Access makes one from its policies, a room's records turn it into bound parameters
(`storage.where`), and `holds` says the same of one thing in memory. Nothing else can be said, so
nothing else can be misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Scalar = str | int | bool


class Always(msgspec.Struct, frozen=True, tag=True):
    """Holds of every row, or of none."""

    holds: bool


class Compare(msgspec.Struct, frozen=True, tag=True):
    """One attribute against one value."""

    attribute: str
    operator: Literal["=", "<", "<="]
    value: Scalar


class OneOf(msgspec.Struct, frozen=True, tag=True):
    """One attribute against some values of one type."""

    attribute: str
    values: tuple[Scalar, ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    """Holds where the other does not."""

    condition: Condition


class All(msgspec.Struct, frozen=True, tag=True):
    """Holds where each of them does."""

    conditions: tuple[Condition, ...]


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    """Holds where one of them does."""

    conditions: tuple[Condition, ...]


Condition = Always | Compare | OneOf | Not | All | AnyOf
"""A condition over the attributes of one thing."""

NEVER, EVERYWHERE = Always(False), Always(True)


def both(one: Condition, other: Condition) -> Condition:
    """Return what holds where both do, in its shortest form."""
    found: list[Condition] = []
    for condition in (one, other):
        if condition == NEVER:
            return NEVER
        if isinstance(condition, All):
            found += condition.conditions
        elif condition != EVERYWHERE:
            found.append(condition)
    return EVERYWHERE if not found else found[0] if len(found) == 1 else All(tuple(found))


def either(one: Condition, other: Condition) -> Condition:
    """Return what holds where one of them does, in its shortest form."""
    return negated(both(negated(one), negated(other)))


def negated(condition: Condition) -> Condition:
    """Return what holds where this does not, in its shortest form."""
    match condition:
        case Always(holds):
            return Always(not holds)
        case Not(inner):
            return inner
        case All(conditions):
            return AnyOf(tuple(negated(each) for each in conditions))
        case AnyOf(conditions):
            return All(tuple(negated(each) for each in conditions))
        case _:
            return Not(condition)


def holds(condition: Condition, thing: Mapping[str, Scalar]) -> bool:
    """Return whether a condition holds of a thing that has every attribute it speaks of."""
    match condition:
        case Always(answer):
            return answer
        case Compare(attribute, operator, value):
            return _compared(thing[attribute], operator, value)
        case OneOf(attribute, values):
            return any(_compared(thing[attribute], "=", value) for value in values)
        case Not(inner):
            return not holds(inner, thing)
        case All(conditions):
            return all(holds(each, thing) for each in conditions)
        case AnyOf(conditions):
            return any(holds(each, thing) for each in conditions)


def _compared(found: Scalar, operator: str, value: Scalar) -> bool:
    if operator == "=":
        return type(found) is type(value) and found == value
    if type(found) is not int or type(value) is not int:
        raise TypeError("only integers have an order")
    return found < value if operator == "<" else found <= value
