"""Opens an installation for a command, beside the running service or without it.

When the embedded PostgreSQL does not run it is started for the command and stopped afterwards;
when another process supervises it, it is used as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from strongroom.cli.command import authorize, operator, running
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app import House, Settings
    from strongroom.identity import Principal
    from strongroom.storage import Database

T = TypeVar("T")
Permit = Callable[["House", "Principal"], Awaitable[None]]


def in_house(
    data_dir: Path,
    work: Callable[[House, str], Awaitable[T]],
    *,
    merchant: str | None = None,
    permit: Permit | None = None,
) -> T:
    """Run `work(house, actor)` in the opened installation, if policies permit the command.

    Args:
        data_dir: the installation.
        work: what to do; `actor` is how journal entries name the person at this machine.
        merchant: the merchant the command is about; None for the installation itself.
        permit: asks the policies in the command's place, where four eyes may be needed.

    Raises:
        StrongroomError: `not_initialized`, `schema_behind`, `permission_denied`, or why it failed.
    """
    from strongroom.app import House, load
    from strongroom.keys import harden_process

    harden_process()
    settings = load(data_dir)

    async def run() -> T:
        await refuse_old_schema(settings)
        async with House(settings) as house:
            who = operator(settings.mode, merchant=merchant)
            if house.role != "vault":
                who = await house.break_glass.marked(who)
            if permit is None:
                authorize(settings.mode, merchant=merchant, authorizer=house.authorizer)
            else:
                await permit(house, who)
            if who.break_glass:
                await house.break_glass.acts(who, action=running(), merchant=merchant, request=None)
            return await work(house, who.id)

    with database_running(settings):
        return asyncio.run(run())


def as_owner(data_dir: Path, work: Callable[[Settings, Database], Awaitable[T]]) -> T:
    """Run `work(settings, database)` with the owner's connection, if policies permit it."""
    from strongroom.app import load

    settings = load(data_dir)
    authorize(settings.mode)

    async def run() -> T:
        async with owner(settings) as database:
            return await work(settings, database)

    with database_running(settings):
        return asyncio.run(run())


@contextmanager
def database_running(settings: Settings) -> Iterator[bool]:
    """Keep the database up for the block; yields whether it was started for it."""
    from strongroom.storage.embedded import EmbeddedPostgres

    if not settings.embedded:
        yield False
        return
    postgres = EmbeddedPostgres(settings.data_dir)
    try:
        postgres.start()
        started = True
    except StrongroomError as error:
        if error.code != "database_in_use":
            raise
        started = False
    try:
        yield started
    finally:
        postgres.stop()


@asynccontextmanager
async def owner(
    settings: Settings, *, as_role: str = "strongroom_owner"
) -> AsyncIterator[Database]:
    """Open the database as its owner, or as another role that only looks."""
    from strongroom.app import target
    from strongroom.storage import Database

    database = Database(target(settings, as_role), size=2)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def refuse_old_schema(settings: Settings) -> None:
    """Raise `schema_behind` unless every migration of this release was applied."""
    from strongroom.storage.migrate import pending

    async with owner(settings, as_role=settings.any_login) as database:
        missing = await pending(database)
    if missing:
        raise StrongroomError(
            "schema_behind",
            f"The database lacks {len(missing)} migrations of this release. "
            f"Run: strongroom migrate --data-dir {settings.data_dir}",
        )
