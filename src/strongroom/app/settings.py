"""Settings of one installation: `strongroom.toml` in the data directory, and a few variables.

No secret stands in the file or in a variable's value: both name files of mode 0600. A database
URL with a password may come from STRONGROOM_DATABASE_URL because that is how platforms hand it
over; it is read once and removed from the environment.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from strongroom.app.edge import Proxy, Tls, refuse_odd_texts
from strongroom.app.four_eyes_settings import FourEyesSettings
from strongroom.app.leak_settings import LeakReports
from strongroom.app.limit_settings import LimitSettings
from strongroom.app.oauth import OAuthSettings
from strongroom.app.workload_settings import Workload
from strongroom.gateways import GatewayAccount
from strongroom.identity.oidc import OidcSpec
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import trust_domain
from strongroom.keys.roots import RootSpec, SealedFileSpec

FILE = "strongroom.toml"
Mode = Literal["test", "live"]

_URLS = {
    "strongroom_owner": "STRONGROOM_DATABASE_URL",
    "strongroom_pay": "STRONGROOM_PAY_DATABASE_URL",
    "strongroom_vault": "STRONGROOM_VAULT_DATABASE_URL",
    "strongroom_journal": "STRONGROOM_JOURNAL_DATABASE_URL",
}


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One gateway account; secrets are named by file, relative to the data directory."""

    name: str
    connector: Literal["sandbox", "stripe"]
    base_url: str
    secret_file: str
    webhook_secret_files: tuple[str, ...] = ()


class VaultAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the vault's process listens, and what this process proves itself with."""

    address: str
    authority: str = "tls/ca.pem"
    certificate: str
    key: str


class VaultListener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where this process listens as the vault; `may_reveal` names roles that may see numbers."""

    address: str = "127.0.0.1:7443"
    authority: str = "tls/ca.pem"
    certificate: str = "tls/vault.pem"
    key: str = "tls/vault.key"
    may_reveal: tuple[Literal["api", "worker"], ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an installation is told; times in seconds."""

    installation: UUID
    mode: Mode
    public_url: str = ""
    console_url: str = ""
    behind_tls: bool = False
    root_file: str = "root.json"
    root_key_file: str | None = "root.key"
    root_passphrase_file: str | None = None
    root: RootSpec | None = None
    former_roots: tuple[RootSpec, ...] = ()
    shred_ledger: str = "shred.ledger"
    gateways: tuple[Gateway, ...] = ()
    default_gateway: str = "sandbox"
    cors_origins: tuple[str, ...] = ()
    patience_s: float = 30
    concurrency_max: int = 1024
    ff1_export: bool = False
    leak_reports: LeakReports = LeakReports()
    vault: VaultAddress | None = None
    vault_listener: VaultListener | None = None
    tls: Tls | None = None
    proxy: Proxy | None = None
    four_eyes: FourEyesSettings = FourEyesSettings()

    oidc: OidcSpec | None = None
    oauth: OAuthSettings = OAuthSettings()
    workload: Workload | None = None
    databases: Mapping[str, str] = {}
    limits: LimitSettings = LimitSettings()
    data_dir: Path = Path(".")
    database_urls: Mapping[str, Secret[str]] = {}

    @property
    def embedded(self) -> bool:
        """Whether the embedded PostgreSQL is used."""
        return not self.database_urls

    @property
    def root_spec(self) -> RootSpec:
        """The one root that wraps new keys: the `[root]` table, else the flat fields."""
        return self.root or SealedFileSpec(
            file=self.root_file,
            key_file=self.root_key_file,
            passphrase_file=self.root_passphrase_file,
        )

    @property
    def trust_domain(self) -> str:
        """The SPIFFE trust domain whose certificates are taken."""
        if self.workload is not None and self.workload.source == "spire":
            return self.workload.trust_domain or ""
        return trust_domain(self.installation, self.mode)

    @property
    def has_every_login(self) -> bool:
        """Whether every database role can be taken from here, as a scan of everything needs."""
        return self.embedded or "strongroom_owner" in self.database_urls

    @property
    def any_login(self) -> str:
        """A database role that this process has a login of: the owner, or the first given."""
        return "strongroom_owner" if self.has_every_login else next(iter(self.database_urls))

    def path(self, name: str) -> Path:
        """Return a file named in the settings; relative names lie in the data directory."""
        return self.data_dir / name

    def listens_at(self, role: str) -> tuple[str, int]:
        """Return host and port of a role's process, unless the command says otherwise."""
        if role == "vault":
            return address_of((self.vault_listener or VaultListener()).address)
        return "127.0.0.1", 8080

    def secret(self, name: str) -> Secret[str]:
        """Read a secret file; raises `settings_invalid` when others may read it or it is empty."""
        return read_secret(self.path(name))

    def accounts(self) -> list[GatewayAccount]:
        """Return the gateway accounts with their secrets."""
        return [
            GatewayAccount(
                name=gateway.name,
                connector=gateway.connector,
                base_url=gateway.base_url,
                secret=self.secret(gateway.secret_file),
                webhook_secrets=tuple(map(self.secret, gateway.webhook_secret_files)),
                live=self.mode == "live",
            )
            for gateway in self.gateways
        ]


