"""The types of the inventory: one asset, all of them, and what needs attention."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Sort = Literal["key", "key-pair", "public-key", "root", "certificate", "protocol", "library"]
Quantum = Literal["safe", "migrate", "not-applicable"]


class Algorithm(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an algorithm, in the words of CycloneDX 1.6.

    `quantum_level` is NIST's category 1 to 6, 0 when a quantum computer breaks it.
    """

    name: str
    primitive: str
    functions: tuple[str, ...]
    classical_bits: int
    quantum_level: int
    parameter_set: str = ""
    curve: str = ""
    mode: str = ""
    oid: str = ""
    note: str = ""

    @property
    def quantum(self) -> Quantum:
        """Whether it withstands a quantum computer."""
        return "safe" if self.quantum_level else "migrate"


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the inventory.

    `where` says what it is used for and where, `protection` what guards it, `check_value` the
    first digits of its check value, `count` how many keys one line stands for. Key material never
    stands here.
    """

    id: str
    sort: Sort
    name: str
    algorithm: str = ""
    version: str = ""
    state: str = ""
    owner: str = ""
    where: str = ""
    protection: str = ""
    check_value: str = ""
    activated_at: datetime | None = None
    expires_at: datetime | None = None
    days_left: int | None = None
    uses_percent: int | None = None
    bits: int | None = None
    count: int = 1
    parts: tuple[str, ...] = ()
    quantum: Quantum = "not-applicable"
    public_key: str = ""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What the loaded TLS library offers: its version, suites of TLS 1.3 and of 1.2."""

    library: str
    suites: tuple[str, ...]
    older_suites: tuple[str, ...]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Something past its period, near its end, or not as it should be."""

    id: str
    code: Literal["overdue", "soon", "expired", "worn", "compromised", "former_root"]
    told: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, at one moment."""

    at: datetime
    installation: str
    mode: str
    version: str
    assets: tuple[Asset, ...]
    algorithms: tuple[Algorithm, ...]
