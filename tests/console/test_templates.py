"""The templates themselves: nothing inline, nothing unencoded, nothing of a third party."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from jinja2 import UndefinedError

from strongroom.console.render import Renderer, visible, when

_FOLDER = resources.files("strongroom.console")
TEMPLATES = {
    item.name: item.read_text("utf-8")
    for item in (_FOLDER / "templates").iterdir()
    if item.name.endswith(".html")
}
RIGHT_TO_LEFT, ZERO_WIDTH, ISOLATE = "\u202e", "\u200b", "\u2066"
_FORBIDDEN = (
    r"\|\s*safe\b", r"autoescape", r"\bMarkup\b", r"\son\w+\s*=", r"\sstyle\s*=", r"<style",
    r"javascript:", r"https?://", r"<iframe", r"<object", r"<embed", r"<base\b", r"srcdoc",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_nothing_inline_and_every_value_in_quotes(name: str) -> None:
    text = TEMPLATES[name]
    for pattern in _FORBIDDEN:
        assert not re.search(pattern, text, re.IGNORECASE), pattern
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
    bare = re.sub(r'"[^"]*"', "", text)
    assert "={{" not in bare.replace(" ", ""), "an attribute's value stands in quotes"
    assert re.findall(r"<script[^>]*>[^<]", text) == []


def test_the_script_writes_text_only() -> None:
    script = (_FOLDER / "static" / "console.js").read_text("utf-8")
    sinks = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|fetch|XMLHttp"
    assert not re.search(sinks, script)
    assert len(script.encode()) < 5_000


def test_a_missing_value_is_an_error_and_values_are_encoded() -> None:
    renderer = Renderer()
    values: dict[str, Any] = {"visitor": None, "form_token": "t", "live": False, "sso": None}
    with pytest.raises(UndefinedError):
        renderer.page("sign_in.html", {})
    hostile = "\"'><script>alert(1)</script>"
    page = renderer.page("sign_in.html", {**values, "sso": hostile, "form_token": hostile}).decode()
    assert "<script>" not in page and page.count("&lt;script&gt;") == 3
    assert 'value="&#34;&#39;&gt;&lt;script&gt;' in page


@pytest.mark.parametrize("unseen", [RIGHT_TO_LEFT, ZERO_WIDTH, ISOLATE, "\x00", "\x1b", "\u2028"])
def test_what_changes_how_others_read_is_shown_as_itself(unseen: str) -> None:
    """A name must not make `approve 100` read as something else (Trojan Source)."""
    assert visible(f"approve{unseen}100") == "approve\ufffd100"


def test_letters_of_every_language_are_left_alone() -> None:
    for name in ("Zoë Ångström", "山田太郎", "أحمد", "Ελένη", "👩‍🔬".replace("\u200d", "")):
        assert visible(name) == name


def test_times_are_read_alike_everywhere() -> None:
    assert when(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2030-01-02 03:04 UTC"
    assert when(None) == "never"
