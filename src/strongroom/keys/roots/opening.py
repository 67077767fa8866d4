"""Makes and opens the root that a spec names. The heavy libraries load only for their provider."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from
from strongroom.kernel.secret import Secret
from strongroom.keys.model import Mode, RootProvider, new_key_id
from strongroom.keys.private_files import read_private
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import (
    Pkcs11Spec,
    RemoteSpec,
    RootSpec,
    SealedFileSpec,
    SharesSpec,
    TransitSpec,
)
from strongroom.keys.roots.remote import Backend, RemoteRoot, make_check
from strongroom.keys.roots.sealed_file import SealedFileRoot

_SECRET_MAX_BYTES = 4_096


def open_root(spec: RootSpec, *, mode: Mode, installation: UUID, folder: Path) -> RootProvider:
    """Open the root that `spec` names; relative file names lie in `folder`.

    Raises:
        StrongroomError: why it does not open, in one line. There is no second choice.
    """
    if isinstance(spec, SealedFileSpec):
        key_file, passphrase = _unsealing(spec, folder)
        return SealedFileRoot.open(
            folder / spec.file,
            mode=mode,
            installation=installation,
            passphrase=passphrase,
            key_file=key_file,
        )
    if isinstance(spec, SharesSpec):
        from strongroom.keys.ceremony.holding import open_shares_root

        return open_shares_root(
            folder / spec.file,
            mode=mode,
            installation=installation,
            to_commands=spec.hand_to_commands,
        )
    backend = _backend(spec, mode, folder)
    return RemoteRoot.open(spec, backend, mode=mode, installation=installation)


def create_root(spec: RootSpec, *, mode: Mode, installation: UUID, folder: Path) -> RootSpec:
    """Make a root in its provider, or take the key that `spec` names; return the whole spec.

    Raises:
        StrongroomError: why it could not be made; a root that is there is never overwritten.
    """
    if isinstance(spec, SealedFileSpec):
        key_file, passphrase = _unsealing(spec, folder)
        SealedFileRoot.create(
            folder / spec.file,
            mode=mode,
            installation=installation,
            passphrase=passphrase,
            key_file=key_file,
        )
        return spec
    if isinstance(spec, SharesSpec):
        raise errors.root_misconfigured("a root of shares is made by: strongroom ceremony init")
    if spec.id or spec.check:
        raise errors.root_misconfigured("id and check are made with the root, never given")
    whole = _create_remote(spec, mode, installation, folder)
    _close(open_root(whole, mode=mode, installation=installation, folder=folder))
    return whole


def _create_remote(spec: RemoteSpec, mode: Mode, installation: UUID, folder: Path) -> RemoteSpec:
    named = _new_key(spec, mode, installation, folder)
    named = msgspec.structs.replace(named, id=id_from("root", new_key_id(mode)))
    backend = _backend(named, mode, folder)

    def check() -> str:
        backend.connect()
        return make_check(named, backend, mode, installation)

    try:
        made = backend.worker.run(check, timeout_s=named.timeout_s)
    finally:
        backend.close()
    return msgspec.structs.replace(named, check=made)


def _new_key(spec: RemoteSpec, mode: Mode, installation: UUID, folder: Path) -> RemoteSpec:
    """Return the spec with its key named, made in the provider when it is not there."""
    label = f"strongroom-{mode}-{installation}"
    if isinstance(spec, Pkcs11Spec):
        from strongroom.keys.roots.pkcs11 import name_key as name_hsm_key

        return name_hsm_key(spec, _secret(folder, spec.pin_file), label=label)
    if isinstance(spec, TransitSpec):
        from strongroom.keys.roots.transit import name_key as name_transit_key

        return name_transit_key(spec, mode=mode, folder=folder)
    from strongroom.keys.roots.aws_kms import name_key as name_kms_key

    return name_kms_key(spec, mode=mode, label=label)


def _backend(spec: RemoteSpec, mode: Mode, folder: Path) -> Backend:
    if isinstance(spec, Pkcs11Spec):
        from strongroom.keys.roots.pkcs11 import Pkcs11Backend

        return Pkcs11Backend(spec, lambda: _secret(folder, spec.pin_file))
    if isinstance(spec, TransitSpec):
        from strongroom.keys.roots.transit import TransitBackend

        return TransitBackend(spec, mode=mode, folder=folder)
    from strongroom.keys.roots.aws_kms import KmsBackend

    return KmsBackend(spec, mode=mode)


def _unsealing(spec: SealedFileSpec, folder: Path) -> tuple[Path | None, Secret[str] | None]:
    if spec.passphrase_file is not None:
        return None, _secret(folder, spec.passphrase_file)
    if spec.key_file is None:
        raise StrongroomError(
            "settings_invalid", "Name root_key_file or root_passphrase_file in strongroom.toml."
        )
    return folder / spec.key_file, None


def _secret(folder: Path, name: str) -> Secret[str]:
    """Read a secret from a file of mode 0600."""
    data = read_private(folder / name, limit=_SECRET_MAX_BYTES)
    text = data.decode("utf-8", "replace").strip()
    if not text:
        raise errors.root_misconfigured(f"{folder / name} is empty")
    return Secret(text)


def _close(root: RootProvider) -> None:
    if isinstance(root, RemoteRoot):
        root.close()
