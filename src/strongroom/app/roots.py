"""The roots of an installation: opening them, and exchanging them in `strongroom.toml`.

One root wraps everything new; former ones may still unwrap until `keys rotate root` has moved
their keys. The file is rewritten as a whole, and only if nothing but the roots changes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from strongroom.app.settings import FILE, Settings, write_private
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import RootProvider
from strongroom.keys.roots import RemoteRoot, RootSpec, create_root, open_root

_FLAT = ("root_file", "root_key_file", "root_passphrase_file")
_TABLES = ("[root]", "[[former_roots]]")


class Roots:
    """The opened roots: `current` wraps, `former` ones only unwrap."""

    def __init__(self, current: RootProvider, former: Sequence[RootProvider]) -> None:
        self.current = current
        self.former = tuple(former)

    def close(self) -> None:
        """Let go of the providers; keys that were unwrapped stay usable."""
        for root in (self.current, *self.former):
            if isinstance(root, RemoteRoot):
                root.close()


def open_roots(settings: Settings) -> Roots:
    """Open the root that settings name, and the former ones.

    Raises:
        StrongroomError: the first one that does not open; there is no falling back to another.
    """
    opened: list[RootProvider] = []
    try:
        for spec in (settings.root_spec, *settings.former_roots):
            opened.append(open_spec(settings, spec))
    except BaseException:
        if opened:
            Roots(opened[0], opened[1:]).close()
        raise
    return Roots(opened[0], opened[1:])


def open_spec(settings: Settings, spec: RootSpec) -> RootProvider:
    """Open one root for this installation."""
    return open_root(
        spec, mode=settings.mode, installation=settings.installation, folder=settings.data_dir
    )


def create_spec(settings: Settings, spec: RootSpec) -> RootSpec:
    """Make a root for this installation; settings do not name it yet."""
    return create_root(
        spec, mode=settings.mode, installation=settings.installation, folder=settings.data_dir
    )


def may_switch(settings: Settings, spec: RootSpec) -> str:
    """Return the id of a root that could become this installation's; it was opened to be sure.

    Raises:
        StrongroomError: `root_in_use` when it is the root already, or why it does not open.
    """
    opened = Roots(open_spec(settings, spec), ())
    present = open_roots(settings)
    opened.close()
    present.close()
    if opened.current.id in [root.id for root in (present.current, *present.former)]:
        raise StrongroomError("root_in_use", "This installation uses that root already.")
    return opened.current.id


def switch_root(settings: Settings, spec: RootSpec) -> None:
    """Make `spec` the root of this installation and the present root a former one."""
    _rewrite(settings, spec, (settings.root_spec, *settings.former_roots))


def may_retire(settings: Settings, root_id: str, *, wraps: int) -> None:
    """Refuse to retire a root that is needed; `wraps` is how many keys it still wraps.

    Raises:
        StrongroomError: `root_in_use` when it still wraps a key, `root_not_found` when it is no
            former root.
    """
    _place_of(settings, root_id)
    if wraps:
        raise StrongroomError(
            "root_in_use",
            f"It still wraps {wraps} keys. Move them first: strongroom keys rotate root",
        )


def retire_root(settings: Settings, root_id: str) -> None:
    """Take a former root out of the settings."""
    former, place = settings.former_roots, _place_of(settings, root_id)
    _rewrite(settings, settings.root_spec, (*former[:place], *former[place + 1 :]))


def _place_of(settings: Settings, root_id: str) -> int:
    present = open_roots(settings)
    present.close()
    ids = [root.id for root in present.former]
    if root_id not in ids:
        raise StrongroomError("root_not_found", "Settings name no former root of that id.")
    return ids.index(root_id)


def root_text(spec: RootSpec, *, former: bool = False) -> str:
    """Return a root as a table of `strongroom.toml`."""
    given: dict[str, Any] = msgspec.to_builtins(spec)
    lines = [_TABLES[former]]
    lines += [f"{name} = {_toml(value)}" for name, value in given.items() if value is not None]
    return "\n".join(lines) + "\n"


def _rewrite(settings: Settings, root: RootSpec, former: Sequence[RootSpec]) -> None:
    path = settings.data_dir / FILE
    text = path.read_text("utf-8")
    tables = [root_text(root), *[root_text(spec, former=True) for spec in former]]
    made = without_roots(text).rstrip("\n") + "\n\n" + "\n".join(tables)
    if _rest(tomllib.loads(made)) != _rest(tomllib.loads(text)):
        raise StrongroomError(
            "settings_invalid", f"{path} could not be rewritten safely; change its roots by hand."
        )
    write_private(path, made)


def without_roots(text: str) -> str:
    """Return settings without any line about roots."""
    kept, inside = [], False
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("["):
            inside = bare.split("#")[0].strip() in _TABLES
        if not inside and bare.split("=")[0].strip() not in _FLAT:
            kept.append(line)
    return "\n".join(kept) + "\n"


def spec_in(path: Path) -> dict[str, Any]:
    """Return the `[root]` table of a file that `root create` wrote."""
    try:
        found = tomllib.loads(path.read_text("utf-8")).get("root")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        found = None
    if not isinstance(found, dict):
        raise StrongroomError("settings_invalid", f"{path} holds no [root] table.")
    return found


def _rest(read: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in read.items() if k not in (*_FLAT, "root", "former_roots")}


def _toml(value: object) -> str:
    return msgspec.json.encode(value).decode()
