"""Asks a server process of this machine whether it is ready, plain or over its own TLS."""

from __future__ import annotations

import http.client
import ssl

_TIMEOUT_S = 2.0


def is_ready(host: str, port: int, *, tls: bool) -> bool:
    """Return whether the process at this address says that it takes traffic."""
    connection = _connection(host, port, tls=tls)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connection(host: str, port: int, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    # The socket is our own child's, nothing secret is said, and its certificate names the public
    # host rather than this address.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
