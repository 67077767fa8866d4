"""Gives each role of process a directory of its own: its settings, a join token, its login.

An `api` or `worker` directory holds what that process needs and nothing that opens a card: no root
file, no unlocking material, no login of the roles `strongroom_vault`, `_journal` or `_owner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from strongroom.app.compose import House
from strongroom.app.limit_settings import LimitSettings
from strongroom.app.settings import FILE, Settings, address_of, write_private
from strongroom.app.workload_settings import Workload
from strongroom.kernel.edge_limits import JOIN_TOKEN_MINUTES_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import Issued, Joining, JoinToken
from strongroom.storage.embedded import EmbeddedPostgres

CallingRole = Literal["api", "worker"]
TLS = "tls"
DATABASE_FILE = "database.url"
_NOT_HANDED_OUT = frozenset({"valkey_url_file", "valkey_ca_file"})
"""A login of each role's own; the counters are in the database until it is named there."""
TOKEN_FILE = Workload().token_file


def write_certificate(issued: Issued, role: str, into: Path) -> list[Path]:
    """Write certificate, key and authority as files of mode 0600; return which."""
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = [into / "ca.pem", into / f"{role}.pem", into / f"{role}.key"]
    write_private(files[2], issued.key.reveal())
    write_private(files[1], issued.certificate)
    write_private(files[0], issued.authority)
    return files


async def hand_out(
    house: House,
    role: CallingRole,
    out: Path,
    *,
    vault: str,
    authority: str,
    actor: str,
    minutes: int = JOIN_TOKEN_MINUTES_MAX,
    database: Secret[str] | None = None,
) -> JoinToken:
    """Write the directory of a process that calls the vault at `vault` (HOST:PORT).

    In it is a token, good once, for the first certificate, which is given at `authority`
    (HOST:PORT). With an embedded database its login is written too; a given one is named by a
    variable there.

    Raises:
        StrongroomError: `settings_invalid`, `join_token_invalid`, `handout_refused`.
    """
    address_of(vault)
    address_of(authority)
    _refuse_home(house.settings, out)
    _refuse_same_names(house.settings)
    token = await joining(house).make_token(role, minutes=minutes, actor=actor)
    _write(
        house.settings, role, out, vault=vault, authority=authority, token=token, database=database
    )
    return token


def joining(house: House) -> Joining:
    """Return what makes join tokens in an opened installation."""
    return Joining(
        house.keyring.certificates(),
        house.vault_database,
        house.vault_committer,
        clock=house.clock,
    )


def _refuse_home(settings: Settings, out: Path) -> None:
    if out.resolve() == settings.data_dir:
        raise StrongroomError(
            "handout_refused", "The vault's own directory cannot be handed out; name another."
        )


def _refuse_same_names(settings: Settings) -> None:
    """Refuse secrets of which one would be written over another: all go into one directory."""
    paths = {name for g in settings.gateways for name in (g.secret_file, *g.webhook_secret_files)}
    names = [FILE, DATABASE_FILE, TOKEN_FILE, *(Path(path).name for path in paths)]
    if len(set(names)) < len(names):
        raise StrongroomError(
            "handout_refused",
            "Two files to hand out have one name. Rename a gateway's secret file.",
        )


def _write(
    settings: Settings,
    role: str,
    out: Path,
    *,
    vault: str,
    authority: str,
    token: JoinToken,
    database: Secret[str] | None,
) -> None:
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(out / TOKEN_FILE, token.text.reveal() + "\n")
    if database is None and settings.embedded:
        database = EmbeddedPostgres(settings.data_dir).url("strongroom_pay")
    if database is not None:
        write_private(out / DATABASE_FILE, database.reveal() + "\n")
    for gateway in settings.gateways:
        for name in (gateway.secret_file, *gateway.webhook_secret_files):
            write_private(out / Path(name).name, settings.secret(name).reveal() + "\n")
    text = _text(settings, role, vault, authority, with_database=database is not None)
    write_private(out / FILE, text)


