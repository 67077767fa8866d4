"""Turns the shapes of a batch into one data-modifying statement; pure text building, no I/O.

Order inside the statement: guarded rows are locked and checked, then claims of Changes whose guard
held are inserted, then everything else of Changes that were not rejected. PostgreSQL runs it in
one implicit transaction, so a whole batch costs one round trip and one flush.

Rejected numbers are few, so every other part tests `change_no <> ALL(rejected)`; the committer's
connections turn hash joins and sequential scans off so that keys are always found by index.
"""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.storage.change import Add, Bulk, Claim, Guard, Insert, Shape, Spend, Update

_NONE = "SELECT NULL::int4 AS change_no LIMIT 0"
_AS_TEXT = frozenset({"jsonb", "inet"})


class Statement:
    """The compiled text for one set of shapes, with the order its parameters are bound in."""

    __slots__ = ("marked", "shapes", "sql")

    def __init__(self, shapes: Sequence[Shape], marker: tuple[str, Insert] | None) -> None:
        self.shapes = tuple(shapes)
        self.marked = marker is not None and marker[1] in self.shapes
        self.sql = _compile(self.shapes, marker if self.marked else None)


def _compile(shapes: Sequence[Shape], marker: tuple[str, Insert] | None) -> str:
    slots = _slots(shapes)
    guards = [(i, s) for i, s in enumerate(shapes) if isinstance(s, Guard)]
    claims = [(i, s) for i, s in enumerate(shapes) if isinstance(s, Claim)]
    parts = [
        "all_changes AS MATERIALIZED (SELECT * FROM "
        "unnest($1::int4[], $2::bool[]) AS a(change_no, guarded) "
        "WHERE $3::uuid IS NOT NULL)"
    ]
    parts += [_lock(i, guard, slots[i]) for i, guard in guards]
    parts.append(_stale([i for i, _ in guards]))
    parts += [_claim(i, claim, slots[i]) for i, claim in claims]
    parts.append(_lost([(i, c, slots[i]) for i, c in claims]))
    parts.append(
        "rejected AS MATERIALIZED (SELECT ARRAY(SELECT change_no FROM stale UNION ALL "
        "SELECT change_no FROM lost) AS ns)"
    )
    for i, shape in enumerate(shapes):
        if isinstance(shape, Guard):
            parts.append(_guarded_update(i, shape, slots[i]))
        elif isinstance(shape, Insert | Bulk):
            parts.append(_insert(i, shape, slots[i], returning=marker is not None))
        elif isinstance(shape, Update):
            parts.append(_update(i, shape, slots[i]))
        elif isinstance(shape, Add):
            parts.append(_add(i, shape, slots[i]))
        elif isinstance(shape, Spend):
            parts.append(_spend(i, shape, slots[i]))
    if marker is not None:
        table, entries = marker
        parts.append(
            f"marker AS (INSERT INTO {table} (id) SELECT $3::uuid "
            f"WHERE EXISTS (SELECT 1 FROM w{shapes.index(entries)}))"
        )
    return (
        "WITH " + ",\n".join(parts) + "\nSELECT ARRAY(SELECT change_no FROM stale) AS stale, "
        "ARRAY(SELECT change_no FROM lost) AS lost"
    )


def _slots(shapes: Sequence[Shape]) -> list[str]:
    """Return each shape's `unnest(...) AS u(change_no, …)`; $1 to $3 are the committer's own."""
    sources = []
    number = 4
    for shape in shapes:
        if isinstance(shape, Bulk):
            sources.append(_bulk(shape, number))
            number += 1 + len(shape.columns)
            continue
        terms, names = [f"${number}::int4[]"], ["change_no"]
        number += 1
        for name, kind in shape.columns:
            terms.append(f"${number}::{'text' if kind in _AS_TEXT else kind}[]")
            names.append(name)
            number += 1
        if isinstance(shape, Insert) and shape.ordinal_column:
            terms.append(f"${number}::int4[]")
            names.append(shape.ordinal_column)
            number += 1
        sources.append(f"unnest({', '.join(terms)}) AS u({', '.join(names)})")
    return sources


def _bulk(shape: Bulk, number: int) -> str:
    """Return the rows of the one bulk in a batch; the first parameter is its Change's number."""
    kinds = dict(shape.columns)
    once = [f"(${number}::int4[])[1] AS change_no"]
    once += [f"${n}::{kinds[name]} AS {name}" for n, name in enumerate(shape.shared, number + 1)]
    first = number + 1 + len(shape.shared)
    lists = ", ".join(f"${n}::{kinds[name]}[]" for n, name in enumerate(shape.each, first))
    return (
        f"(SELECT s.*, e.* FROM (SELECT {', '.join(once)}) AS s, "
        f"unnest({lists}) AS e({', '.join(shape.each)})) AS u"
    )


def _value(name: str, kind: str) -> str:
    return f"u.{name}::{kind}" if kind in _AS_TEXT else f"u.{name}"


def _match(keys: Sequence[str]) -> str:
    return " AND ".join(f"t.{key} = u.{key}" for key in keys)


