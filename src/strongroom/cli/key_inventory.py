"""`strongroom keys inventory`: all cryptography of the installation, and what of it is overdue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, FAILED, OK, AsJson, DataDir, command
from strongroom.kernel import limits

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House
    from strongroom.keys.inventory import Alarm, Inventory, Tls


def register(keys: typer.Typer) -> None:
    """Add the command to the group `keys`."""
    command(keys, "keys inventory", action="key:list")(inventory)


def inventory(
    cyclonedx: Annotated[
        Path | None,
        typer.Option("--cyclonedx", help="Write it as a CycloneDX 1.6 CBOM into this new file."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 when something is overdue, near its end, worn.")
    ] = False,
    within_days: Annotated[
        int, typer.Option("--within-days", min=0, help="How near an end counts as near.")
    ] = limits.KEY_WARN_DAYS,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show keys, certificates, protocols, algorithms and libraries with their periods."""
    import msgspec

    from strongroom.cli.files import write_new_private
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.keys.inventory import alarms, collect, document

    async def work(house: House, actor: str) -> Inventory:
        return await collect(house.keyring, providers=_providers(house), tls=_tls())

    found = in_house(data_dir, work)
    warnings = alarms(found.assets, within_days=within_days)
    if cyclonedx is not None:
        text = msgspec.json.format(msgspec.json.encode(document(found)), indent=2).decode()
        write_new_private(cyclonedx, text + "\n")
    told = {**msgspec.to_builtins(found), "alarms": warnings}
    emit(told, lambda out: _show(out, found, warnings), as_json=as_json)
    return FAILED if check and warnings else OK


def _providers(house: House) -> dict[str, str]:
    """Return root id → provider; the opened roots stand in the order that settings name them."""
    from strongroom.keys.roots import provider_of

    settings, custody = house.settings, house.keyring.custody
    opened = (custody.root, *custody.former)
    named = (settings.root_spec, *settings.former_roots)
    return {root.id: provider_of(spec) for root, spec in zip(opened, named, strict=False)}


def _tls() -> Tls:
    import ssl

    from strongroom.keys.inventory import Tls

    offered = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()
    newest = [suite["name"] for suite in offered if suite["protocol"] == "TLSv1.3"]
    older = [suite["name"] for suite in offered if suite["protocol"] != "TLSv1.3"]
    return Tls(library=ssl.OPENSSL_VERSION, suites=tuple(newest), older_suites=tuple(older))


def _show(out: Console, found: Inventory, warnings: list[Alarm]) -> None:
    from strongroom.cli.show import clean, table

    columns = ("id", "what", "algorithm", "state", "ends", ">days", "protection", "quantum")
    rows: list[tuple[Any, ...]] = [
        (
            asset.id,
            asset.name if asset.sort != "library" else f"{asset.name} {asset.version}",
            asset.algorithm or asset.version,
            asset.state,
            asset.expires_at.date() if asset.expires_at else None,
            asset.days_left,
            asset.protection,
            asset.quantum,
        )
        for asset in found.assets
    ]
    out.print(table(columns, rows))
    lines = [
        (a.name, a.primitive, a.classical_bits, a.quantum_level, a.note) for a in found.algorithms
    ]
    out.print(table(("algorithm", "kind", ">bits", ">NIST level", "note"), lines))
    for alarm in warnings:
        out.print(clean(f"{alarm.code}: {alarm.told}"), soft_wrap=True)
