"""What commands print: one JSON document, or tables that stay whole without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 150


def console(*, stderr: bool = False) -> Console:
    """Return where text goes; without a terminal lines are wide enough for ids."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    is_free = not stream.isatty()
    return Console(
        file=stream,
        width=_WIDTH_WITHOUT_TERMINAL if is_free else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def emit(value: Any, text: Callable[[Console], None], *, as_json: bool) -> None:
    """Print `value` as JSON, or what `text` makes of it."""
    if as_json:
        print_json(value)
    else:
        text(console())


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Any:
    """Return a table; columns named in capitals with a `>` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        is_number = name.startswith(">")
        made.add_column(
            name.removeprefix(">"), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    return made


def clean(cell: object) -> str:
    """Return a cell's text; what could steer a terminal is replaced."""
    if cell is None:
        return "-"
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%SZ")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(cell))


@contextmanager
def waiting(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show that something is under way: a spinner on a terminal's stderr, else a line on stdout."""
    if quiet:
        yield
        return
    err = console(stderr=True)
    if not err.is_terminal:
        console().print(text)
        yield
        return
    with err.status(text):
        yield


@contextmanager
def progress(text: str, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show on stderr how far stages have come; yields what to call with stage, done, total."""
    err = console(stderr=True)
    if quiet or not err.is_terminal:
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        stages: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(f"{text}: {stage}", total=total)
            bar.update(stages[stage], completed=done, total=total)

        yield tell
