"""The types of the keys room: modes, purposes, key records and what `keys list` shows.

Nothing here holds a clear key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.secret import Secret

Mode = Literal["test", "live"]
State = Literal["pre_active", "active", "decrypt_only", "compromised", "destroyed"]
KEY_BYTES = 32
KCV_BYTES = 16
AEAD = "A256GCM"
MAC = "HS256"
SIGNATURE = "Ed25519"

_MODE_MARK = {"test": 0x54, "live": 0x4C}


class RootProvider(Protocol):
    """Where the root key lives. It wraps and unwraps; the root key itself never comes out.

    `unwrap` raises StrongroomError `key_not_usable` when the bytes or the additional data changed.
    """

    @property
    def id(self) -> str:
        """A stable public name of the root key, such as `root_01k…`."""
        ...

    @property
    def mode(self) -> Mode:
        """The world this root belongs to."""
        ...

    @property
    def installation(self) -> UUID:
        """The installation this root belongs to."""
        ...

    async def wrap(self, key: Secret[bytes], *, aad: bytes) -> bytes:
        """Return `key` wrapped under the root, bound to `aad`."""
        ...

    async def unwrap(self, wrapped: bytes, *, aad: bytes) -> Secret[bytes]:
        """Return the key that `wrap` was given."""
        ...


class Context(msgspec.Struct, frozen=True):
    """Where a sealed value belongs; opening it anywhere else fails.

    `merchant` is `mer_…`, `token` the thing it is about, `field` which of its values, `subject` the
    person whose own key it is under (empty while it is the merchant's), `schema` the layout.
    """

    merchant: str
    token: str
    field: str
    subject: str = ""
    schema: int = 1


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is fixed about a stored key. It is the additional data its bytes are wrapped with.

    `kind` is kek, dek, index, visible, service or record; `owner` the merchant's uuid or empty;
    `parent` the id of the key that wraps it.
    """

    kind: str
    id: UUID
    purpose: str
    region: str
    owner: str
    version: int
    parent: str
    algorithm: str
    created_at: datetime


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key record with its wrapped bytes and state, as it stands in the database.

    The signature is over all of it but `reserved`, which counts up with use. `wrapped` is empty
    when the key is destroyed. `revoked` is the last word of keys.revocation about it.
    """

    record: KeyRecord
    wrapped: bytes
    kcv: bytes
    state: State
    state_at: datetime
    revision: int = 1
    signature: bytes | None = None
    reserved: int = 0
    public_key: bytes | None = None
    revoked: str | None = None


class Anchor(Protocol):
    """Remembers outside the database how often keys changed."""

    def read(self) -> int:
        """Return the highest number seen, 0 when none was."""
        ...

    def write(self, seq: int) -> None:
        """Remember a higher number."""
        ...


class Draft(msgspec.Struct, frozen=True):
    """What a change of keys does to the manifest; the rows are in the Change already."""

    keys: Sequence[StoredKey] = ()
    revoked: Sequence[tuple[UUID, str]] = ()


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the key inventory (PCI DSS 3.6.1, 12.3.3); only data keys have counted uses."""

    id: str
    kind: str
    purpose: str
    region: str
    merchant: str | None
    version: int
    state: str
    algorithm: str
    wrapped_by: str
    kcv: str
    created_at: datetime
    state_at: datetime
    days_left: int | None = None
    uses_reserved: int | None = None
    uses_limit: int | None = None
    public_key: str | None = None


class KeyHash(msgspec.Struct, frozen=True, array_like=True):
    """A text's keyed hash under one version of the pepper of API keys."""

    version: int
    digest: bytes

    def __repr__(self) -> str:
        return f"KeyHash(v{self.version})"


def new_key_id(mode: Mode) -> UUID:
    """Return a UUIDv7 whose last byte names the mode: `T` or `L`. 66 of its bits stay random."""
    return UUID(int=new_uuid7().int & ~0xFF | _MODE_MARK[mode])


def mode_fits(key_id: UUID, mode: Mode) -> bool:
    """Return whether a key id was made in this mode."""
    return key_id.int & 0xFF == _MODE_MARK[mode]
