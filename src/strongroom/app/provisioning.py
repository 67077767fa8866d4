"""Prepares what a first start needs: schema, a merchant, its keys; a short-lived process.

In test mode the keys of the demo merchant are kept in a 0600 file of the data directory, so that
`strongroom up` can tell them again. Live mode never does this.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from strongroom.app import credentials
from strongroom.app.ceremonies import record_ceremonies
from strongroom.app.compose import House
from strongroom.app.credentials import Credentials
from strongroom.app.handout import CallingRole, hand_out
from strongroom.app.initialize import prepare
from strongroom.app.lifeline import hold_on
from strongroom.app.settings import Settings, load, role_dir, write_private
from strongroom.identity import Identity, KeyKind, KeySpec
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import harden_process

_ACTOR = "system:provisioning"
_JOIN_MINUTES = 10
"""The processes that join are started next."""


async def provision(
    settings: Settings, *, vault: str | None = None, authority: str | None = None
) -> None:
    """Migrate, and in test mode make the demo merchant and its keys once.

    With the addresses of a vault in a process of its own, what each role needs is written.
    """
    await prepare(settings)
    demo = settings.mode == "test" and credentials.read(settings.data_dir) is None
    if not demo and vault is None:
        return
    async with House(settings) as house:
        if demo:
            made = await _credentials(house.identity)
            write_private(settings.path(credentials.FILE), msgspec.json.encode(made).decode())
        if vault is not None and authority is not None:
            await _split(house, vault, authority)


async def _split(house: House, vault: str, authority: str) -> None:
    """Give each role besides the vault a directory of its own, with a join token."""
    roles: tuple[CallingRole, ...] = ("api", "worker")
    for role in roles:
        await hand_out(
            house,
            role,
            role_dir(house.settings.data_dir, role),
            vault=vault,
            authority=authority,
            actor=_ACTOR,
            minutes=_JOIN_MINUTES,
        )


async def _credentials(identity: Identity) -> Credentials:
    merchant = (await identity.create_merchant("Demo merchant", actor=_ACTOR)).id

    async def key(kind: KeyKind, role: str, *, of: str | None) -> str:
        spec = KeySpec(merchant=of, kind=kind, role=role, owner="demo")
        _, secret = await identity.create_key(spec, actor=_ACTOR)
        return secret.reveal()

    return Credentials(
        merchant=merchant,
        api_key=await key(KeyKind.SECRET, "merchant-backend", of=merchant),
        publishable_key=await key(KeyKind.PUBLISHABLE, "merchant-publishable", of=merchant),
        operator_read_key=await key(KeyKind.RESTRICTED, "operator-read", of=None),
        operator_admin_key=await key(KeyKind.RESTRICTED, "operator-admin", of=None),
    )


def main(arguments: list[str]) -> int:
    """Entry point of the supervisor's first child."""
    parser = argparse.ArgumentParser(prog="strongroom.app.provisioning")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--split-vault", help="HOST:PORT of the vault's own process")
    parser.add_argument("--split-authority", help="HOST:PORT where it gives certificates")
    options = parser.parse_args(arguments)
    hold_on(options.lifeline)
    harden_process()
    try:
        settings = load(options.data_dir)
        asyncio.run(
            provision(settings, vault=options.split_vault, authority=options.split_authority)
        )
        asyncio.run(record_ceremonies(settings))
    except StrongroomError as error:
        sys.stderr.write(f"strongroom: {error.public} ({error.code}) {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
