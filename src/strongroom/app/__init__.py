"""The composition root: settings → storage → rooms → faces and workers, and the process tree.

Names load when used, so that the supervisor stays small: it needs few of the rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.kernel.lazy import lazy_door

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

__getattr__ = lazy_door(__name__, _HOMES)
