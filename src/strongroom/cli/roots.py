"""`strongroom root …`: make a root in its provider, show roots, switch to one, retire one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    OK,
    AsJson,
    DataDir,
    authorize,
    command,
    group,
)
from strongroom.cli.root_options import Options, Provider, spec_given
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app import House, Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    roots = group(app, "root", "The root key and where it lives.")
    command(roots, "root create", action="root:change")(create)
    command(roots, "root show", action="key:list")(show)
    command(roots, "root switch", action="root:change")(switch)
    command(roots, "root retire", action="root:change")(retire)


def create(
    provider: Provider,
    out: Annotated[
        Path, typer.Option("--out", help="File for the new root's table; must not exist.")
    ],
    option: Options = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a root key in its provider, or take the named one; the installation keeps its root."""
    from strongroom.app.roots import create_spec, open_spec, root_text
    from strongroom.cli.show import emit
    from strongroom.keys import harden_process
    from strongroom.keys.roots import RemoteRoot

    settings = _settings(data_dir)
    harden_process()
    spec = spec_given(provider, option)
    if os.path.lexists(out):
        raise StrongroomError("root_file_exists", f"The file {out} exists already.")
    made = create_spec(settings, spec)
    root = open_spec(settings, made)
    if isinstance(root, RemoteRoot):
        root.close()
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(root_text(made))
    lines = [
        f"{root.id} is made; its table is in {out}.",
        f"Next: strongroom doctor hsm --root {out} --data-dir {data_dir}",
        f"      strongroom root switch {out} --data-dir {data_dir}",
    ]
    emit({"id": root.id, "provider": provider, "file": str(out)}, _text(lines), as_json=as_json)
    return OK


def show(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Show the root and former roots, having opened each."""
    from strongroom.app.roots import open_roots
    from strongroom.cli.show import emit, table
    from strongroom.keys import harden_process

    settings = _settings(data_dir)
    harden_process()
    opened = open_roots(settings)
    opened.close()
    specs = (settings.root_spec, *settings.former_roots)
    roots = (opened.current, *opened.former)
    shown = [
        {"id": root.id, "use": "former" if place else "current", **_shown(spec)}
        for place, (root, spec) in enumerate(zip(roots, specs, strict=True))
    ]
    rows = [(r["id"], r["use"], r["provider"], _where(r)) for r in shown]
    emit(
        shown,
        lambda out: out.print(table(("id", "use", "provider", "where"), rows)),
        as_json=as_json,
    )
    return OK


def switch(
    file: Annotated[Path, typer.Argument(help="A file that `root create` wrote.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make that root the one for new keys; the present one becomes a former root."""
    from strongroom.app.roots import may_switch, spec_in, switch_root
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.keys.roots import spec_from

    spec = spec_from(spec_in(file))

    async def work(house: House, actor: str) -> str:
        root_id = may_switch(house.settings, spec)
        await _journaled(house, "keys:root:switch", root_id, actor)
        return root_id

    root_id = in_house(data_dir, work)
    switch_root(_settings(data_dir), spec)
    lines = [
        f"{root_id} is the root now; the one before is a former root in strongroom.toml.",
        "Next: give every node the new strongroom.toml, restart them one by one, then",
        f"      strongroom keys rotate root --data-dir {data_dir}",
    ]
    emit({"id": root_id}, _text(lines), as_json=as_json)
    return OK


def retire(
    root: Annotated[str, typer.Argument(help="Id of a former root, as `root show` tells it.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Take a former root out of the settings; refused while it wraps a key."""
    from strongroom.app.roots import may_retire, retire_root
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> None:
        wraps = sum(key.wrapped_by == root for key in await house.keyring.inventory())
        may_retire(house.settings, root, wraps=wraps)
        await _journaled(house, "keys:root:retire", root, actor)

    in_house(data_dir, work)
    retire_root(_settings(data_dir), root)
    emit({"id": root}, _text([f"{root} is no longer used; restart every node."]), as_json=as_json)
    return OK


async def _journaled(house: House, action: str, root_id: str, actor: str) -> None:
    """Write the entry before the settings change: what is not recorded does not happen."""
    from strongroom.journal import Entry, record
    from strongroom.storage import Change

    change = Change()
    entry = Entry(action=action, subject=root_id, outcome="success", merchant=None, actor=actor)
    record(change, entry, at=house.clock.now())
    await house.vault_committer.submit(change)


def _settings(data_dir: Path) -> Settings:
    from strongroom.app import load

    settings = load(data_dir)
    authorize(settings.mode)
    return settings


def _shown(spec: Any) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(spec)
    told.pop("check", None)
    told.pop("id", None)
    return told


def _where(shown: dict[str, Any]) -> str:
    named = ("file", "token_label", "key_id", "address", "mount", "key", "key_version", "key_arn")
    return " ".join(f"{name}={shown[name]}" for name in named if shown.get(name))


def _text(lines: list[str]) -> Any:
    from strongroom.cli.show import clean

    def text(out: Any) -> None:
        for line in lines:
            out.print(clean(line), soft_wrap=True)

    return text
