"""The console's script, style sheet and icon: read once, named by what is in them.

The hash in the name makes them cacheable for ever; the same hash is the ETag and, in the pages,
the integrity that the browser compares.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from importlib import resources

import msgspec

FOLDER = "/console/static/"
_TYPES = {
    "console.js": b"text/javascript; charset=utf-8",
    "console.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One file as it is served."""

    path: str
    media: bytes
    body: bytes
    etag: bytes
    integrity: str

    def __repr__(self) -> str:
        return f"Asset({self.path})"


def assets() -> dict[str, Asset]:
    """Return the files by their plain names."""
    folder = resources.files("strongroom.console") / "static"
    return {name: _asset(name, (folder / name).read_bytes()) for name in _TYPES}


def _asset(name: str, body: bytes) -> Asset:
    digest = hashlib.sha384(body).digest()
    stem, _, ending = name.rpartition(".")
    tag = digest[:12].hex()
    return Asset(
        path=f"{FOLDER}{stem}.{tag}.{ending}",
        media=_TYPES[name],
        body=body,
        etag=f'"{tag}"'.encode(),
        integrity="sha384-" + b64encode(digest).decode(),
    )
