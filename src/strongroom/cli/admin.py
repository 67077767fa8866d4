"""Commands that make and look after an installation: `init`, `migrate`, `merchants`, `keys` …"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    PUBLIC,
    AsJson,
    DataDir,
    authorize,
    command,
    group,
)
from strongroom.cli.key_inventory import register as register_inventory
from strongroom.cli.key_rotation import register as register_rotation
from strongroom.cli.root_options import RootOptions, RootProvider, spec_given

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import Gateway, House, Settings
    from strongroom.keys.roots import RootSpec
    from strongroom.storage import Database

SANDBOX_URL = "http://127.0.0.1:8201"
STRIPE_URL = "https://api.stripe.com"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "init", action="system:init")(init)
    command(app, "migrate", action="system:migrate")(migrate)
    merchants = group(app, "merchants", "Merchants of this installation.")
    command(merchants, "merchants create", action="merchant:create")(create_merchant)
    command(merchants, "merchants list", action="merchant:list")(list_merchants)
    command(merchants, "merchants level", action="merchant:level")(level_of_merchant)
    keys = group(app, "keys", "Encryption keys.")
    command(keys, "keys list", action="key:list")(list_keys)
    register_rotation(keys)
    register_inventory(keys)
    ledger = group(app, "ledger", "The books.")
    command(ledger, "ledger verify", action="system:doctor")(verify_ledger)
    command(app, "data-map", action="system:doctor")(data_map)
    command(app, "version", action=PUBLIC)(version)


def init(
    mode: Annotated[
        Literal["test", "live"], typer.Option("--mode", help="Test and live never mix.")
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            help="File (mode 0600) whose passphrase seals the root; a key file if not given.",
        ),
    ] = None,
    root_provider: RootProvider = None,
    root_option: RootOptions = None,
    public_url: Annotated[
        str, typer.Option("--public-url", help="Where callers reach the API, https://…")
    ] = "",
    gateway_connector: Annotated[
        Literal["sandbox", "stripe"] | None,
        typer.Option("--gateway-connector", help="Kind of the first gateway account."),
    ] = None,
    gateway_name: Annotated[
        str | None, typer.Option("--gateway-name", help="Its name; the connector's if not given.")
    ] = None,
    gateway_url: Annotated[
        str | None, typer.Option("--gateway-url", help="Its address; the usual one if not given.")
    ] = None,
    gateway_secret_file: Annotated[
        Path | None, typer.Option("--gateway-secret-file", help="File (mode 0600) with its key.")
    ] = None,
    gateway_webhook_secret_file: Annotated[
        Path | None,
        typer.Option(
            "--gateway-webhook-secret-file", help="File (mode 0600) with its webhook secret."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Make a new installation: settings, root key, database schema."""
    from strongroom.app import install, prepare
    from strongroom.cli.installation import database_running
    from strongroom.cli.show import emit, waiting

    authorize(mode)
    account = _gateway(
        mode,
        gateway_connector,
        gateway_name,
        gateway_url,
        (gateway_secret_file, gateway_webhook_secret_file),
    )
    _look_at(passphrase_file, gateway_secret_file, gateway_webhook_secret_file)
    root = _root(root_provider, root_option, passphrase_file)
    with waiting("Making the installation …", quiet=as_json):
        settings = install(
            data_dir,
            mode=mode,
            public_url=public_url,
            passphrase_file=passphrase_file,
            gateways=(account,),
            root=root,
        )
        with database_running(settings):
            applied = asyncio.run(prepare(settings))
    emit(
        {**_init_facts(settings), "migrations": len(applied)},
        _lines(_init_text(settings, data_dir)),
        as_json=as_json,
    )
    return OK


def _init_facts(settings: Settings) -> dict[str, str]:
    from strongroom.keys.roots import provider_of

    return {
        "installation": str(settings.installation),
        "mode": settings.mode,
        "data_dir": str(settings.data_dir),
        "root_provider": provider_of(settings.root_spec),
    }


def _root(
    provider: str | None, options: list[str] | None, passphrase_file: Path | None
) -> RootSpec | None:
    """Return what is asked of the root; None means a sealed file."""
    if provider is None:
        if options:
            raise typer.BadParameter("--root-option needs --root-provider.")
        return None
    if passphrase_file is not None:
        raise typer.BadParameter("--passphrase-file and --root-provider exclude each other.")
    return spec_given(provider, options)


def _look_at(passphrase: Path | None, *others: Path | None) -> None:
    """Refuse secret files that cannot be used before anything is made."""
    from strongroom.cli.files import secret_in

    if passphrase is not None:
        secret_in(passphrase, spaces=True)
    for file in others:
        if file is not None:
            secret_in(file)


def _gateway(
    mode: str,
    connector: Literal["sandbox", "stripe"] | None,
    name: str | None,
    url: str | None,
    files: tuple[Path | None, Path | None],
) -> Gateway:
    """Return the first gateway account; a test installation may do without naming one."""
    from strongroom.app import Gateway

    secret, webhook = files
    kind = connector or ("sandbox" if mode == "test" else None)
    if kind is None or (mode == "live" and kind == "sandbox"):
        raise typer.BadParameter("a live installation needs --gateway-connector stripe.")
    if kind == "stripe" and secret is None:
        raise typer.BadParameter("stripe needs --gateway-secret-file.")
    usual = {"sandbox": SANDBOX_URL, "stripe": STRIPE_URL}[kind]
    webhooks = (str(webhook.resolve()),) if webhook else ()
    if kind == "sandbox" and secret is None:
        webhooks = webhooks or ("sandbox-webhook.secret",)
    return Gateway(
        name=name or kind,
        connector=kind,
        base_url=url or usual,
        secret_file=str(secret.resolve()) if secret else "sandbox.secret",
        webhook_secret_files=webhooks,
    )


