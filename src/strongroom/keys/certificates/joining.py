"""How a service gets its certificate: a join token once, then its last certificate.

A token has 256 random bits, is kept as their SHA-256, and its use is committed together with the
certificate it gives: of two that bring one token, one gets a certificate. Renewal proves the old
key by TLS; a return, after the certificate expired, by a signature over a fresh challenge. Whoever
was revoked gets nothing by either way, and every refusal reads the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta

import msgspec

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock, rfc3339_ms
from strongroom.kernel.edge_limits import (
    JOIN_TOKEN_MINUTES_MAX,
    RETURN_DAYS_MAX,
    SVID_LIFE_S,
)
from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.certificates import records
from strongroom.keys.certificates.flow import Certificates
from strongroom.keys.certificates.model import (
    AUTHORITY,
    VAULT,
    JoinToken,
    Signed,
    StoredCertificate,
    StoredToken,
    is_service,
)
from strongroom.keys.certificates.requests import REQUEST_MAX_BYTES, proves_return, thumbprint
from strongroom.storage import Change, Committer, Database

_SECRET_BYTES = 32
_PIN_BYTES = 32
_TEXT = re.compile(r"srj1\.([A-Za-z0-9_-]{43})((?:\.[A-Za-z0-9_-]{43}){1,4})")


class Joining:
    """Gives services their certificates."""

    def __init__(
        self,
        certificates: Certificates,
        database: Database,
        committer: Committer,
        *,
        life_s: float = SVID_LIFE_S,
        clock: Clock | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._certificates = certificates
        self._database = database
        self._committer = committer
        self._life = timedelta(seconds=life_s)
        self._clock = clock or SystemClock()
        self._random_bytes = random_bytes

    async def make_token(self, service: str, *, minutes: int, actor: str) -> JoinToken:
        """Make a token that gives one certificate of a service, within so many minutes.

        Raises:
            StrongroomError: `certificate_request_invalid`; the vault joins nobody.
        """
        if (
            not is_service(service)
            or service == VAULT
            or not 1 <= minutes <= JOIN_TOKEN_MINUTES_MAX
        ):
            raise errors.join_token_invalid(JOIN_TOKEN_MINUTES_MAX)
        secret = self._random_bytes(_SECRET_BYTES)
        trust = await self._certificates.trust()
        now = self._clock.now()
        token = StoredToken(
            id=new_uuid7(), service=service, expires_at=now + timedelta(minutes=minutes)
        )
        change = Change()
        records.add_token(change, token, hashlib.sha256(secret).digest(), now, actor)
        entry = Entry(
            action="keys:join_token:create",
            subject=f"service:{service}",
            outcome="created",
            merchant=None,
            actor=actor,
            facts={"expires_at": rfc3339_ms(token.expires_at)},
        )
        record(change, entry, at=now)
        await self._committer.submit(change)
        parts = [secret, *(thumbprint(one) for one in trust.authorities)]
        text = "srj1." + ".".join(urlsafe_b64encode(one).decode().rstrip("=") for one in parts)
        return JoinToken(
            id=token.id, service=service, expires_at=token.expires_at, text=Secret(text)
        )

    async def join(self, secret: Secret[bytes], request: bytes) -> Signed:
        """Exchange a token for the first certificate.

        Raises:
            StrongroomError: `join_refused`, `certificate_request_refused`.
        """
        token = await records.unused_token(self._database, hashlib.sha256(secret.reveal()).digest())
        now = self._clock.now()
        if token is None or now >= token.expires_at:
            raise errors.join_refused("unknown, used or expired")

        def use(change: Change) -> None:
            records.use_token(change, token.id, now)

        return await self._certificates.certify(
            token.service,
            request,
            life=self._life,
            actor=f"service:{token.service}",
            method="join",
            use=use,
        )

    async def renew(self, presented: bytes, request: bytes) -> Signed:
        """Give a new certificate to the holder of a good one, which TLS has proved.

        Raises:
            StrongroomError: `join_refused`, `certificate_request_refused`.
        """
        found = await self._known(presented)
        if self._clock.now() >= found.not_after:
            raise errors.join_refused("expired")
        return await self._again(found, request, method="renew")

    async def come_back(
        self, presented: bytes, request: bytes, *, signature: bytes, challenge: bytes
    ) -> Signed:
        """Give a new certificate to the holder of one that expired days ago at most.

        Raises:
            StrongroomError: `join_refused`, `certificate_request_refused`.
        """
        found = await self._known(presented)
        if self._clock.now() >= found.not_after + timedelta(days=RETURN_DAYS_MAX):
            raise errors.join_refused("expired too long ago")
        if not proves_return(presented, signature, challenge=challenge, request=request):
            raise errors.join_refused("the signature is wrong")
        return await self._again(found, request, method="return")

    async def _known(self, presented: bytes) -> StoredCertificate:
        found = None
        if len(presented) <= REQUEST_MAX_BYTES:
            found = await self._certificates.find(presented)
        if found is None or found.revoked_at is not None or found.role in (AUTHORITY, VAULT):
            raise errors.join_refused("unknown or revoked")
        return found

    async def _again(self, found: StoredCertificate, request: bytes, *, method: str) -> Signed:
        made = await self._certificates.certify(
            found.role,
            request,
            life=self._life,
            actor=f"service:{found.role}",
            method=method,
            renews=found.id,
        )
        # Revoking looks for new certificates until there are none; what it did not see yet is
        # seen here: of a renewal and a revocation at one moment the revocation wins.
        known = await self._certificates.find(found.certificate)
        if known is None or known.revoked_at is not None:
            serial = await self._certificates.find(made.certificate)
            if serial is not None:
                await self._certificates.revoke(
                    serial.serial_number.hex(),
                    actor="strongroom",
                    reason="renewed while it was revoked",
                )
            raise errors.join_refused("revoked meanwhile")
        return made


class ReadToken(msgspec.Struct, frozen=True):
    """A join token taken apart: what is sent, and which authorities may answer."""

    secret: Secret[bytes]
    pins: frozenset[bytes]


def read_token(text: Secret[str]) -> ReadToken:
    """Take a join token apart.

    Raises:
        StrongroomError: `join_token_unreadable`.
    """
    found = _TEXT.fullmatch(text.reveal().strip())
    if found is None:
        raise errors.join_token_unreadable()
    parts = [found[1], *found[2].strip(".").split(".")]
    secret, *pins = (urlsafe_b64decode(part + "=") for part in parts)
    return ReadToken(Secret(secret), frozenset(pins))
