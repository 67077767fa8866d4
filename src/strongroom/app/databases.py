"""Where each database role connects: the embedded PostgreSQL or the given URLs."""

from __future__ import annotations

from strongroom.app.settings import Settings
from strongroom.kernel.errors import StrongroomError
from strongroom.storage import Target
from strongroom.storage.embedded import EmbeddedPostgres


def target(settings: Settings, role: str) -> Target:
    """Return where and as whom a role connects.

    With only STRONGROOM_DATABASE_URL given, the other roles are taken with SET ROLE at session
    start; a URL of their own makes the separation hold against a stolen connection too.
    """
    if settings.embedded:
        return EmbeddedPostgres(settings.data_dir).target(role)
    own = settings.database_urls.get(role)
    if own is not None:
        return Target(url=own)
    owner = settings.database_urls.get("strongroom_owner")
    if owner is None:
        raise StrongroomError(
            "settings_invalid",
            f"This process has no login for the database role {role}; see "
            "docs/operations/split-vault.md for which role of process has which.",
        )
    return Target(url=owner, role=role)
