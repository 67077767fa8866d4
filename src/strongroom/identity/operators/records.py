"""The SQL of operators, and nobody else's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from strongroom.identity.operators.model import (
    Account,
    Asserted,
    OperatorRole,
    OperatorView,
    Passkey,
    Status,
)
from strongroom.kernel.ids import NIL_UUID, id_from, new_uuid7, uuid_of
from strongroom.storage import Change, Claim, Database, Guard, Insert, Update

_WHEN = "timestamptz"
_BEFORE = timedelta(seconds=1)
"""Sessions and factors count when they are newer than their account's marks; new ones are."""

OPERATOR = Claim(
    "iam.operator",
    {
        "operator_id": "uuid",
        "login": "text",
        "skeleton": "text",
        "name": "text",
        "role": "text",
        "status": "text",
        "created_at": _WHEN,
        "created_by": "text",
        "sessions_from": _WHEN,
        "factors_from": _WHEN,
        "invite_hash": "bytea",
        "invite_until": _WHEN,
        "version": "int4",
    },
    key=("skeleton",),
    id_column="operator_id",
)
_STATE = {"status": "text", "invite_hash": "bytea", "invite_until": _WHEN}
_CUT = {**_STATE, "sessions_from": _WHEN, "factors_from": _WHEN}
_OF = {"operator_id": "uuid"}
CUT_OFF = Guard("iam.operator", keys=_OF, sets=_CUT)
ROLE = Guard("iam.operator", keys=_OF, sets={"role": "text", "sessions_from": _WHEN})
SESSIONS = Guard("iam.operator", keys=_OF, sets={"sessions_from": _WHEN})
INVITED = Guard("iam.operator", keys=_OF, sets=_STATE)
KEPT = Guard("iam.operator", keys=_OF, sets={"status": "text"})
ENROLLED = Guard("iam.operator", keys=_OF, sets=_CUT)
ENROLLED_WITH_CODES = Guard(
    "iam.operator",
    keys=_OF,
    sets={**_CUT, "one_time_sealed": "bytea", "one_time_at": _WHEN},
)
USE = Insert("iam.operator_use", {"operator_id": "uuid", "seen_at": _WHEN})
SEEN = Update("iam.operator_use", keys=_OF, sets={"seen_at": _WHEN})
PASSKEY = Claim(
    "iam.operator_passkey",
    {
        "id": "uuid",
        "operator_id": "uuid",
        "credential_id": "bytea",
        "public_key": "bytea",
        "name": "text",
        "sign_count": "int8",
        "backup_eligible": "bool",
        "backed_up": "bool",
        "aaguid": "text",
        "created_at": _WHEN,
        "version": "int4",
    },
    key=("credential_id",),
    id_column="id",
)
PASSKEY_USED = Guard(
    "iam.operator_passkey",
    keys={"id": "uuid"},
    sets={"sign_count": "int8", "backed_up": "bool", "used_at": _WHEN},
)
PASSKEY_ENDED = Guard(
    "iam.operator_passkey",
    keys={"id": "uuid"},
    sets={"ended_at": _WHEN, "ended_reason": "text"},
)
PASSWORD = Insert(
    "iam.operator_password",
    {"operator_id": "uuid", "id": "uuid", "hash": "text", "set_at": _WHEN},
)
LINK_ENDED = Update("iam.oidc_link", keys={"id": "uuid"}, sets={"ended_at": _WHEN})
KEY_REVOKED = Update(
    "iam.api_key", keys={"merchant_id": "uuid", "id": "uuid"}, sets={"revoked_at": _WHEN}
)

_ACCOUNT = """
SELECT o.operator_id, o.login, o.name, o.role, o.status, o.created_at, o.created_by, u.seen_at,
       o.sessions_from, o.factors_from, o.invite_until, o.version,
       CASE WHEN o.one_time_at > o.factors_from THEN o.one_time_sealed END AS one_time,
       (SELECT p.hash FROM iam.operator_password p WHERE p.operator_id = o.operator_id
        AND p.set_at > o.factors_from ORDER BY p.id DESC LIMIT 1) AS password,
       (SELECT count(*) FROM iam.operator_passkey k WHERE k.operator_id = o.operator_id
        AND k.ended_at IS NULL AND k.created_at > o.factors_from) AS passkeys
FROM iam.operator o LEFT JOIN iam.operator_use u ON u.operator_id = o.operator_id """
_PASSKEY = """
SELECT k.id, k.operator_id, k.credential_id, k.public_key, k.name, k.sign_count,
       k.backup_eligible, k.backed_up, k.aaguid, k.created_at, k.used_at, k.ended_at,
       k.ended_reason, k.version
FROM iam.operator_passkey k JOIN iam.operator o ON o.operator_id = k.operator_id
WHERE k.created_at > o.factors_from AND """
_KEYS_OF = """
SELECT id, owner, created_by FROM iam.api_key
WHERE merchant_id = $1 AND revoked_at IS NULL AND role = ANY ($2::text[])
"""


