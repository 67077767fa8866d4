"""What trusted proxies say of the caller: its address, and the client certificate they verified.

Only a connection that comes from a trusted network may say anything; from everybody else the same
headers are passed over, and a `Client-Cert`, which is a credential, is refused. The address is the
right-most hop that is no trusted proxy itself: what stands further left the caller could write.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

from strongroom.api import errors
from strongroom.api.settings import ApiSettings
from strongroom.identity import Peer
from strongroom.kernel.edge_limits import (
    CLIENT_CERT_HEADER_MAX_BYTES,
    FORWARDED_HOPS_MAX,
    FORWARDED_MAX_BYTES,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 (RFC 9110 section 5.6.2)
_PAIR = rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\\x00-\x1f]|\\[\t -~])*")'
_ELEMENT = re.compile(rf"[ \t]*({_PAIR}(?:;{_PAIR})*)[ \t]*(?:,|\Z)")
_PAIRS = re.compile(_PAIR)
_HELD_MAX = 4_096


class Proxies:
    """The proxies that are trusted, and how they write.

    Args:
        settings: `proxy_networks` such as `10.0.0.0/8`; which of the two headers they set; and
            whether they verify client certificates and hand them on.

    Raises:
        ValueError: a network is malformed or is every address.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._networks = [ipaddress.ip_network(text) for text in settings.proxy_networks]
        if any(network.prefixlen == 0 for network in self._networks):
            raise ValueError("every address is no network of proxies")
        self._header = settings.proxy_header.encode()
        self._certificates = settings.proxy_certificates
        self._held: dict[str, tuple[str, bool]] = {}

    def trusts(self, address: str) -> bool:
        """Whether a connection from this address is a proxy's."""
        return self._known(address)[1]

    def source(self, address: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the address of the caller, in its one usual form.

        Raises:
            StrongroomError: `forwarding_invalid` when a trusted proxy names no usable address.
        """
        own, trusted = self._known(address)
        if not trusted:
            return own
        hops = self._hops(headers)
        for hop in reversed(hops):
            found = _address(hop)
            if found is None:
                raise errors.forwarding_invalid()
            own = str(found)
            if not self._is_trusted(found):
                break
        return own

    def peer(self, address: str, direct: Peer | None, client_cert: str | None) -> Peer | None:
        """Return the client certificate: of the connection, or the one that a proxy hands on.

        A proxy's own certificate never speaks for the callers behind it.

        Raises:
            StrongroomError: `forwarding_invalid` for a certificate that nobody may hand on.
        """
        trusted = self._known(address)[1]
        if client_cert is not None:
            if not (trusted and self._certificates):
                raise errors.forwarding_invalid()
            return _handed_on(client_cert)
        return None if trusted else direct

    def _known(self, address: str) -> tuple[str, bool]:
        found = self._held.get(address)
        if found is None:
            parsed = _address(address)
            found = (address, False) if parsed is None else (str(parsed), self._is_trusted(parsed))
            if len(self._held) >= _HELD_MAX:
                self._held.clear()
            self._held[address] = found
        return found

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
        text = b",".join(value for name, value in headers if name == self._header).decode("latin-1")
        if len(text) > FORWARDED_MAX_BYTES:
            raise errors.forwarding_invalid()
        read = _forwarded if self._header == b"forwarded" else _plain
        hops = list(read(text)) if text else []
        return hops[-FORWARDED_HOPS_MAX:]


def _plain(text: str) -> Iterator[str]:
    for part in text.split(","):
        yield part.strip(" \t")


def _forwarded(text: str) -> Iterator[str]:
    """Yield the `for` of each element of a Forwarded header (RFC 7239), "" where there is none."""
    at = 0
    while at < len(text):
        element = _ELEMENT.match(text, at)
        if element is None:
            raise errors.forwarding_invalid()
        at = element.end()
        found = [value for name, value in _PAIRS.findall(element[1]) if name.lower() == "for"]
        yield found[0].strip('"') if len(found) == 1 else ""


def _address(text: str) -> Address | None:
    """Return an address with or without port; IPv4 inside IPv6 is the IPv4 address it is."""
    match = _PORT.fullmatch(text)
    bare = text if match is None else match[1] or match[2]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found


def _handed_on(text: str) -> Peer:
    """Return the certificate in a Client-Cert header (RFC 9440): a byte sequence of RFC 8941.

    Which authority the proxy verified it against is not known here, so it names no workload.
    """
    if not (len(text) <= CLIENT_CERT_HEADER_MAX_BYTES and text[:1] == text[-1:] == ":"):
        raise errors.forwarding_invalid()
    encoded = text[1:-1]
    try:
        certificate = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        certificate = b""
    if not certificate or base64.b64encode(certificate).decode() != encoded:
        raise errors.forwarding_invalid()
    return Peer(thumbprint=hashlib.sha256(certificate).digest(), certificate=certificate)
