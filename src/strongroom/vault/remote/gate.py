"""The gate before TLS: who does not get through it is heard of, with the reason.

A server that is told of finished handshakes only never learns who was turned away. Here each
connection is accepted first and its handshake begun with the certificates as they are at that
moment, so renewed files need no new server and no connection is lost over them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from strongroom.kernel.edge_limits import VAULT_HANDSHAKES_MAX
from strongroom.vault.remote.places import Places

HANDSHAKE_S = 5.0
_ACCEPT_AGAIN_S = 0.2
_log = logging.getLogger("strongroom.vault")

Refuse = Callable[[str, str, str], None]
"""Hears of refusals: the peer's name, the reason, its address."""

_REASONS = {
    "certificate has expired": "expired",
    "certificate is not yet valid": "not_yet_valid",
}
_SSL_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "untrusted",
    "NO_SHARED_CIPHER": "protocol",
    "UNSUPPORTED_PROTOCOL": "protocol",
    "NO_APPLICATION_PROTOCOL": "protocol",
    "HTTP_REQUEST": "plaintext",
    "WRONG_VERSION_NUMBER": "plaintext",
}


class Gate:
    """Turns accepted connections into TLS connections of a protocol.

    Args:
        protocol: makes the protocol of a connection.
        context: returns the certificates as they are now.
        refuse: hears of each handshake that failed; who just hung up is not told of.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        *,
        refuse: Refuse,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        self._protocol = protocol
        self._context = context
        self._refuse = refuse
        self._handshake_s = handshake_s
        self._places = Places(VAULT_HANDSHAKES_MAX)

    async def accept(self, listening: socket.socket) -> None:
        """Accept connections, forever; their handshakes go on side by side."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # too many open files, or a connection that is gone already
                _log.warning("cannot accept: %s", error.strerror)
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            lost = self._places.take(
                loop.create_task(self._admit(connection)), _address(connection)
            )
            if lost is not None:
                self._refuse("unknown", "handshakes", lost)
            await asyncio.sleep(0)  # a queue of connections holds nobody else up

    async def close(self) -> None:
        """End the handshakes under way."""
        tasks = self._places.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _admit(self, connection: socket.socket) -> None:
        address = _address(connection)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_s,
            )
        except ssl.SSLError as error:
            self._refuse("unknown", reason_of(error), address)
            connection.close()
        except (OSError, TimeoutError):
            connection.close()  # hung up, or too slow
        except asyncio.CancelledError:
            connection.close()
            raise


def reason_of(error: ssl.SSLError) -> str:
    """Return why a handshake failed, in a word for the journal."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _REASONS.get(error.verify_message, "untrusted")
    return _SSL_REASONS.get(error.reason or "", "tls")


def _address(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except (OSError, IndexError):
        return ""