def operator_id(uuid: UUID) -> str:
    """Return an account's outside name."""
    return id_from("opr", uuid)


# --- accounts ---


def add_operator(
    change: Change,
    account: OperatorView,
    *,
    skeleton: str,
    invite: bytes,
    until: datetime,
) -> None:
    """Claim a login for a new account that was invited."""
    at = account.created_at
    change.add(
        OPERATOR,
        (
            uuid_of(account.id, "opr"),
            account.login,
            skeleton,
            account.name,
            account.role,
            account.status,
            at,
            account.created_by,
            at - _BEFORE,
            at - _BEFORE,
            invite,
            until,
            1,
        ),
    )
    change.add(USE, (uuid_of(account.id, "opr"), account.seen_at))


async def account(database: Database, uuid: UUID) -> Account | None:
    """Return an account."""
    row = await database.fetchrow(_ACCOUNT + "WHERE o.operator_id = $1", uuid)
    return None if row is None else _account(row)


async def account_by_login(database: Database, login: str) -> Account | None:
    """Return the account with a login."""
    row = await database.fetchrow(_ACCOUNT + "WHERE o.login = $1", login)
    return None if row is None else _account(row)


async def account_by_invitation(database: Database, digest: bytes) -> Account | None:
    """Return the account that an unused invitation is for."""
    row = await database.fetchrow(_ACCOUNT + "WHERE o.invite_hash = $1", digest)
    return None if row is None else _account(row)


async def accounts(database: Database, *, after: UUID, limit: int) -> list[Account]:
    """Return accounts, oldest first."""
    rows = await database.fetch(
        _ACCOUNT + "WHERE o.operator_id > $1 ORDER BY o.operator_id LIMIT $2", after, limit
    )
    return [_account(row) for row in rows]


async def idle(database: Database, *, since: datetime, limit: int) -> list[Account]:
    """Return active accounts that nobody used since a moment."""
    rows = await database.fetch(
        _ACCOUNT + "WHERE o.status = 'active' AND coalesce(u.seen_at, o.created_at) <= $1 "
        "ORDER BY o.operator_id LIMIT $2",
        since,
        limit,
    )
    return [_account(row) for row in rows]


async def other_admins(database: Database, uuid: UUID) -> int:
    """Return how many other accounts can administer now."""
    return int(
        await database.fetchval(
            "SELECT count(*) FROM iam.operator WHERE role = 'operator-admin' "
            "AND status = 'active' AND operator_id <> $1",
            uuid,
        )
    )


async def count(database: Database) -> int:
    """Return how many accounts there are, former ones too."""
    return int(await database.fetchval("SELECT count(*) FROM iam.operator"))


async def operator_keys(database: Database, *roles: OperatorRole) -> list[tuple[UUID, str, str]]:
    """Return every API key with these roles that is not revoked: id, owner, who made it."""
    rows = await database.fetch(_KEYS_OF, NIL_UUID, list(roles))
    return [(row["id"], row["owner"], row["created_by"]) for row in rows]


def revoke_key(change: Change, key: UUID, *, at: datetime) -> None:
    """Add the end of an operator's API key to a Change."""
    change.add(KEY_REVOKED, (NIL_UUID, key, at))


def cut_off(
    change: Change,
    account: Account,
    status: Status,
    *,
    at: datetime,
    invite: bytes | None = None,
    until: datetime | None = None,
) -> None:
    """End an account's sessions and factors in one guarded step and give it another status."""
    change.add(CUT_OFF, (account.uuid, account.version, status, invite, until, at, at))


def set_role(change: Change, account: Account, role: OperatorRole, *, at: datetime) -> None:
    """Give an account another role; its sessions end, because they were made for the old one."""
    change.add(ROLE, (account.uuid, account.version, role, at))


def end_sessions(change: Change, account: Account, *, at: datetime) -> None:
    """End every session of an account."""
    change.add(SESSIONS, (account.uuid, account.version, at))


def set_invitation(change: Change, account: Account, invite: bytes, *, until: datetime) -> None:
    """Give an account that waits for its person another invitation."""
    change.add(INVITED, (account.uuid, account.version, account.view.status, invite, until))


