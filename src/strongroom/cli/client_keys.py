"""What `keys rotate` does for keys that move no rows: those of clients, and the pepper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli.command import OK

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House
    from strongroom.keys import PublicClientKey


def is_client_key(key: str) -> bool:
    """Return whether a key's outside name is that of a client key."""
    return key.startswith("cek_")


def rotate(data_dir: Path, *, suite: str | None, approval: str | None, as_json: bool) -> int:
    """Publish new client keys at once; the former ones open what is under way for 30 days."""

    async def work(house: House, actor: str) -> list[PublicClientKey]:
        await house.keyring.dual_control.redeem(
            "keys:generate",
            {"level": "client", "suite": suite},
            approval=approval,
            requester=actor,
        )
        return await house.keyring.client_keys.rotate(actor=actor, suite=suite)

    return _told(data_dir, work, as_json=as_json)


def rotate_pepper(data_dir: Path, *, approval: str | None, as_json: bool) -> int:
    """Make the next pepper of API keys; keys move to it as they are used."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.kernel.ids import id_from

    async def work(house: House, actor: str) -> list[Any]:
        await house.keyring.dual_control.redeem(
            "keys:generate", {"level": "pepper"}, approval=approval, requester=actor
        )
        return list(await house.keyring.api_key_hasher().rotate(actor=actor))

    made, former = (
        {"id": id_from("svk", key.record.id), "version": key.record.version, "state": key.state}
        for key in in_house(data_dir, work)
    )
    lines = (
        f"{made['id']} is the new pepper (version {made['version']}).",
        f"Later: strongroom keys destroy {former['id']}, once no API key needs it any more.",
    )

    def text(out: Console) -> None:
        for line in lines:
            out.print(line, soft_wrap=True)

    emit({"pepper": made, "former": former}, text, as_json=as_json)
    return OK


def compromise(data_dir: Path, *, key: str, approval: str | None, as_json: bool) -> int:
    """Take a client key out of use at once and publish its successor."""

    async def work(house: House, actor: str) -> list[PublicClientKey]:
        await house.keyring.dual_control.redeem(
            "keys:compromise", {"key": key}, approval=approval, requester=actor
        )
        return await house.keyring.client_keys.compromise(key, actor=actor)

    return _told(data_dir, work, as_json=as_json)


def _told(data_dir: Path, work: Any, *, as_json: bool) -> int:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    keys: list[PublicClientKey] = in_house(data_dir, work)
    views = [{"kid": key.kid, "suite": key.suite, "not_after": key.not_after} for key in keys]

    def text(out: Console) -> None:
        rows = [(key.suite, key.kid, key.not_after.date()) for key in keys]
        out.print(table(("suite", "kid", "published until"), rows))

    emit(views, text, as_json=as_json)
    return OK
