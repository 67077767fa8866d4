"""Text of others stays text in spreadsheets and logs."""

from __future__ import annotations

import csv
import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.app.logs import begin_logging
from strongroom.kernel.escape import csv_cell, one_line
from tests.support.corpus import seeds


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "|x", "%0=1", " =1", "\f=1", "\u00a0=x"]
)  # fmt: skip
def test_no_cell_acts(text: str) -> None:
    assert csv_cell(text) == "'" + text


def test_numbers_and_plain_text_stay() -> None:
    for value in (-1099, 0, "order-1", "", "a=b", "Ångström"):
        assert csv_cell(value) == value


@given(st.text(max_size=30))
def test_what_is_read_back_is_the_text_and_begins_with_no_mark(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([csv_cell(text.replace("\0", "")), "next"])
    (row,) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert row[0].removeprefix("'") == text.replace("\0", "").removeprefix("'")
    assert not row[0].lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "|", "%"))


def test_a_log_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        begin_logging()
        hostile = [text for text in seeds() if "\ud83d" not in text and "\udca9" not in text]
        for text in hostile:
            root.error("refused: %s", text)
        try:
            raise ValueError("x\nlevel=error forged")
        except ValueError:
            root.exception("broken")
    finally:
        root.handlers = before
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == len(hostile) + 2, "one line each, and the end"
    assert not any(char < " " or char == "\x7f" for line in lines for char in line)
    assert one_line("a\u2028b\u202ec") == "a\\u2028b\\u202ec"
