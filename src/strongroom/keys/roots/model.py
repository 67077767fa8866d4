"""What settings say of a root: which provider, how to reach it, and which key it must be.

`id` and `check` are made with the root. `check` is a random value wrapped by the root key with the
root's identity, mode and installation as additional data: at every start it must open, so another
key under the same name, or a changed line here, is refused. Nothing in a spec is secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from strongroom.kernel import limits
from strongroom.keys.roots import errors


class SealedFileSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag="sealed-file",
):
    """A root key in a file, opened by a key file or by a file with a passphrase."""

    file: str = "root.json"
    key_file: str | None = "root.key"
    passphrase_file: str | None = None


class SharesSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag="shares",
):
    """A root key that custodians unseal together at each start; `strongroom ceremony` makes it.

    `hand_to_commands`: whether commands of the service's user are handed the key while it runs.
    """

    file: str = "root-shares.json"
    hand_to_commands: bool = True


class Pkcs11Spec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag="pkcs11",
):
    """A root key in a token of an HSM; `key_id` is its CKA_ID in hex."""

    module: str
    token_label: str
    pin_file: str
    key_id: str = ""
    mechanism: Literal["", "aes-gcm", "aes-key-wrap-pad"] = ""
    id: str = ""
    check: str = ""
    timeout_s: float = limits.ROOT_CALL_TIMEOUT_S


class TransitSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag="openbao-transit",
):
    """One version of a transit key of OpenBao or Vault, reached with a token or by AppRole."""

    address: str
    key: str
    mount: str = "transit"
    namespace: str = ""
    ca_file: str | None = None
    token_file: str | None = None
    role_id: str | None = None
    secret_id_file: str | None = None
    approle_mount: str = "approle"
    key_version: int = 0
    key_made: str = ""
    id: str = ""
    check: str = ""
    timeout_s: float = limits.ROOT_CALL_TIMEOUT_S


class AwsKmsSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag="aws-kms",
):
    """A symmetric KMS key by its whole ARN; credentials come from the platform or a profile."""

    key_arn: str = ""
    region: str = ""
    profile: str | None = None
    endpoint_url: str | None = None
    id: str = ""
    check: str = ""
    timeout_s: float = limits.ROOT_CALL_TIMEOUT_S


RootSpec = SealedFileSpec | SharesSpec | Pkcs11Spec | TransitSpec | AwsKmsSpec
RemoteSpec = Pkcs11Spec | TransitSpec | AwsKmsSpec
PROVIDERS = ("sealed-file", "pkcs11", "openbao-transit", "aws-kms")


def provider_of(spec: RootSpec) -> str:
    """Return the provider's name as settings say it."""
    return str(spec.__struct_config__.tag)


def identity_of(spec: RemoteSpec) -> tuple[str, ...]:
    """Return what names the key inside its provider: bound into the root's check value."""
    if isinstance(spec, Pkcs11Spec):
        return ("pkcs11", spec.token_label, spec.key_id, spec.mechanism)
    if isinstance(spec, TransitSpec):
        name = (spec.namespace, spec.mount, spec.key, str(spec.key_version), spec.key_made)
        return ("openbao-transit", *name)
    return ("aws-kms", spec.key_arn)


def files_of(spec: RootSpec) -> tuple[str, ...]:
    """Return the names of the files with secrets that a root needs."""
    if isinstance(spec, SealedFileSpec):
        named = (spec.file, spec.passphrase_file or spec.key_file)
    elif isinstance(spec, SharesSpec):
        named = (spec.file, None)
    elif isinstance(spec, Pkcs11Spec):
        named = (spec.pin_file, None)
    elif isinstance(spec, TransitSpec):
        named = (spec.token_file or "", spec.secret_id_file)
    else:
        named = ("", None)
    return tuple(name for name in named if name)


def spec_from(given: Mapping[str, object]) -> RootSpec:
    """Return the spec that a table of settings or the options of a command describe.

    Raises:
        StrongroomError: `root_misconfigured`, naming the field and never its value.
    """
    try:
        found: RootSpec = msgspec.convert(dict(given), RootSpec, strict=False)
    except msgspec.ValidationError as error:
        raise errors.root_misconfigured(str(error)) from None
    return found
