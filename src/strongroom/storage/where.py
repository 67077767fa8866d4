"""Turns a condition into SQL: known columns, operators from a fixed list, every value bound.

Fails closed: an attribute without a column, or a value of another type than its column's, is an
error of the program, never a condition left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.kernel.conditions import All as Every
from strongroom.kernel.conditions import Always as Constant
from strongroom.kernel.conditions import AnyOf, Compare, Condition, Not, OneOf, Scalar
from strongroom.kernel.errors import StrongroomError


class Column(msgspec.Struct, frozen=True):
    """A column that is never null: its name and SQL type, and how a value of `kind` is bound.

    `bind` may say that no row can have a value, by raising `StrongroomError`.
    """

    name: str
    sql_type: str
    kind: type
    bind: Callable[[Any], Any] = lambda value: value


_OPERATORS = {"=": "=", "<": "<", "<=": "<="}


def where(condition: Condition, columns: Mapping[str, Column], values: list[Any]) -> str:
    """Return the condition as SQL; its values are appended to `values`, which are bound from $1.

    Raises:
        StrongroomError: `policy_invalid` for what has no column.
    """
    match condition:
        case Constant(holds):
            return "TRUE" if holds else "FALSE"
        case Compare(attribute, operator, value):
            column = _column(attribute, columns)
            bound = _bound(column, value)
            if bound is None:
                return "FALSE"
            values.append(bound)
            return f"{column.name} {_OPERATORS[operator]} ${len(values)}::{column.sql_type}"
        case OneOf(attribute, wanted):
            column = _column(attribute, columns)
            values.append([b for b in (_bound(column, each) for each in wanted) if b is not None])
            return f"{column.name} = ANY (${len(values)}::{column.sql_type}[])"
        case Not(inner):
            return f"NOT ({where(inner, columns, values)})"
        case Every(conditions):
            return "(" + " AND ".join(where(each, columns, values) for each in conditions) + ")"
        case AnyOf(conditions):
            return "(" + " OR ".join(where(each, columns, values) for each in conditions) + ")"


def _column(attribute: str, columns: Mapping[str, Column]) -> Column:
    if attribute not in columns:
        raise _unfit(f"the attribute {attribute} has no column")
    return columns[attribute]


def _bound(column: Column, value: Scalar) -> Any | None:
    """Return the parameter; None when no row of that column can have the value."""
    if type(value) is not column.kind:
        raise _unfit(f"a value of another type than {column.name}")
    try:
        return column.bind(value)
    except StrongroomError:
        return None


def _unfit(detail: str) -> StrongroomError:
    return StrongroomError("policy_invalid", "The access policies are not valid.", detail=detail)