_KEPT = "u.change_no <> ALL ((SELECT ns FROM rejected)::int4[])"


def _lock(i: int, guard: Guard, source: str) -> str:
    return (
        f"g{i} AS MATERIALIZED (SELECT u.change_no FROM {source} JOIN {guard.table} t ON "
        f"{_match(guard.keys)} WHERE t.{guard.version} = u.{guard.version} FOR UPDATE OF t)"
    )


def _stale(guards: Sequence[int]) -> str:
    held = " UNION ALL ".join(f"SELECT change_no FROM g{i}" for i in guards) or _NONE
    return (
        "stale AS MATERIALIZED (SELECT change_no FROM all_changes "
        f"WHERE guarded AND change_no NOT IN ({held}))"
    )


def _claim(i: int, claim: Claim, source: str) -> str:
    names = ", ".join(name for name, _ in claim.columns)
    values = ", ".join(_value(name, kind) for name, kind in claim.columns)
    return (
        f"w{i} AS (INSERT INTO {claim.table} ({names}) SELECT {values} FROM {source} "
        f"WHERE u.change_no NOT IN (SELECT change_no FROM stale) "
        f"ON CONFLICT ({', '.join(claim.key)}) DO NOTHING RETURNING {claim.id_column} AS id)"
    )


def _lost(claims: Sequence[tuple[int, Claim, str]]) -> str:
    lost = " UNION ALL ".join(
        f"SELECT u.change_no FROM {source} WHERE u.{claim.id_column} NOT IN (SELECT id FROM w{i}) "
        "AND u.change_no NOT IN (SELECT change_no FROM stale)"
        for i, claim, source in claims
    )
    return f"lost AS MATERIALIZED ({lost or _NONE})"


def _guarded_update(i: int, guard: Guard, source: str) -> str:
    kinds = dict(guard.columns)
    sets = [f"{name} = {_value(name, kinds[name])}" for name in guard.sets]
    sets.append(f"{guard.version} = t.{guard.version} + 1")
    return (
        f"w{i} AS (UPDATE {guard.table} t SET {', '.join(sets)} FROM {source} "
        f"WHERE {_match(guard.keys)} AND t.{guard.version} = u.{guard.version} AND {_KEPT})"
    )


def _insert(i: int, shape: Insert | Bulk, source: str, *, returning: bool) -> str:
    names = [name for name, _ in shape.columns]
    values = [_value(name, kind) for name, kind in shape.columns]
    ordinal = shape.ordinal_column if isinstance(shape, Insert) else None
    batch = shape.batch_column if isinstance(shape, Insert) else None
    if ordinal:
        names.append(ordinal)
        values.append(f"u.{ordinal}")
    if batch:
        names.append(batch)
        values.append("$3::uuid")
    tail = " RETURNING 1" if batch and returning else ""
    return (
        f"w{i} AS (INSERT INTO {shape.table} ({', '.join(names)}) "
        f"SELECT {', '.join(values)} FROM {source} WHERE {_KEPT}{tail})"
    )


def _update(i: int, shape: Update, source: str) -> str:
    kinds = dict(shape.columns)
    sets = ", ".join(f"{name} = {_value(name, kinds[name])}" for name in shape.sets)
    return (
        f"w{i} AS (UPDATE {shape.table} t SET {sets} FROM {source} "
        f"WHERE {_match(shape.keys)} AND {_KEPT})"
    )


def _add(i: int, shape: Add, source: str) -> str:
    keys, kinds = ", ".join(shape.keys), dict(shape.columns)
    sums = ", ".join(f"sum(u.{name})::{kinds[name]} AS {name}" for name in shape.sums)
    adds = ", ".join(f"{name} = t.{name} + EXCLUDED.{name}" for name in shape.sums)
    grouped = ", ".join(f"u.{key}" for key in shape.keys)
    return (
        f"w{i} AS (INSERT INTO {shape.table} AS t ({keys}, {', '.join(shape.sums)}) "
        f"SELECT {grouped}, {sums} FROM {source} WHERE {_KEPT} "
        f"GROUP BY {grouped} ORDER BY {grouped} ON CONFLICT ({keys}) DO UPDATE SET {adds})"
    )


def _spend(i: int, shape: Spend, source: str) -> str:
    keys, kinds = ", ".join(shape.keys), dict(shape.columns)
    grouped = ", ".join(f"u.{key}" for key in shape.keys)
    sums = ", ".join(f"sum(u.{name})::{kinds[name]}" for name in shape.sums)
    spends = ", ".join(f"{name} = t.{name} - u.{name}" for name in shape.sums)
    spent = (
        f"SELECT {grouped}, {sums} FROM {source} WHERE {_KEPT} GROUP BY {grouped} "
        f"ORDER BY {grouped}"
    )
    return (
        f"w{i} AS (UPDATE {shape.table} t SET {spends} FROM ({spent}) "
        f"AS u({keys}, {', '.join(shape.sums)}) WHERE {_match(shape.keys)})"
    )
