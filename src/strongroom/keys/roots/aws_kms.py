"""A root key in AWS KMS: a symmetric key that never leaves it, named by its whole ARN.

Additional data is bound through the encryption context, as a hash: CloudTrail shows contexts in
clear. The ARN is passed to Decrypt, so a ciphertext of another key is refused. The client retries
little and in bounds; an endpoint of one's own is taken in test mode and on this machine only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.keys.errors import key_not_usable
from strongroom.keys.model import KEY_BYTES, Mode
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import AwsKmsSpec
from strongroom.keys.roots.remote import Facts
from strongroom.keys.roots.transit_http import is_loopback
from strongroom.keys.roots.worker import Worker

PROVIDER = "aws-kms"
T = TypeVar("T")
_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]{4,32}):[0-9]{12}:key/[A-Za-z0-9-]{8,64}")
_ATTEMPTS = 3
_CONNECT_S = 3.0
_DENIED = {
    "AccessDeniedException", "AccessDenied", "UnrecognizedClientException",
    "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredTokenException",
    "IncompleteSignature", "InvalidSignatureException", "NotAuthorized",
}  # fmt: skip
_KEY_IS_OUT = {"NotFoundException", "DisabledException", "KMSInvalidStateException"}
_WRONG_BYTES = {"InvalidCiphertextException", "IncorrectKeyException"}


class KmsBackend:
    """One KMS key."""

    def __init__(self, spec: AwsKmsSpec, *, mode: Mode) -> None:
        self._spec = spec
        self._mode = mode
        self._made: Any = None
        self.worker = Worker(PROVIDER)
        region_of(spec)
        _check_endpoint(spec, mode)

    def connect(self) -> None:
        """Look at the key."""
        _check(self._describe(), self._spec)

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        """Return 32 bytes encrypted by KMS."""
        answer = self._asked(
            lambda: self._client().encrypt(
                KeyId=self._spec.key_arn, Plaintext=key, EncryptionContext=_context(aad)
            )
        )
        if answer.get("KeyId") != self._spec.key_arn:
            raise errors.root_key_refused("KMS used another key than the one named")
        return _field(answer, "CiphertextBlob", bytes)

    def decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what was encrypted.

        KMS also denies access to a ciphertext that names a key it does not have: when our key
        opens something else, the bytes are to blame.
        """
        if not wrapped:
            raise key_not_usable("a key wrapped by KMS is empty")
        try:
            return self._decrypt(wrapped, aad)
        except StrongroomError as error:
            if error.code != "root_access_denied" or not self._works():
                raise
        raise key_not_usable("a wrapped key names another KMS key")

    def _works(self) -> bool:
        probe = os.urandom(KEY_BYTES)
        try:
            return self._decrypt(self.encrypt(probe, b"probe"), b"probe") == probe
        except StrongroomError:
            return False

    def _decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        answer = self._asked(
            lambda: self._client().decrypt(
                KeyId=self._spec.key_arn, CiphertextBlob=wrapped, EncryptionContext=_context(aad)
            )
        )
        if answer.get("KeyId") != self._spec.key_arn:
            raise errors.root_key_refused("KMS used another key than the one named")
        return _field(answer, "Plaintext", bytes)

    def name_key(self, label: str) -> AwsKmsSpec:
        """Return the spec with its ARN; makes the key when none is named."""
        if self._spec.key_arn:
            _check(self._describe(), self._spec)
            return self._spec
        answer = self._asked(
            lambda: self._client().create_key(
                Description=label, KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT"
            )
        )
        arn = _field(_field(answer, "KeyMetadata", dict), "Arn", str)
        return msgspec.structs.replace(self._spec, key_arn=arn)

    def facts(self) -> Facts:
        """Return what doctor shows."""
        found = self._describe()
        _check(found, self._spec)
        return {
            "key": self._spec.key_arn,
            "mechanism": str(found.get("KeySpec", "")),
            "mechanisms": [str(name) for name in found.get("EncryptionAlgorithms", [])],
            "extractable": False,
            "always_inside": found.get("Origin") != "EXTERNAL",
        }

    def close(self) -> None:
        """End the thread."""
        self.worker.close()

    def _describe(self) -> dict[str, Any]:
        asked = self._asked(lambda: self._client().describe_key(KeyId=self._spec.key_arn))
        return _field(asked, "KeyMetadata", dict)

    def _client(self) -> Any:
        if self._made is None:
            import boto3.session  # type: ignore[import-untyped]

            config = boto3.session.Config(
                region_name=region_of(self._spec),
                connect_timeout=_CONNECT_S,
                read_timeout=self._spec.timeout_s / _ATTEMPTS,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                ignore_configured_endpoint_urls=True,
            )
            session = boto3.session.Session(profile_name=self._spec.profile)
            self._made = session.client(
                "kms", config=config, endpoint_url=self._spec.endpoint_url or None
            )
        return self._made

    def _asked(self, work: Callable[[], T]) -> T:
        from boto3.exceptions import botocore  # type: ignore[import-untyped]

        known = botocore.exceptions
        try:
            return work()
        except known.ClientError as error:
            raise _translated(str(error.response.get("Error", {}).get("Code", ""))) from None
        except known.NoCredentialsError:
            raise errors.root_access_denied(PROVIDER, "there are no credentials") from None
        except known.BotoCoreError as error:
            raise errors.root_unavailable(f"{PROVIDER}: {type(error).__name__}") from None


