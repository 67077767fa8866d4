"""The face that gives services their certificates, and the asking side of it.

One line of JSON each way, over TLS 1.3 whose server must be the vault. Who joins has no certificate
yet: it first asks for the authorities, compares them with the pins in its token, and sends the
token only on a second connection that TLS has checked against the pinned authority. Who renews
shows its certificate in the handshake; who returns signs a challenge of this connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import msgspec

from strongroom.kernel.edge_limits import (
    JOIN_CONNECTIONS_MAX,
    JOIN_LINE_MAX_BYTES,
    JOIN_TIMEOUT_S,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import Joining, Signed, Trust, pem_of, read_token, sign_return
from strongroom.vault.remote import errors
from strongroom.vault.remote.gate import Refuse
from strongroom.vault.remote.places import Places
from strongroom.vault.remote.tls import (
    JOIN_ALPN,
    Files,
    PeerRefused,
    joining_client_context,
    looking_context,
    peer_of,
)

_CHALLENGE_BYTES = 32
_ASKS_MAX = 4
"""Questions on one connection; an honest exchange has two."""

_log = logging.getLogger("strongroom.vault")


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service wants. Bytes are base64 in JSON."""

    ask: Literal["trust", "challenge", "join", "renew", "return"]
    request: bytes = b""
    token: bytes = b""
    certificate: bytes = b""
    signature: bytes = b""

    def __repr__(self) -> str:
        return f"Ask({self.ask})"


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it gets; `error` is the code of a refusal."""

    authorities: tuple[bytes, ...] = ()
    certificate: bytes = b""
    spiffe_id: str = ""
    challenge: bytes = b""
    error: str = ""
    message: str = ""


_ask = msgspec.json.Decoder(Ask, strict=True)
_told = msgspec.json.Decoder(Told, strict=True)


class JoinHost:
    """Answers those who want a certificate.

    Args:
        joining: gives certificates.
        trust: says which authorities are trusted.
        trust_domain: the installation's.
        refuse: hears of each refusal.
    """

    def __init__(
        self,
        joining: Joining,
        trust: Callable[[], Awaitable[Trust]],
        *,
        trust_domain: str,
        refuse: Refuse,
    ) -> None:
        self.joining = joining
        self.trust = trust
        self.trust_domain = trust_domain
        self.refuse = refuse
        self.places = Places(JOIN_CONNECTIONS_MAX)

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        reader = asyncio.StreamReader(limit=JOIN_LINE_MAX_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._take)

    async def drain(self, timeout_s: float) -> None:
        """Let exchanges under way end."""
        tasks = self.places.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=min(timeout_s, JOIN_TIMEOUT_S))
        for task in tasks:
            task.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        address = str((writer.get_extra_info("peername") or ("",))[0])
        lost = None if task is None else self.places.take(task, address)
        if lost is not None:
            self.refuse("unknown", "connections", lost)
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                await self._serve(reader, writer, address)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            pass  # hung up, too slow, or a line without end
        finally:
            with suppress(OSError):
                writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        challenge = os.urandom(_CHALLENGE_BYTES)
        for _ in range(_ASKS_MAX):
            line = await reader.readline()
            if not line:
                return
            try:
                asked = _ask.decode(line)
            except (msgspec.DecodeError, RecursionError):
                self.refuse("unknown", "malformed", address)
                return
            told = await self._answer(asked, writer, challenge, address)
            writer.write(msgspec.json.encode(told) + b"\n")
            await writer.drain()
            if asked.ask not in ("trust", "challenge"):
                return

    async def _answer(
        self, asked: Ask, writer: asyncio.StreamWriter, challenge: bytes, address: str
    ) -> Told:
        name = "unknown"
        try:
            if asked.ask == "trust":
                found = await self.trust()
                return Told(authorities=found.authorities)
            if asked.ask == "challenge":
                return Told(challenge=challenge)
            if asked.ask == "join":
                made = await self.joining.join(Secret(asked.token), asked.request)
            elif asked.ask == "return":
                made = await self.joining.come_back(
                    asked.certificate,
                    asked.request,
                    signature=asked.signature,
                    challenge=challenge,
                )
            else:
                connection = writer.get_extra_info("ssl_object")
                peer = peer_of(connection, self.trust_domain, alpn=JOIN_ALPN)
                name = peer.name
                made = await self.joining.renew(connection.getpeercert(True), asked.request)
        except PeerRefused as refused:
            self.refuse(refused.name, f"{asked.ask}_{refused.reason}", address)
            return Told(error="join_refused", message="Show a certificate to renew it.")
        except StrongroomError as error:
            if error.code in ("join_refused", "certificate_request_refused"):
                self.refuse(name, f"{asked.ask}_refused", address)
            else:
                _log.warning("no certificate given: %s", error.code)
            return Told(error=error.code, message=error.public)
        return Told(
            authorities=made.authorities, certificate=made.certificate, spiffe_id=made.spiffe_id
        )


# --- the asking side ---


async def join(
    host: str, port: int, *, token: Secret[str], trust_domain: str | None, request: bytes
) -> Signed:
    """Exchange a join token for a certificate, at a vault known by nothing but the token's pins.

    Args:
        trust_domain: the installation's where it is known; else the pinned authority's own.

    Raises:
        StrongroomError: `join_refused`, `join_token_unreadable`, `vault_unavailable`.
    """
    read = read_token(token)
    async with _connected(host, port, looking_context()) as line:
        shown = await line.exchange(Ask(ask="trust"))
    pinned = tuple(one for one in shown.authorities if hashlib.sha256(one).digest() in read.pins)
    if not pinned:
        raise errors.not_the_vault("its authority is not the one that the token names")
    async with _connected(host, port, joining_client_context(pem_of(pinned))) as line:
        line.must_be_vault(trust_domain)
        told = await line.exchange(Ask(ask="join", token=read.secret.reveal(), request=request))
    return _signed(told)


async def trusted_at(host: str, port: int, *, files: Files, trust_domain: str) -> Trust:
    """Return the authorities that a vault trusts, which one trusted already vouches for.

    Raises:
        StrongroomError: `not_the_vault`, `vault_unavailable`, `certificate_unusable`.
    """
    context = joining_client_context(files.authority.read_text())
    async with _connected(host, port, context) as line:
        line.must_be_vault(trust_domain)
        return Trust(authorities=(await line.exchange(Ask(ask="trust"))).authorities)


async def renew(host: str, port: int, *, files: Files, trust_domain: str, request: bytes) -> Signed:
    """Exchange a good certificate for a new one.

    Raises:
        StrongroomError: `join_refused`, `vault_unavailable`, `certificate_unusable`.
    """
    context = joining_client_context(files.authority.read_text(), own=files)
    async with _connected(host, port, context) as line:
        line.must_be_vault(trust_domain)
        return _signed(await line.exchange(Ask(ask="renew", request=request)))


async def come_back(
    host: str,
    port: int,
    *,
    files: Files,
    certificate: bytes,
    trust_domain: str,
    request: bytes,
) -> Signed:
    """Exchange a certificate that expired meanwhile for a new one, by its key.

    Raises:
        StrongroomError: `join_refused`, `vault_unavailable`, `certificate_unusable`.
    """
    context = joining_client_context(files.authority.read_text())
    async with _connected(host, port, context) as line:
        line.must_be_vault(trust_domain)
        challenge = (await line.exchange(Ask(ask="challenge"))).challenge
        key = Secret(files.key.read_text())
        signature = sign_return(key, challenge=challenge, request=request)
        asked = Ask(ask="return", certificate=certificate, request=request, signature=signature)
        return _signed(await line.exchange(asked))


class _Line:
    """One connection to the face, from outside."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def must_be_vault(self, trust_domain: str | None) -> None:
        connection = self._writer.get_extra_info("ssl_object")
        try:
            domain = trust_domain or _domain_of(connection)
            peer_of(connection, domain, role="vault", alpn=JOIN_ALPN)
        except PeerRefused as refused:
            raise errors.not_the_vault(refused.reason) from None

    async def exchange(self, asked: Ask) -> Told:
        self._writer.write(msgspec.json.encode(asked) + b"\n")
        await self._writer.drain()
        line = await self._reader.readline()
        try:
            told = _told.decode(line)
        except (msgspec.DecodeError, RecursionError):
            raise errors.vault_unavailable("the answer cannot be read") from None
        if told.error:
            raise StrongroomError(told.error, told.message, detail="said by the vault")
        return told


@asynccontextmanager
async def _connected(host: str, port: int, context: ssl.SSLContext) -> AsyncIterator[_Line]:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(JOIN_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname="", limit=JOIN_LINE_MAX_BYTES * 4
            )
            yield _Line(reader, writer)
    except (OSError, TimeoutError, ValueError) as error:
        raise errors.vault_unavailable(type(error).__name__) from None
    finally:
        if writer is not None:
            writer.transport.abort()


def _domain_of(connection: ssl.SSLObject) -> str:
    """Return the trust domain that a checked server names."""
    names = (connection.getpeercert() or {}).get("subjectAltName", ())
    uri = str(names[0][1]) if len(names) == 1 else ""
    return uri.removeprefix("spiffe://").split("/")[0]


def _signed(told: Told) -> Signed:
    if not told.certificate or not told.authorities:
        raise errors.vault_unavailable("the answer has no certificate")
    return Signed(
        spiffe_id=told.spiffe_id, certificate=told.certificate, authorities=told.authorities
    )
