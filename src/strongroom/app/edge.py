"""The `[tls]` and `[proxy]` tables of the settings: who ends TLS, and whose word counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Literal

import msgspec

from strongroom.kernel.edge_limits import SETTING_MAX_CHARS


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this process serves TLS with; files are relative to the data directory."""

    certificate: str = "tls/server.pem"
    key: str = "tls/server.key"
    client_authorities: tuple[str, ...] = ()
    workload_authority: str | None = None
    min_version: Literal["1.3", "1.2"] = "1.3"


class Proxy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Proxies in front: their networks, the header they set, whether they hand on certificates."""

    networks: tuple[str, ...]
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    client_certificates: bool = False

    def __post_init__(self) -> None:
        for text in self.networks:
            if ipaddress.ip_network(text).prefixlen == 0:
                raise ValueError("every address is no network of proxies")


def refuse_odd_texts(value: object, path: str = "") -> None:
    """Refuse settings with texts that are too long, or that a log or terminal would act upon.

    Raises:
        ValueError: naming the key.
    """
    if isinstance(value, str):
        if len(value) > SETTING_MAX_CHARS or not value.isprintable():
            raise ValueError(f"{path or 'a key'} is too long or not printable")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            refuse_odd_texts(name)
            refuse_odd_texts(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            refuse_odd_texts(inner, path)