def keep(change: Change, account: Account) -> None:
    """Let a Change count only while an account is as it was read."""
    change.add(KEPT, (account.uuid, account.version, account.view.status))


def set_enrolled(change: Change, account: Account, *, at: datetime) -> None:
    """Use up the invitation: the account is its person's, and nothing of before counts."""
    change.add(ENROLLED, _enrolled(account, at))


def set_enrolled_with_codes(
    change: Change, account: Account, sealed: bytes, *, at: datetime
) -> None:
    """Use up the invitation, with a secret of one-time codes; or give an account a new secret."""
    change.add(ENROLLED_WITH_CODES, (*_enrolled(account, at), sealed, at))


def _enrolled(account: Account, at: datetime) -> tuple[object, ...]:
    """Return an account's row from now on; a sign-in that was under way does not outlive it."""
    marks = (account.sessions_from, account.factors_from)
    return (
        account.uuid,
        account.version,
        "active",
        None,
        None,
        *(max(mark, at - _BEFORE) for mark in marks),
    )


def set_seen(change: Change, operator: UUID, *, at: datetime) -> None:
    """Note that a person signed in."""
    change.add(SEEN, (operator, at))


# --- identities at a provider ---


async def open_links(database: Database, operator: UUID) -> list[UUID]:
    """Return an account's links to a provider's identities."""
    rows = await database.fetch(
        "SELECT id FROM iam.oidc_link WHERE operator_id = $1 AND ended_at IS NULL", operator
    )
    return [row["id"] for row in rows]


def end_links(change: Change, links: list[UUID], *, at: datetime) -> None:
    """Add the end of links to a Change."""
    for link in links:
        change.add(LINK_ENDED, (link, at))


# --- passkeys and passwords ---


def add_passkey(change: Change, passkey: Passkey) -> None:
    """Claim a credential for one person."""
    change.add(
        PASSKEY,
        (
            passkey.id,
            passkey.operator_id,
            passkey.credential_id,
            passkey.public_key,
            passkey.name,
            passkey.sign_count,
            passkey.backup_eligible,
            passkey.backed_up,
            passkey.aaguid,
            passkey.created_at,
            1,
        ),
    )


async def passkey_by_credential(database: Database, credential: bytes) -> Passkey | None:
    """Return the passkey with a credential id, ended ones too."""
    row = await database.fetchrow(_PASSKEY + "k.credential_id = $1", credential)
    return None if row is None else Passkey(**dict(row))


async def passkeys_of(database: Database, operator: UUID) -> list[Passkey]:
    """Return a person's passkeys since their last enrollment."""
    rows = await database.fetch(_PASSKEY + "k.operator_id = $1 ORDER BY k.id", operator)
    return [Passkey(**dict(row)) for row in rows]


def set_used(change: Change, passkey: Passkey, asserted: Asserted, *, at: datetime) -> None:
    """Note a passkey's use, guarded by its version: a counter is compared with the last one."""
    row = (passkey.id, passkey.version, asserted.sign_count, asserted.backed_up, at)
    change.add(PASSKEY_USED, row)


def end_passkey(change: Change, passkey: Passkey, reason: str, *, at: datetime) -> None:
    """End a passkey for good."""
    change.add(PASSKEY_ENDED, (passkey.id, passkey.version, at, reason))


def add_password(change: Change, operator: UUID, stored: str, *, at: datetime) -> None:
    """Add a person's newest password to a Change."""
    change.add(PASSWORD, (operator, new_uuid7(), stored, at))


async def passwords(database: Database, operator: UUID, *, limit: int) -> list[str]:
    """Return a person's last passwords, newest first."""
    rows = await database.fetch(
        "SELECT hash FROM iam.operator_password WHERE operator_id = $1 ORDER BY id DESC LIMIT $2",
        operator,
        limit,
    )
    return [row["hash"] for row in rows]


def _account(row: Any) -> Account:
    uuid = row["operator_id"]
    return Account(
        view=OperatorView(
            id=operator_id(uuid),
            login=row["login"],
            name=row["name"],
            role=row["role"],
            status=row["status"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            seen_at=row["seen_at"],
            passkeys=row["passkeys"],
            has_password=row["password"] is not None,
        ),
        uuid=uuid,
        sessions_from=row["sessions_from"],
        factors_from=row["factors_from"],
        invite_until=row["invite_until"],
        one_time=row["one_time"],
        password=row["password"],
        version=row["version"],
    )
