"""A root whose key lives elsewhere: what all such providers share, the rest is their `Backend`.

Every wrapped key is bound to this root's id besides what the caller binds it to. On opening, the
root's check value must open under the key; that fails when the key, the mode, the installation or
a pinned line of the settings is another one.
"""

from __future__ import annotations

import base64
import os
from typing import Protocol
from uuid import UUID

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Secret
from strongroom.keys.envelope import parts
from strongroom.keys.errors import key_not_usable, root_other_world
from strongroom.keys.model import KEY_BYTES, Mode, mode_fits
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import RemoteSpec, identity_of, provider_of
from strongroom.keys.roots.worker import Worker

Facts = dict[str, str | int | bool | list[str]]
WRAPPED_MAX_BYTES = 1024
"""As wide as the column; KMS adds the most, about 150 bytes."""

_CHECK_BYTES = 32


class Backend(Protocol):
    """Blocking calls to one key of one provider, made by one thread only.

    `decrypt` raises `key_not_usable` when bytes or additional data changed. Every call raises
    `root_unavailable` (try again), `root_access_denied` or `root_key_refused`.
    """

    worker: Worker

    def connect(self) -> None:
        """Reach the key; refuse it unless it is the pinned one and cannot leave."""
        ...

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        """Return 32 bytes encrypted under the key, bound to `aad`."""
        ...

    def decrypt(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what `encrypt` was given."""
        ...

    def facts(self) -> Facts:
        """Return what doctor shows: mechanisms, whether the key can leave, warnings."""
        ...

    def close(self) -> None:
        """Let go of the provider."""
        ...


class RemoteRoot:
    """A root key in an HSM or a key service; it never comes out."""

    def __init__(self, spec: RemoteSpec, backend: Backend, mode: Mode, installation: UUID) -> None:
        self._spec = spec
        self._backend = backend
        self._mode: Mode = mode
        self._installation = installation

    @property
    def id(self) -> str:
        """The public name of the root key."""
        return self._spec.id

    @property
    def mode(self) -> Mode:
        """The world this root belongs to."""
        return self._mode

    @property
    def installation(self) -> UUID:
        """The installation this root belongs to."""
        return self._installation

    @property
    def provider(self) -> str:
        """Which kind of provider holds the key."""
        return provider_of(self._spec)

    async def wrap(self, key: Secret[bytes], *, aad: bytes) -> bytes:
        """Return `key` wrapped under the root, bound to `aad`."""
        if len(key.reveal()) != KEY_BYTES:
            raise ValueError("a root wraps 256-bit keys only")
        bound = self._bound(aad)
        wrapped = await self._backend.worker.call(
            lambda: self._backend.encrypt(bytes(key.reveal()), bound),
            timeout_s=self._spec.timeout_s,
        )
        if len(wrapped) > WRAPPED_MAX_BYTES:
            raise errors.root_unavailable(f"{self.provider}: an answer that is too long")
        return wrapped

    async def unwrap(self, wrapped: bytes, *, aad: bytes) -> Secret[bytes]:
        """Return a key that was wrapped under this root with the same `aad`."""
        bound = self._bound(aad)
        key = await self._backend.worker.call(
            lambda: Secret(self._backend.decrypt(wrapped, bound)), timeout_s=self._spec.timeout_s
        )
        if len(key.reveal()) != KEY_BYTES:
            raise key_not_usable("a key-encryption key has the wrong length")
        return key

    async def facts(self) -> Facts:
        """Return what doctor shows of the provider and its key."""
        return await self._backend.worker.call(self._backend.facts, timeout_s=self._spec.timeout_s)

    def close(self) -> None:
        """Let go of the provider; keys that were unwrapped stay usable."""
        self._backend.close()

    @classmethod
    def open(
        cls, spec: RemoteSpec, backend: Backend, *, mode: Mode, installation: UUID
    ) -> RemoteRoot:
        """Reach the provider and prove that its key is the one this root was made with.

        Raises:
            StrongroomError: `root_unavailable`, `root_access_denied`, `root_key_refused`,
                `root_other_world`, `root_misconfigured`.
        """
        check = _check_of(spec, mode)

        def prove() -> None:
            backend.connect()
            try:
                backend.decrypt(check, _check_aad(spec, mode, installation))
            except StrongroomError as error:
                if error.code != "key_not_usable":
                    raise
                raise errors.root_key_refused(
                    "it is not the key that this root was made with, or the root belongs to "
                    "another installation, or its settings were changed"
                ) from None

        try:
            backend.worker.run(prove, timeout_s=spec.timeout_s)
        except BaseException:
            backend.close()
            raise
        return cls(spec, backend, mode, installation)

    def _bound(self, aad: bytes) -> bytes:
        return parts(b"strongroom root wrap", self.id.encode(), aad)


def make_check(spec: RemoteSpec, backend: Backend, mode: Mode, installation: UUID) -> str:
    """Return the check value of a new root, for its settings."""
    aad = _check_aad(spec, mode, installation)
    return base64.b64encode(backend.encrypt(os.urandom(_CHECK_BYTES), aad)).decode()


def _check_of(spec: RemoteSpec, mode: Mode) -> bytes:
    if not spec.id or not spec.check:
        raise errors.root_misconfigured("id and check are missing; make it with root create")
    try:
        fits = mode_fits(uuid_of(spec.id, "root"), mode)
        check = base64.b64decode(spec.check, validate=True)
    except (StrongroomError, ValueError):
        raise errors.root_misconfigured("id or check is malformed") from None
    if not fits:
        raise root_other_world("mode")
    return check


def _check_aad(spec: RemoteSpec, mode: Mode, installation: UUID) -> bytes:
    return parts(
        b"strongroom root check",
        spec.id.encode(),
        mode.encode(),
        installation.bytes,
        *[part.encode() for part in identity_of(spec)],
    )
