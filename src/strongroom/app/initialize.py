"""Making an installation: settings file, sealed root, schema, the first merchant and its keys."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from uuid import UUID

import msgspec

from strongroom.app.databases import target
from strongroom.app.roots import create_spec, root_text
from strongroom.app.settings import FILE, Gateway, Mode, Settings, load, write_private
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_uuid7
from strongroom.keys.roots import RootSpec, SealedFileSpec
from strongroom.storage import Database
from strongroom.storage.installation import claim_installation
from strongroom.storage.migrate import Migration, migrate

SANDBOX_SECRET = "sandbox.secret"  # noqa: S105 (a file name)
SANDBOX_WEBHOOK_SECRET = "sandbox-webhook.secret"  # noqa: S105 (a file name)


def install(
    data_dir: Path,
    *,
    mode: Mode,
    public_url: str = "",
    passphrase_file: Path | None = None,
    gateways: tuple[Gateway, ...] = (),
    root: RootSpec | None = None,
) -> Settings:
    """Make a new installation in `data_dir`, and its root in the provider that `root` names.

    Without `root` it is a sealed file that a passphrase or a key file opens.

    Raises:
        StrongroomError: `already_initialized` when there is one.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (data_dir / FILE).exists():
        raise StrongroomError(
            "already_initialized", f"There is an installation in {data_dir} already."
        )
    installation = new_uuid7()
    spec = root or _sealed(passphrase_file)
    settings = Settings(installation=installation, mode=mode, data_dir=data_dir.resolve())
    made = create_spec(settings, spec)
    text = _settings_text(installation, mode, public_url, made, gateways)
    for name in (SANDBOX_SECRET, SANDBOX_WEBHOOK_SECRET):
        if mode == "test" and not (data_dir / name).exists():
            prefix = "sbx_sk_" if name == SANDBOX_SECRET else "whsec_"
            write_private(data_dir / name, prefix + secrets.token_urlsafe(24) + "\n")
    write_private(data_dir / FILE, text)
    return load(data_dir, {**os.environ})


async def prepare(settings: Settings) -> list[Migration]:
    """Bring the database to this release's schema and bind it to the installation."""
    owner = Database(target(settings, "strongroom_owner"), size=2)
    await owner.open()
    try:
        applied = await migrate(owner)
        await claim_installation(owner, settings.installation, settings.mode)
        return applied
    finally:
        await owner.close()


def _sealed(passphrase_file: Path | None) -> SealedFileSpec:
    if passphrase_file is None:
        return SealedFileSpec()
    return SealedFileSpec(key_file=None, passphrase_file=str(passphrase_file.resolve()))


def _settings_text(
    installation: UUID,
    mode: Mode,
    public_url: str,
    root: RootSpec,
    gateways: tuple[Gateway, ...],
) -> str:
    lines = [
        "# Settings of this installation; docs/operations/settings.md explains each.",
        f'installation = "{installation}"',
        f'mode = "{mode}"',
        f"public_url = {_quoted(public_url)}",
        *_flat(root),
    ]
    if gateways:
        lines.append(f"default_gateway = {_quoted(gateways[0].name)}")
    for gateway in gateways:
        files = ", ".join(_quoted(name) for name in gateway.webhook_secret_files)
        lines += [
            "",
            "[[gateways]]",
            f"name = {_quoted(gateway.name)}",
            f'connector = "{gateway.connector}"',
            f"base_url = {_quoted(gateway.base_url)}",
            f"secret_file = {_quoted(gateway.secret_file)}",
            f"webhook_secret_files = [{files}]",
        ]
    if not isinstance(root, SealedFileSpec):
        lines += ["", root_text(root).rstrip()]
    return "\n".join(lines) + "\n"


def _flat(root: RootSpec) -> list[str]:
    """Return the lines of a sealed root; other roots have a table."""
    if not isinstance(root, SealedFileSpec):
        return []
    opened_by = (
        f"root_key_file = {_quoted(root.key_file or '')}"
        if root.passphrase_file is None
        else f"root_passphrase_file = {_quoted(root.passphrase_file)}"
    )
    return [f"root_file = {_quoted(root.file)}", opened_by]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