def _text(settings: Settings, role: str, vault: str, authority: str, *, with_database: bool) -> str:
    """Return the settings of a role: what it needs, named one by one."""
    lines = [
        f"# Settings of the role {role}; docs/operations/split-vault.md explains each.",
        f'installation = "{settings.installation}"',
        f'mode = "{settings.mode}"',
        f"public_url = {_quoted(settings.public_url)}",
        f"console_url = {_quoted(settings.console_url)}",
        f"behind_tls = {_quoted(settings.behind_tls)}",
        f"default_gateway = {_quoted(settings.default_gateway)}",
        f"cors_origins = {_quoted(settings.cors_origins)}",
        f"patience_s = {float(settings.patience_s)!r}",
        f"concurrency_max = {settings.concurrency_max}",
        "",
        "[vault]",
        f"address = {_quoted(vault)}",
        f'authority = "{TLS}/ca.pem"',
        f'certificate = "{TLS}/{role}.pem"',
        f'key = "{TLS}/{role}.pem"',
        "",
        "[workload]",
        f"authority = {_quoted(authority)}",
        f'token_file = "{TOKEN_FILE}"',
    ]
    if with_database:
        lines += ["", "[databases]", f'strongroom_pay = "{DATABASE_FILE}"']
    lines += _limits(settings.limits)
    if role == "api":
        lines += _edge(settings) + _oidc(settings)
    for gateway in settings.gateways:
        webhooks = tuple(Path(name).name for name in gateway.webhook_secret_files)
        lines += [
            "",
            "[[gateways]]",
            f"name = {_quoted(gateway.name)}",
            f"connector = {_quoted(gateway.connector)}",
            f"base_url = {_quoted(gateway.base_url)}",
            f"secret_file = {_quoted(Path(gateway.secret_file).name)}",
            f"webhook_secret_files = {_quoted(webhooks)}",
        ]
    return "\n".join(lines) + "\n"


def _limits(limits: LimitSettings) -> list[str]:
    """Return the `[limits]` table as far as it differs from the defaults."""
    lines = []
    for name, usual in msgspec.structs.asdict(LimitSettings()).items():
        value = getattr(limits, name)
        if value != usual and name not in _NOT_HANDED_OUT:
            lines.append(f"{name} = {_inline(value)}")
    return ["", "[limits]", *lines] if lines else []


def _inline(value: object) -> str:
    """Return a value, a table on one line."""
    if not isinstance(value, Mapping):
        return _quoted(value)
    return "{ " + ", ".join(f"{_quoted(key)} = {_quoted(of)}" for key, of in value.items()) + " }"


def _edge(settings: Settings) -> list[str]:
    """Return the tables of the edge; their files stay where they are, on this machine."""
    lines: list[str] = []
    if settings.tls is not None:
        tls = settings.tls
        trusted = tuple(str(settings.path(name)) for name in tls.client_authorities)
        lines += [
            "",
            "[tls]",
            f"certificate = {_quoted(str(settings.path(tls.certificate)))}",
            f"key = {_quoted(str(settings.path(tls.key)))}",
            f"client_authorities = {_quoted(trusted)}",
            f"min_version = {_quoted(tls.min_version)}",
        ]
        if tls.workload_authority is not None:
            lines.append(f'workload_authority = "{TLS}/ca.pem"')  # which the process follows
    if settings.proxy is not None:
        lines += ["", "[proxy]"]
        given = msgspec.to_builtins(settings.proxy)
        lines += [f"{name} = {_quoted(value)}" for name, value in given.items()]
    return lines


def _oidc(settings: Settings) -> list[str]:
    """Return the `[oidc]` table; its files stay where they are, on this machine."""
    if settings.oidc is None:
        return []
    given = msgspec.to_builtins(settings.oidc)
    for name in ("client_secret_file", "ca_file"):
        if given[name] is not None:
            given[name] = str(settings.path(given[name]))
    known = {name: value for name, value in given.items() if value is not None}
    return ["", "[oidc]", *(f"{name} = {_inline(value)}" for name, value in known.items())]


def _quoted(value: object) -> str:
    """Return a value as TOML writes it: what JSON and TOML share."""
    return msgspec.json.encode(value).decode()
