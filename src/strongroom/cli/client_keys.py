"""What `keys rotate client` and `keys compromise cek_…` do: keys to which clients encrypt cards."""

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
