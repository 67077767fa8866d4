"""Text of others in places that act on text: spreadsheets and logs. HTML has `html.escape`.

Each function makes a text inert for its one place; nothing here is for storing.
"""

from __future__ import annotations

import re

_ACTS = tuple("=+-@\t\r\n|%")
"""What spreadsheets take for the beginning of a formula or command, or of another cell."""

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet runs: text that would act gets a quote in front.

    Numbers stay numbers. Quoting commas and line ends is the `csv` module's part.
    """
    if not isinstance(value, str):
        return value
    acts = value.startswith(_ACTS) or value.lstrip().startswith(_ACTS)
    return f"'{value}" if acts else value


def one_line(text: str) -> str:
    """Return a text as one line that moves no cursor: what cannot be seen is written as an escape.

    A log line that somebody else's text could end would let them write the next one.
    """
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