def _init_text(settings: Settings, data_dir: Path) -> list[str]:
    at = f"--data-dir {data_dir}"
    return [
        f"Installation {settings.installation} ({settings.mode} mode) is in {settings.data_dir}.",
        _root_text(settings),
        f"Next: strongroom merchants create 'My shop' {at}",
        f"      strongroom up {at}",
    ]


def _root_text(settings: Settings) -> str:
    from strongroom.keys.roots import SealedFileSpec, provider_of

    root = settings.root_spec
    if isinstance(root, SealedFileSpec):
        opener = settings.path(root.passphrase_file or root.key_file or "")
        return (
            f"Its root opens with {opener}: keep a copy apart from the data, or the cards are lost."
        )
    return (
        f"Its root is in {provider_of(root)}: back that key up there, and keep a copy of "
        "strongroom.toml, or the cards are lost."
    )


def migrate(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell what is missing; exit 1 if anything is.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Bring the database to this release's schema."""
    from strongroom.app import prepare
    from strongroom.cli.installation import as_owner
    from strongroom.cli.show import emit
    from strongroom.storage.migrate import pending

    async def work(settings: Settings, database: Database) -> list[str]:
        found = await pending(database) if check else await prepare(settings)
        return [f"{m.room}/{m.number:04d}_{m.name}" for m in found]

    names = as_owner(data_dir, work)
    word = "missing" if check else "applied"
    lines = [f"{word}: {name}" for name in names] or [f"nothing {word}: the schema is current"]
    emit({word: names}, _lines(lines), as_json=as_json)
    return FAILED if check and names else OK


def create_merchant(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a merchant."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await house.identity.create_merchant(name, actor=actor)

    made = in_house(data_dir, work)
    lines = [
        f"{made.id}",
        f"Next: strongroom api-keys create --merchant {made.id} --owner NAME",
    ]
    emit(made, _lines(lines), as_json=as_json)
    return OK


def list_merchants(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List merchants."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        found = page = await house.identity.list_merchants(limit=100)
        while len(page) == 100:
            page = await house.identity.list_merchants(limit=100, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work)
    rows = [(m.id, m.name, m.status, _level_name(m), m.created_at) for m in found]
    columns = ("id", "name", "status", "lowest level", "created")
    emit(found, _shown(table, columns, rows), as_json=as_json)
    return OK


def _level_name(merchant: Any) -> str:
    return str(merchant.required_level.name).lower().replace("_", "-")


def level_of_merchant(
    merchant: Annotated[str, typer.Argument(help="mer_…")],
    level: Annotated[
        Literal["api-key", "bound-token", "signed-request"],
        typer.Argument(help="The least that its servers must prove themselves with."),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Set the lowest level of authentication that a merchant takes, within a second."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.identity import Level

    least = Level[level.upper().replace("-", "_")]

    async def work(house: House, actor: str) -> Any:
        return await house.identity.set_level(merchant, least, actor=actor, reason=reason)

    set_to = in_house(data_dir, work)
    emit(set_to, _lines([f"{set_to.id} takes {_level_name(set_to)} or more."]), as_json=as_json)
    return OK


def list_keys(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List encryption keys with their use; key material is never shown."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        return list(await house.desk.inventory())

    found = in_house(data_dir, work)
    rows = [
        (k.id, k.kind, k.purpose, k.merchant, k.version, k.state, k.algorithm, k.uses_reserved)
        for k in found
    ]
    columns = ("id", "kind", "purpose", "merchant", ">version", "state", "algorithm", ">uses")
    emit(found, _shown(table, columns, rows), as_json=as_json)
    return OK


def verify_ledger(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Check that all postings sum to zero and that balances are what postings say."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await house.ledger.proof()

    total, drift = in_house(data_dir, work)
    fine = total == 0 and not drift
    told = {
        "ok": fine,
        "sum_minor": total,
        "drift": [
            {"merchant": merchant, "account": account, "currency": currency, "minor": minor}
            for merchant, account, currency, minor in drift
        ],
    }
    lines = [f"sum of all postings: {total}", f"accounts that drifted: {len(drift)}"]
    lines += [
        f"  {merchant} {name} {currency} by {minor}" for merchant, name, currency, minor in drift
    ]
    emit(told, _lines(lines), as_json=as_json)
    return OK if fine else FAILED


def data_map(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Show every column with its data class and retention; exit 1 if one has none."""
    from strongroom.cli.installation import as_owner
    from strongroom.cli.show import emit, table
    from strongroom.storage.datamap import read, undeclared

    async def work(settings: Settings, database: Database) -> list[Any]:
        return list(await read(database))

    columns = as_owner(data_dir, work)
    rows = [
        (f"{c.schema}.{c.table}", c.name, c.type, c.data_class or "UNDECLARED", c.retention)
        for c in columns
    ]
    emit(
        columns,
        _shown(table, ("table", "column", "type", "class", "retention"), rows),
        as_json=as_json,
    )
    return FAILED if undeclared(columns) else OK


def version(as_json: AsJson = False) -> int:
    """Show the version."""
    from strongroom import __version__

    if as_json:
        typer.echo(f'{{"version":"{__version__}"}}')
    else:
        typer.echo(f"strongroom {__version__}")
    return OK


def _lines(lines: list[str]) -> Callable[[Console], None]:
    from strongroom.cli.show import clean

    def text(out: Console) -> None:
        for line in lines:
            out.print(clean(line), soft_wrap=True)

    return text


def _shown(table: Any, columns: tuple[str, ...], rows: list[Any]) -> Callable[[Console], None]:
    return lambda out: out.print(table(columns, rows))
