"""The token for OpenBao or Vault: from a 0600 file that an agent may exchange, or by AppRole.

A periodic or renewable token is renewed at half its life. After a refusal the file is read again,
or the AppRole logs in anew, once. No token is ever written anywhere.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.private_files import read_private
from strongroom.keys.roots import errors
from strongroom.keys.roots.model import TransitSpec
from strongroom.keys.roots.transit_http import PROVIDER, Refused, TransitHttp

_SECRET_MAX_BYTES = 4_096
_SOONEST_S = 1.0
_log = logging.getLogger("strongroom.keys")


class _Auth(msgspec.Struct, frozen=True):
    client_token: str = ""
    lease_duration: int = 0
    renewable: bool = False


class _Login(msgspec.Struct, frozen=True):
    auth: _Auth


class _Self(msgspec.Struct, frozen=True):
    ttl: int
    renewable: bool = False
    policies: tuple[str, ...] = ()


class _Lookup(msgspec.Struct, frozen=True):
    data: _Self


class TransitLogin:
    """Holds the token of one root; used by one thread."""

    def __init__(self, spec: TransitSpec, folder: Path, http: TransitHttp) -> None:
        if (spec.token_file is None) == (spec.role_id is None):
            raise errors.root_misconfigured("name either token_file or role_id")
        if (spec.role_id is None) != (spec.secret_id_file is None):
            raise errors.root_misconfigured("role_id and secret_id_file belong together")
        self._spec = spec
        self._folder = folder
        self._http = http
        self._token: Secret[str] | None = None
        self._renew_at: float | None = None
        self.policies: tuple[str, ...] = ()
        self.ttl_s: int | None = None

    def token(self) -> Secret[str]:
        """Return the token in use; logs in when there is none."""
        if self._token is None:
            self._token = self._by_approle() if self._spec.role_id else self._from_file()
        return self._token

    def again(self) -> bool:
        """Take a new token after a refusal; returns whether there is another one to try."""
        refused, self._token = self._token, None
        return refused is None or not self.token().matches(refused)

    def idle(self) -> float | None:
        """Renew when it is time; returns seconds until it is worth another look."""
        if self._renew_at is None:
            return None
        if time.monotonic() >= self._renew_at:
            self._renew()
        return max(_SOONEST_S, self._renew_at - time.monotonic())

    def look(self) -> None:
        """Ask how long the token lives and plan its renewal."""
        path = ("auth/token", "lookup-self")
        try:
            found = self._http.call("GET", path, None, token=self.token(), to=_Lookup).data
        except Refused:
            raise denied("the token is expired, revoked, or not known") from None
        self.policies, self.ttl_s = found.policies, found.ttl or None
        self._plan(found.ttl, renewable=found.renewable)

    def _renew(self) -> None:
        path = ("auth/token", "renew-self")
        try:
            auth = self._http.call("POST", path, {}, token=self.token(), to=_Login).auth
            self._plan(auth.lease_duration, renewable=auth.renewable)
        except (Refused, StrongroomError) as error:
            _log.warning("the token for the root could not be renewed: %s", type(error).__name__)
            self._token = None
            self._renew_at = time.monotonic() + 60

    def _plan(self, life_s: int, *, renewable: bool) -> None:
        can = life_s > 0 and (renewable or self._spec.role_id is not None)
        self._renew_at = time.monotonic() + life_s / 2 if can else None

    def _from_file(self) -> Secret[str]:
        return _read(self._folder / (self._spec.token_file or ""))

    def _by_approle(self) -> Secret[str]:
        secret = _read(self._folder / (self._spec.secret_id_file or ""))
        body = {"role_id": self._spec.role_id, "secret_id": secret.reveal()}
        path = (f"auth/{self._spec.approle_mount}", "login")
        try:
            auth = self._http.call("POST", path, body, token=None, to=_Login).auth
        except Refused:
            raise denied("the AppRole login is refused") from None
        self._plan(auth.lease_duration, renewable=auth.renewable)
        return Secret(auth.client_token)


def denied(problem: str) -> StrongroomError:
    """Return `root_access_denied` of this provider."""
    return errors.root_access_denied(PROVIDER, problem)


def _read(path: Path) -> Secret[str]:
    text = read_private(path, limit=_SECRET_MAX_BYTES).decode("ascii", "replace").strip()
    if not text or not text.isprintable():
        raise errors.root_misconfigured(f"{path} holds no token")
    return Secret(text)
