"""Roots of every provider against the real counterparts, for the contract test and the bad days."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from strongroom.keys import RootProvider
from strongroom.keys.roots import (
    AwsKmsSpec,
    Pkcs11Spec,
    RemoteRoot,
    RootSpec,
    SealedFileSpec,
    TransitSpec,
    create_root,
    open_root,
)
from tests.support.kms import CREDENTIALS, Kms
from tests.support.openbao import OpenBao
from tests.support.softhsm import SoftHsm

HERE = UUID("018f0000-0000-7000-8000-000000000001")
PROVIDERS = ("sealed-file", "pkcs11", "pkcs11-kwp", "openbao-transit", "openbao-approle", "aws-kms")


class Counterparts:
    """Starts each counterpart when it is first asked for and stops all at the end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._made: dict[str, Any] = {}

    @property
    def bao(self) -> OpenBao:
        if "bao" not in self._made:
            self._made["bao"] = self._stack.enter_context(OpenBao(self.folder / "bao"))
        found: OpenBao = self._made["bao"]
        return found

    @property
    def kms(self) -> Kms:
        if "kms" not in self._made:
            self._made["kms"] = self._stack.enter_context(Kms(self.folder / "kms"))
            os.environ.update(CREDENTIALS)
        found: Kms = self._made["kms"]
        return found

    @property
    def hsm(self) -> SoftHsm:
        if "hsm" not in self._made:
            self._made["hsm"] = SoftHsm(self.folder / "hsm")
            os.environ.update(self._made["hsm"].environment)
        found: SoftHsm = self._made["hsm"]
        return found

    def new_name(self) -> str:
        """Return a name that no other module's tests used: SoftHSM stays loaded in the process."""
        return f"key-{secrets.token_hex(4)}"

    def asked(self, provider: str, **options: Any) -> RootSpec:
        """Return the spec of a root that is not made yet."""
        name = self.new_name()
        if provider == "sealed-file":
            return SealedFileSpec(file=f"{name}.json", key_file=f"{name}.key")
        if provider.startswith("pkcs11"):
            mechanism = "aes-key-wrap-pad" if provider.endswith("kwp") else "aes-gcm"
            label = options.pop("token_label", None) or self.hsm.make_token(name)
            return Pkcs11Spec(
                module=self.hsm.module, token_label=label, pin_file=str(self.hsm.pin_file),
                mechanism=mechanism, **options,
            )  # fmt: skip
        if provider.startswith("openbao"):
            return self._transit(name, approle=provider.endswith("approle"), **options)
        arn = options.pop("key_arn", None) or self.kms.make_key()
        return AwsKmsSpec(key_arn=arn, endpoint_url=self.kms.endpoint, **options)

    def made(self, provider: str, **options: Any) -> RootSpec:
        """Make a root and return its spec."""
        spec = self.asked(provider, **options)
        return create_root(spec, mode="test", installation=HERE, folder=self.folder)

    def open(self, spec: RootSpec, **options: Any) -> RootProvider:
        given: dict[str, Any] = {"mode": "test", "installation": HERE, "folder": self.folder}
        root = open_root(spec, **{**given, **options})
        if isinstance(root, RemoteRoot):
            self._stack.callback(root.close)
        return root

    def _transit(self, name: str, *, approle: bool, **options: Any) -> TransitSpec:
        name = options.pop("key", name)
        if options.pop("make", True):
            self.bao.make_key(name)
        login: dict[str, str] = {"token_file": f"{name}.token"}
        if approle:
            role = self.bao.approle_for(name, self.folder / f"{name}.secret-id")
            login = {"role_id": role, "secret_id_file": f"{name}.secret-id"}
        else:
            self.bao.token_for(name, self.folder / f"{name}.token")
        given = {"address": self.bao.address, "ca_file": str(self.bao.ca_file), "key": name}
        return TransitSpec(**{**given, **login, **options})  # type: ignore[arg-type]


@contextmanager
def counterparts(folder: Path) -> Iterator[Counterparts]:
    """Counterparts for the length of the block; the environment is as it was afterwards."""
    before = dict(os.environ)
    with ExitStack() as stack:
        try:
            yield Counterparts(folder, stack)
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counterparts]:
    """Counterparts that a module's tests share."""
    with counterparts(tmp_path_factory.mktemp("roots")) as found:
        yield found