def load(data_dir: Path, environ: MutableMapping[str, str] = os.environ) -> Settings:
    """Read the settings of an installation.

    Raises:
        StrongroomError: `not_initialized` or `settings_invalid`, naming what to mend.
    """
    file = data_dir / FILE
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise StrongroomError(
            "not_initialized",
            f"There is no installation in {data_dir}. Run: strongroom init --data-dir {data_dir}",
        ) from None
    try:
        given = tomllib.loads(text)
        refuse_odd_texts(given)
        read = msgspec.convert(given, Settings, strict=True)
    except ValueError as error:
        raise _invalid(f"{file}: {error}") from None
    if "root" in given and any(name.startswith("root_") for name in given):
        raise _invalid(f"{file}: name the root once, by [root] or by root_file and its key")
    workload = read.workload
    if workload is not None and workload.source == "spire" and workload.trust_domain is None:
        raise _invalid(f'{file}: [workload] with source "spire" must name its trust_domain')
    apart = read.vault is not None or read.vault_listener is not None
    urls = database_urls(environ, owner_needed=not apart)
    for role, name in read.databases.items():
        if role not in _URLS:
            raise _invalid(f"{file}: [databases] names {role[:40]!r}, which is no role")
        urls.setdefault(role, read_secret(data_dir / name))
    if read.vault is not None and not urls:
        raise _invalid(f"{file}: name strongroom_pay's URL in [databases], or in a variable")
    return msgspec.structs.replace(read, data_dir=data_dir.resolve(), database_urls=urls)


def database_urls(
    environ: MutableMapping[str, str], *, owner_needed: bool = True
) -> dict[str, Secret[str]]:
    """Return the given database URLs by role and take them out of the environment."""
    found = {role: Secret(environ.pop(name)) for role, name in _URLS.items() if environ.get(name)}
    if owner_needed and found and "strongroom_owner" not in found:
        raise _invalid("STRONGROOM_DATABASE_URL must be set when another database URL is")
    return found


def without_logins(environ: Mapping[str, str], *, but: str = "") -> dict[str, str]:
    """Return an environment without database URLs, except that of the role `but`."""
    gone = {name for role, name in _URLS.items() if role != but}
    return {name: value for name, value in environ.items() if name not in gone}


def login_variables(settings: Settings) -> dict[str, Secret[str]]:
    """Return the database URLs that this process was given, by the names of their variables."""
    return {_URLS[role]: url for role, url in settings.database_urls.items()}


def role_dir(data_dir: Path, role: str) -> Path:
    """Return the directory of a role's own process beside the vault on one machine."""
    return data_dir / "roles" / role


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of an address such as `10.0.0.5:7443` or `[::1]:7443`.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65_536):
        raise _invalid("an address must be HOST:PORT")
    return host, int(port)


def read_secret(path: Path) -> Secret[str]:
    """Read a secret file of mode 0600."""
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise _invalid(f"{path} must not be readable by others. Run: chmod 600 {path}")
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise _invalid(f"{path}: {error.strerror}") from None
    if not text:
        raise _invalid(f"{path} is empty")
    return Secret(text)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 as one step."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _invalid(what: str) -> StrongroomError:
    return StrongroomError("settings_invalid", what)
