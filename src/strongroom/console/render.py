"""Pages from templates: every value is encoded for where it stands, a missing one is an error.

Characters that change how others are shown (direction marks, invisible ones) appear as themselves
in no page: a name could otherwise make an approval read like another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from strongroom.console.assets import Asset, assets

_SHOWN = "\N{REPLACEMENT CHARACTER}"
_KEPT = ("\n",)
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")


class Renderer:
    """The templates of this release, compiled at the start: a broken one stops it."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = assets()
        self._environment = Environment(
            loader=PackageLoader("strongroom.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=visible,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=(),
        )
        self._environment.filters["when"] = when
        self._environment.globals = {"assets": self.assets}
        self._templates = {
            name: self._environment.get_template(name)
            for name in self._environment.list_templates()
        }

    def page(self, template: str, values: Mapping[str, Any]) -> bytes:
        """Return a page."""
        return self._templates[template].render(values).encode()


def visible(value: Any) -> Any:
    """Return a value as it may be shown; markup of our own templates is left alone."""
    if hasattr(value, "__html__"):
        return value
    text = value if isinstance(value, str) else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in _KEPT or unicodedata.category(char) not in _UNSEEN else _SHOWN
        for char in text
    )


def when(value: datetime | None) -> str:
    """Return a moment in words that everybody reads the same."""
    return "never" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
