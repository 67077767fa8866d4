"""Takes URLs and names of hosts apart strictly; whatever two readers could read apart is refused.

No user names, no fragments, no backslashes, no Unicode, no numbers that only some resolvers take
for addresses (`2130706433`, `0x7f.1`, `0177.0.0.1`, `127.1`).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

import msgspec

from strongroom.kernel.edge_limits import OUTBOUND_URL_MAX_CHARS
from strongroom.outbound.model import DEFAULT_PORTS

_URL = re.compile(
    r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?"
    r"(/(?:[!$&-;=?-Z_a-z~\[\]@]|%[0-9A-Fa-f]{2})*)?"
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_MAX_CHARS = 253
_ACE = "xn--"
_LOCAL_NAMES = frozenset({"localhost", "local", "internal", "arpa", "onion", "invalid", "lan"})
"""Last labels that no public server has (RFC 6761, RFC 6762, RFC 7686, RFC 8375)."""


class Located(msgspec.Struct, frozen=True):
    """A URL in parts; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str | None

    @property
    def key(self) -> tuple[str, str, int]:
        """What an allow-list compares."""
        return self.scheme, self.host, self.port


def locate(url: str) -> Located | None:
    """Return the parts of a URL, or None when it is not exactly of the form we take."""
    match = _URL.fullmatch(url) if len(url) <= OUTBOUND_URL_MAX_CHARS else None
    if match is None:
        return None
    scheme, host, port = match[1], match[2].lower(), match[3]
    number = int(port) if port else DEFAULT_PORTS[scheme]
    if number > 65_535 or not host_well_formed(host):
        return None
    return Located(scheme, host, number, match[4])


@lru_cache(maxsize=512)
def host_well_formed(host: str) -> bool:
    """Return whether a host is one address in its usual form, or a name that is no number."""
    if host.startswith("["):
        return _is_address(host.strip("[]"), ipaddress.IPv6Address)
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _is_address(host, ipaddress.IPv4Address)
    return len(host) <= _NAME_MAX_CHARS and all(map(_label_well_formed, labels))


def is_literal(host: str) -> bool:
    """Return whether a well-formed host is an address rather than a name."""
    return host.startswith("[") or bool(_NUMERIC.fullmatch(host.rsplit(".", 1)[-1]))


def may_be_public(host: str) -> bool:
    """Return whether a well-formed host could be a public server's."""
    if is_literal(host):
        return True
    return "." in host and host.rsplit(".", 1)[-1] not in _LOCAL_NAMES


def is_loopback(host: str) -> bool:
    """Return whether a well-formed host is this machine."""
    if not is_literal(host):
        return host == "localhost"
    return ipaddress.ip_address(host.strip("[]")).is_loopback


def _is_address(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _label_well_formed(label: str) -> bool:
    if not _LABEL.fullmatch(label):
        return False
    if label[2:4] != "--":
        return True
    return label.startswith(_ACE) and _decodes(label)


def _decodes(label: str) -> bool:
    """Return whether an A-label stands for one Unicode label, and is the only way to write it."""
    try:
        text = label.removeprefix(_ACE).encode().decode("punycode")
        again = _ACE + text.encode("punycode").decode()
    except UnicodeError:
        return False
    if text.isascii() or unicodedata.normalize("NFKC", text).lower() != text or again != label:
        return False
    return all(unicodedata.category(char)[0] in "LMN" or char == "-" for char in text)
