"""What a request must look like before anything reads it: one meaning for every reader.

llhttp refuses what breaks the message apart (two lengths, folded headers, bare line feeds). What it
lets pass, and what proxies and servers are known to read apart, is refused here: URLs with
characters of other protocols or broken escapes, two hosts, a URL that names another host than the
header, codings besides `chunked`, methods that speak to proxies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Pair = tuple[bytes, bytes]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TARGET = re.compile(rb"(?:[!$&-;=?-Z_a-z~\[\]@]|%[0-9A-Fa-f]{2})+")
_ABSOLUTE = re.compile(rb"(?i)https?://([^/?]*)(.*)")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")


def fault(version: str, method: str, url: bytes, headers: Sequence[Pair]) -> str:
    """Return what is wrong with a request's head, or an empty text."""
    if method not in METHODS:
        return "method"
    target, named = _split(url)
    if target != b"*" and not (target.startswith(b"/") and _TARGET.fullmatch(target)):
        return "target"
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        return "host"
    if hosts and not _HOST.fullmatch(hosts[0]):
        return "host"
    if named is not None and named.lower() != (hosts[0].lower() if hosts else named.lower()):
        return "authority"
    return _coding_fault(version, headers)


def _split(url: bytes) -> tuple[bytes, bytes | None]:
    """Return the target in origin form and the authority that an absolute one names."""
    absolute = _ABSOLUTE.fullmatch(url)
    if absolute is None:
        return url, None
    return (absolute[2] if absolute[2][:1] == b"/" else b"/" + absolute[2]), absolute[1]


def _coding_fault(version: str, headers: Sequence[Pair]) -> str:
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked" or version != "1.1"):
        return "transfer-encoding"
    if codings and any(name == b"content-length" for name, _ in headers):
        return "transfer-encoding"
    if sum(name == b"content-length" for name, _ in headers) > 1:
        return "content-length"
    return "" if all(_VALUE.fullmatch(value) for _, value in headers) else "value"
