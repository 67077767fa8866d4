"""Making an installation: settings file, sealed root, schema, the first merchant and its keys."""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from uuid import UUID

import msgspec

from strongroom.app.databases import target
from strongroom.app.settings import FILE, Gateway, Mode, Settings, load, write_private
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.secret import Secret
from strongroom.keys import SealedFileRoot
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
) -> Settings:
    """Make a new installation in `data_dir`; its root is sealed by a passphrase or a key file.

    Raises:
        StrongroomError: `already_initialized` when there is one.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (data_dir / FILE).exists():
        raise StrongroomError(
            "already_initialized", f"There is an installation in {data_dir} already."
        )
    installation = new_uuid7()
    text = _settings_text(installation, mode, public_url, passphrase_file, gateways)
    settings = msgspec.structs.replace(_parsed(text), data_dir=data_dir.resolve())
    make_root(settings)
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


def make_root(settings: Settings) -> None:
    """Make the sealed root file."""
    key_file, passphrase = _unsealing(settings)
    SealedFileRoot.create(
        settings.path(settings.root_file),
        mode=settings.mode,
        installation=settings.installation,
        passphrase=passphrase,
        key_file=key_file,
    )


def open_root(settings: Settings) -> SealedFileRoot:
    """Open the sealed root file."""
    key_file, passphrase = _unsealing(settings)
    return SealedFileRoot.open(
        settings.path(settings.root_file),
        mode=settings.mode,
        installation=settings.installation,
        passphrase=passphrase,
        key_file=key_file,
    )


def _unsealing(settings: Settings) -> tuple[Path | None, Secret[str] | None]:
    if settings.root_passphrase_file is not None:
        return None, settings.secret(settings.root_passphrase_file)
    if settings.root_key_file is None:
        raise StrongroomError(
            "settings_invalid", "Name root_key_file or root_passphrase_file in strongroom.toml."
        )
    return settings.path(settings.root_key_file), None


def _parsed(text: str) -> Settings:
    return msgspec.convert(tomllib.loads(text), Settings)


def _settings_text(
    installation: UUID,
    mode: Mode,
    public_url: str,
    passphrase_file: Path | None,
    gateways: tuple[Gateway, ...],
) -> str:
    unseal = (
        'root_key_file = "root.key"'
        if passphrase_file is None
        else f"root_passphrase_file = {_quoted(str(passphrase_file.resolve()))}"
    )
    lines = [
        "# Settings of this installation; docs/operations/settings.md explains each.",
        f'installation = "{installation}"',
        f'mode = "{mode}"',
        f"public_url = {_quoted(public_url)}",
        'root_file = "root.json"',
        unseal,
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
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
