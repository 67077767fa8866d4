"""HTTPS to OpenBao or Vault: one short-lived connection for each call, TLS 1.3, no redirects.

The server's certificate must be of the named authority. Plain HTTP goes to this machine in test
mode only. Answers are bounded in size and, by closing the connection, in time.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import time
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import ROOT_ANSWER_MAX_BYTES
from strongroom.kernel.secret import Secret
from strongroom.keys.roots import errors

PROVIDER = "openbao-transit"
T = TypeVar("T")
_CHUNK = 8_192


class Refused(Exception):
    """The server answered with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TransitHttp:
    """Calls one server; `interrupt` may be called from another thread."""

    def __init__(
        self, address: str, *, ca_file: Path | None, namespace: str, timeout_s: float, test: bool
    ) -> None:
        self._host, self._port, secure = _checked(address, test=test)
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._context = _context(ca_file) if secure else None
        self._open: http.client.HTTPConnection | None = None

    def call(
        self,
        method: str,
        path: tuple[str, ...],
        body: Any,
        *,
        token: Secret[str] | None,
        to: type[T],
    ) -> T:
        """Return the decoded answer.

        Raises:
            Refused: an error status below 500 that the caller can tell apart.
            StrongroomError: `root_unavailable` for everything else.
        """
        try:
            status, data = self._exchange(method, path, body, token)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.root_unavailable(f"{PROVIDER}: {_named(error)}") from None
        if 400 <= status < 500 and status != 429:
            raise Refused(status)
        if status not in (200, 204):
            raise errors.root_unavailable(f"{PROVIDER}: {_STATUS.get(status, f'answers {status}')}")
        try:
            return msgspec.json.decode(data or b"{}", type=to)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise errors.root_unavailable(f"{PROVIDER}: an answer that is not understood") from None

    def interrupt(self) -> None:
        """Close the connection of a call that takes too long."""
        connection = self._open
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(
        self, method: str, path: tuple[str, ...], body: Any, token: Secret[str] | None
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout_s
        headers = {"Accept": "application/json", "X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token.reveal()
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        url = "/v1/" + "/".join(
            quote(part, safe="/" if n == 0 else "") for n, part in enumerate(path)
        )
        self._open = connection = self._connection()
        try:
            connection.request(method, url, body=data, headers=headers)
            with contextlib.closing(connection.getresponse()) as answer:
                return answer.status, _read(answer, deadline)
        finally:
            connection.close()
            self._open = None

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )


_STATUS = {429: "too many requests", 503: "is sealed or in maintenance"}


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    data = bytearray()
    while chunk := answer.read1(_CHUNK):
        data += chunk
        if len(data) > ROOT_ANSWER_MAX_BYTES:
            raise errors.root_unavailable(f"{PROVIDER}: an answer that is too long")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(data)


def _checked(address: str, *, test: bool) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is used."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise errors.root_misconfigured("address is no URL") from None
    plain = parts.scheme == "http"
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not host or more:
        raise errors.root_misconfigured("address must be https://host:port and no more")
    if plain and not (test and is_loopback(host)):
        raise errors.root_misconfigured("address must begin with https://")
    return host, port or (80 if plain else 443), not plain


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its literal address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a client context of TLS 1.3; not the library's default one, which can log its keys."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise errors.root_misconfigured(f"{ca_file} holds no certificate") from None
    return context


def _named(error: Exception) -> str:
    if isinstance(error, StrongroomError):
        return error.detail
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    return type(error).__name__
