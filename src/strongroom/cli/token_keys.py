"""What `keys rotate token` and `keys compromise svk_…` do: the key that signs access tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli.command import OK

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House
    from strongroom.keys import PublicTokenKey


def may_be_token_key(key: str) -> bool:
    """Return whether a key's outside name is that of a key of the installation."""
    return key.startswith("svk_")


def rotate(data_dir: Path, *, approval: str | None, as_json: bool) -> int:
    """Sign access tokens with a new key at once; tokens of the former one are good to their end."""

    async def work(house: House, actor: str) -> list[PublicTokenKey]:
        await house.keyring.dual_control.redeem(
            "keys:generate", {"level": "token"}, approval=approval, requester=actor
        )
        return await house.keyring.token_keys.rotate(actor=actor)

    return _told(data_dir, work, as_json=as_json)


def compromise(data_dir: Path, *, key: str, approval: str | None, as_json: bool) -> int:
    """Take the key of access tokens out of use at once, and its tokens with it."""

    async def work(house: House, actor: str) -> list[PublicTokenKey]:
        if not await house.keyring.token_keys.is_one(key):
            await house.rotation.compromise(key, actor=actor)  # says why such a key cannot be
        await house.keyring.dual_control.redeem(
            "keys:compromise", {"key": key}, approval=approval, requester=actor
        )
        return await house.keyring.token_keys.compromise(key, actor=actor)

    return _told(data_dir, work, as_json=as_json)


def _told(data_dir: Path, work: Any, *, as_json: bool) -> int:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    keys: list[PublicTokenKey] = in_house(data_dir, work)
    views = [{"kid": key.kid, "signs": key.signs, "until": key.until} for key in keys]

    def text(out: Console) -> None:
        rows = [(key.kid, "signs" if key.signs else "verifies", key.until) for key in keys]
        out.print(table(("kid", "does", "until"), rows))

    emit(views, text, as_json=as_json)
    return OK
