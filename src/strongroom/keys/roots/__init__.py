"""Root providers: a sealed file, an HSM (PKCS#11), OpenBao or Vault transit, AWS KMS.

One interface, `RootProvider`, and one contract test for all. Settings name exactly one; when it
does not open, the start fails. Nothing here falls back to another provider.
"""

from strongroom.keys.roots.model import (
    AwsKmsSpec,
    Pkcs11Spec,
    RootSpec,
    SealedFileSpec,
    SharesSpec,
    TransitSpec,
    files_of,
    provider_of,
    spec_from,
)
from strongroom.keys.roots.opening import create_root, open_root
from strongroom.keys.roots.remote import RemoteRoot
from strongroom.keys.roots.sealed_file import SealedFileRoot

__all__ = [
    "AwsKmsSpec",
    "Pkcs11Spec",
    "RemoteRoot",
    "RootSpec",
    "SealedFileRoot",
    "SealedFileSpec",
    "SharesSpec",
    "TransitSpec",
    "create_root",
    "files_of",
    "open_root",
    "provider_of",
    "spec_from",
]