def name_key(spec: AwsKmsSpec, *, mode: Mode, label: str) -> AwsKmsSpec:
    """Return the spec with its key named, made when it names none."""
    backend = KmsBackend(spec, mode=mode)
    try:
        return backend.worker.run(lambda: backend.name_key(label), timeout_s=spec.timeout_s)
    finally:
        backend.close()


def region_of(spec: AwsKmsSpec) -> str:
    """Return the region of the ARN; an alias or a bare key id is refused."""
    if not spec.key_arn and re.fullmatch(r"[a-z0-9-]{4,32}", spec.region):
        return spec.region
    found = _ARN.fullmatch(spec.key_arn)
    if found is None:
        raise errors.root_misconfigured("key_arn must be the whole ARN of a key, not an alias")
    return found[1]


def _check_endpoint(spec: AwsKmsSpec, mode: Mode) -> None:
    if spec.endpoint_url is None:
        return
    try:
        host = urlsplit(spec.endpoint_url).hostname or ""
    except ValueError:
        host = ""
    if mode != "test" or not is_loopback(host):
        raise errors.root_misconfigured("endpoint_url is for test mode on this machine only")


def _field(answer: dict[str, Any], name: str, kind: type[T]) -> T:
    found = answer.get(name)
    if not isinstance(found, kind):
        raise errors.root_unavailable(f"{PROVIDER}: an answer that is not understood")
    return found


def _check(found: dict[str, Any], spec: AwsKmsSpec) -> None:
    if found.get("Arn") != spec.key_arn:
        raise errors.root_key_refused("KMS answers for another key than the one named")
    if found.get("KeySpec") != "SYMMETRIC_DEFAULT" or found.get("KeyUsage") != "ENCRYPT_DECRYPT":
        raise errors.root_key_refused("it is not a symmetric encryption key")
    if found.get("KeyState") != "Enabled":
        raise errors.root_key_refused(f"it is {found.get('KeyState')} in KMS")


def _context(aad: bytes) -> dict[str, str]:
    return {"strongroom": "root/1", "aad_sha256": hashlib.sha256(aad).hexdigest()}


def _translated(code: str) -> Exception:
    if code in _WRONG_BYTES:
        return key_not_usable("a key does not open under the KMS key")
    if code in _DENIED:
        return errors.root_access_denied(PROVIDER, code)
    if code in _KEY_IS_OUT:
        return errors.root_key_refused(f"KMS says {code}")
    return errors.root_unavailable(f"{PROVIDER}: {code or 'an error without a code'}")
