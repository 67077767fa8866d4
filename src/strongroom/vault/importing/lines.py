"""Pure reading of an import's lines: what a line says, whether its card is taken, what is told.

A card is checked exactly like one that comes through the API. Of a refused line nothing is told
but its number in the file, a code, and the card number as far as it may be shown.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import free_text_holds_card_number
from strongroom.kernel.secret import Pan, Secret
from strongroom.vault import decide, errors
from strongroom.vault.importing.model import Accepted, Fields, Format, Rejected
from strongroom.vault.model import CardInput

COLUMNS = Fields.__struct_fields__
_REQUIRED = COLUMNS[:4]
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_YEARS = range(2000, 2100)

Check = Callable[[CardInput], str]
"""Returns the brand of a card that the vault takes, and raises for any other."""


def header_of(line: bytes) -> tuple[str, ...]:
    """Return the columns that a CSV file has.

    Raises:
        StrongroomError: `import_file_unusable`.
    """
    try:
        names = tuple(_cells(line))
    except (UnicodeDecodeError, csv.Error):
        names = ()
    if len(set(names)) != len(names) or not set(_REQUIRED) <= set(names) <= set(COLUMNS):
        raise errors.import_file_unusable(
            f"The first line must name the columns {', '.join(_REQUIRED)} and may name "
            f"{COLUMNS[4]}."
        )
    return names


def read_line(
    line: bytes, number: int, *, format: Format, header: tuple[str, ...], check: Check
) -> Accepted | Rejected:
    """Return what a line is."""
    masked = ""
    try:
        fields = _csv(line, header) if format == "csv" else _json(line)
        masked = decide.mask_text(fields.number)
        if not _EXTERNAL_ID.match(fields.external_id):
            raise errors.invalid_field("external_id")
        if free_text_holds_card_number(fields.external_id):
            raise errors.card_number_in_field("external_id")
        card = _card(fields)
        return Accepted(fields.external_id, card, check(card))
    except StrongroomError as refusal:
        return Rejected(number, refusal.code, masked)


def checker(*, mode: Any, now: datetime) -> Check:
    """Return the check of a card: the API's own."""
    return lambda card: decide.check_card(card, mode=mode, now=now).name


def _card(fields: Fields) -> CardInput:
    if fields.exp_year not in _YEARS:
        raise errors.invalid_expiry("year")
    return CardInput(
        number=Pan(fields.number.reveal()),
        exp_month=fields.exp_month,
        exp_year=fields.exp_year,
        holder_name=fields.holder_name,
    )


def _json(line: bytes) -> Fields:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.malformed_line() from None


def _csv(line: bytes, header: tuple[str, ...]) -> Fields:
    try:
        cells = _cells(line)
    except (UnicodeDecodeError, csv.Error):
        raise errors.malformed_line() from None
    if len(cells) != len(header):
        raise errors.malformed_line()
    found: dict[str, Any] = dict(zip(header, cells, strict=True))
    if not found.get("holder_name"):
        found["holder_name"] = None
    for name in ("exp_month", "exp_year"):
        text = found[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise errors.invalid_expiry(name.removeprefix("exp_"))
        found[name] = int(text)
    found["number"] = Secret(found["number"])
    if found["holder_name"] is not None:
        found["holder_name"] = Secret(found["holder_name"])
    return Fields(**found)


def _cells(line: bytes) -> list[str]:
    """Return the cells of a line; a quoted cell ends on the line it begins on."""
    rows = list(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True))
    return rows[0] if len(rows) == 1 else []


def _secret(kind: type, value: Any) -> Any:
    if type(value) is not str:
        raise ValueError("not text")
    return Secret(value)


_decoder = msgspec.json.Decoder(Fields, dec_hook=_secret)
