"""The composition root: settings → storage → rooms → faces and workers, and the process tree.

Names load when used, so that the supervisor stays small: it needs few of the rooms.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.app.compose import House
    from strongroom.app.databases import target
    from strongroom.app.initialize import install, prepare
    from strongroom.app.scanning import Scans
    from strongroom.app.serving import run
    from strongroom.app.settings import Gateway, Settings, load
    from strongroom.app.supervisor import Ready, Supervisor, write_ready

_HOMES = {
    "Gateway": "settings",
    "House": "compose",
    "Ready": "supervisor",
    "Scans": "scanning",
    "Settings": "settings",
    "Supervisor": "supervisor",
    "install": "initialize",
    "load": "settings",
    "prepare": "initialize",
    "run": "serving",
    "target": "databases",
    "write_ready": "supervisor",
}

__all__ = [
    "Gateway",
    "House",
    "Ready",
    "Scans",
    "Settings",
    "Supervisor",
    "install",
    "load",
    "prepare",
    "run",
    "target",
    "write_ready",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
