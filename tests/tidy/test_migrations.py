"""Every column is on the data map, and every tenant's rows stay together.

This reads the migrations as text, so it speaks before a database is up; the test of the live
catalog is the stronger one and stands beside storage.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.tree import PACKAGE, name_of, report

CLASSES = {
    "public", "internal", "confidential", "personal", "cardholder", "sad", "secret",
}  # fmt: skip
_TABLE = re.compile(r"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([a-z_.]+)\s*\(", re.IGNORECASE)
_ADDED = re.compile(
    r"\bALTER\s+TABLE\s+([a-z_.]+)\s+ADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE
)
_COMMENT = re.compile(
    r"\bCOMMENT\s+ON\s+COLUMN\s+([a-z_]+\.[a-z_0-9]+)\.(\w+)\s+IS\s+'([^']*)'", re.IGNORECASE
)
_CONSTRAINTS = {"constraint", "primary", "unique", "check", "foreign", "exclude", "like"}
_PRIMARY_KEY = re.compile(r"PRIMARY\s+KEY\s*\(([^)]*)\)", re.IGNORECASE)
_FORBIDDEN = re.compile(
    r"\bSERIAL\b|\bBIGSERIAL\b|\bCREATE\s+SEQUENCE\b|\bAS\s+IDENTITY\b|\bSELECT\s+\*", re.IGNORECASE
)
_MIGRATIONS = sorted(PACKAGE.glob("*/schema/*.sql"))


def bare(sql: str) -> str:
    """SQL without comments and without the bodies of functions."""
    return re.sub(r"\$(\w*)\$.*?\$\1\$", "''", re.sub(r"--[^\n]*", "", sql), flags=re.DOTALL)


def tables(sql: str) -> dict[str, list[str]]:
    """Table → its column and constraint lines."""
    found: dict[str, list[str]] = {}
    for match in _TABLE.finditer(sql):
        found[match[1].lower()] = _split(sql[match.end() :])
    return found


def _split(body: str) -> list[str]:
    """The parts of a parenthesized list up to its closing parenthesis."""
    depth, part, parts = 0, "", []
    for char in body:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            break
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return [*parts, part.strip()]


def columns(sql: str) -> set[tuple[str, str]]:
    made = {
        (table, part.split()[0].strip('"').lower())
        for table, parts in tables(sql).items()
        for part in parts
        if part and part.split()[0].lower() not in _CONSTRAINTS
    }
    return made | {(table.lower(), column.lower()) for table, column in _ADDED.findall(sql)}


def unmapped(sql: str) -> list[str]:
    """Columns without a comment, and comments without a known class and a retention."""
    text = bare(sql)
    notes = {(t.lower(), c.lower()): note for t, c, note in _COMMENT.findall(text)}
    faults = [f"{table}.{column} has no class" for table, column in columns(text) - set(notes)]
    for (table, column), note in notes.items():
        marks = dict(word.split("=", 1) for word in note.split() if "=" in word)
        if marks.get("class") not in CLASSES or not marks.get("retention"):
            faults.append(f"{table}.{column}: {note!r}")
    return sorted(faults)


def untenanted(sql: str) -> list[str]:
    """Tenant tables whose key does not begin with the merchant."""
    faults = []
    for table, parts in tables(bare(sql)).items():
        tenant = [part for part in parts if part.startswith("merchant_id ")]
        if not tenant or "PRIMARY KEY" in tenant[0].upper():
            continue
        keys = [match[1] for part in parts if (match := _PRIMARY_KEY.search(part))]
        if keys and keys[0].split(",")[0].strip() != "merchant_id":
            faults.append(f"{table}: PRIMARY KEY ({keys[0]})")
        if not keys:
            faults.append(f"{table}: no table-level primary key that begins with merchant_id")
    return faults


@pytest.mark.parametrize("path", _MIGRATIONS, ids=name_of)
def test_every_column_is_on_the_data_map(path: Path) -> None:
    faults = unmapped(path.read_text())
    assert not faults, report(faults)


@pytest.mark.parametrize("path", _MIGRATIONS, ids=name_of)
def test_tenants_keep_their_rows_together(path: Path) -> None:
    faults = untenanted(path.read_text())
    assert not faults, report(faults)


@pytest.mark.parametrize("path", _MIGRATIONS, ids=name_of)
def test_no_sequence_and_no_star(path: Path) -> None:
    found = _FORBIDDEN.findall(bare(path.read_text()))
    assert not found, found


def test_migrations_are_numbered_without_gaps() -> None:
    for schema in PACKAGE.glob("*/schema"):
        numbers = [path.name[:5] for path in sorted(schema.glob("*.sql"))]
        assert numbers == [f"{n:04d}_" for n in range(1, len(numbers) + 1)], name_of(schema)


def test_there_are_migrations() -> None:
    assert _MIGRATIONS


def test_the_lints_see_what_they_forbid() -> None:
    table = "CREATE TABLE pay.a (merchant_id uuid, id uuid, n numeric(10, 2), PRIMARY KEY ({}));"
    notes = "".join(
        f"COMMENT ON COLUMN pay.a.{c} IS 'class=internal retention=365d';"
        for c in ("merchant_id", "id", "n")
    )
    good = table.format("merchant_id, id") + notes
    assert not unmapped(good) and not untenanted(good)
    assert untenanted(table.format("id, merchant_id"))
    assert unmapped(good.replace("internal", "whatever")) and unmapped(good.replace("=365d", ""))
    assert unmapped(good + "ALTER TABLE pay.a ADD COLUMN b text;") == ["pay.a.b has no class"]
    assert _FORBIDDEN.search("id bigint GENERATED ALWAYS AS IDENTITY")
