"""How a command is registered: with the action it carries out, or it does not start.

A command's function returns its exit code (None is 0) and raises `StrongroomError` for anything
that a person can mend; `program.main` turns that into one line and an exit code.
"""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from strongroom.access import Authorizer
    from strongroom.identity import Mode, Principal

OK, FAILED, USAGE, UNAVAILABLE = 0, 1, 2, 3
PUBLIC = "public"
"""The action of a command that touches no installation."""

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="STRONGROOM_DATA_DIR",
        show_envvar=False,
        help="Where the installation lives.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
DEFAULT_DATA_DIR = Path(".strongroom")

ACTION_OF: dict[str, str] = {}
"""Every command's action, by its words: `"keys list" → "key:list"`."""

_running: ContextVar[str] = ContextVar("action")


def group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """Add a group of commands."""
    made = typer.Typer(name=name, help=about, **PLAIN)
    app.add_typer(made)
    return made


PLAIN: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "terminal_width": 110},
}


def command(to: typer.Typer, words: str, *, action: str) -> Callable[[Any], Any]:
    """Register the decorated function as `strongroom WORDS`; `action` is what policies decide on.

    An action that nobody declared in `access` stops the command before it does anything.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        @functools.wraps(function)
        def guarded(*args: Any, **options: Any) -> int | None:
            if action != PUBLIC:
                from strongroom.access import require_known

                require_known(action)
            _running.set(action)
            return function(*args, **options)

        ACTION_OF[words] = action
        to.command(words.split(" ")[-1])(guarded)
        return function

    return register


def operator(mode: Mode, *, merchant: str | None = None) -> Principal:
    """Return who runs this command: the person at this machine, as an operator."""
    from strongroom.identity import Principal

    return Principal.local_operator(_user(), mode=mode, merchant=merchant)


def running() -> str:
    """Return the action of the command that runs."""
    return _running.get()


def authorize(
    mode: Mode, *, merchant: str | None = None, authorizer: Authorizer | None = None
) -> str:
    """Ask the policies whether the running command may be carried out; return the actor's name.

    Raises:
        StrongroomError: `permission_denied`.
    """
    from strongroom.access import Authorizer

    who = operator(mode, merchant=merchant)
    asked = authorizer or Authorizer(mode=mode)
    asked.check(who, action=_running.get(), merchant=merchant)
    return who.id


def _user() -> str:
    """Return the name the system has for this user; variables say what anybody likes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in containers
        return "unknown"
