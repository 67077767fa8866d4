"""The SQL of rotation jobs. Leases run by the database's clock, which all processes share."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.keys.rotation.model import Job
from strongroom.storage import Change, Claim, Database, Guard

JOB = Claim(
    "keys.rotation_job",
    {
        "id": "uuid",
        "level": "text",
        "owner": "uuid",
        "open_target": "text",
        "state": "text",
        "reason": "text",
        "rate": "int4",
        "phase": "text",
        "total": "int8",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    key=("open_target",),
    id_column="id",
)
TURN = Guard(
    "keys.rotation_job",
    keys={"id": "uuid"},
    sets={
        "state": "text",
        "open_target": "text",
        "updated_at": "timestamptz",
        "lease_owner": "uuid",
        "lease_until": "timestamptz",
    },
)
_COLUMNS = (
    "id, level, owner, state, reason, rate, phase, place, total, done, created_at, updated_at, "
    "problem, version, coalesce(lease_until > now(), false) AS leased"
)


def add(change: Change, job: Job) -> None:
    """Claim the place of a new job: one open job for each target."""
    row = (job.id, job.level, job.owner, job.target, job.state, job.reason, job.rate, job.phase)
    change.add(JOB, (*row, job.total, job.created_at, job.updated_at))


def turn(change: Change, job: Job, *, state: str, at: datetime) -> None:
    """Change a job's state, if nobody changed it meanwhile; its lease ends."""
    target = None if state in ("done", "canceled") else job.target
    change.add(TURN, (job.id, job.version, state, target, at, None, None))


async def find(database: Database, job: UUID) -> Job | None:
    """Return a job."""
    row = await database.fetchrow(f"SELECT {_COLUMNS} FROM keys.rotation_job WHERE id = $1", job)  # noqa: S608 (our own columns)
    return None if row is None else _job(row)


async def open_for(database: Database, target: str) -> Job | None:
    """Return the open job of a target."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS} FROM keys.rotation_job WHERE open_target = $1",  # noqa: S608 (our own columns)
        target,
    )
    return None if row is None else _job(row)


async def newest(database: Database, *, limit: int) -> list[Job]:
    """Return jobs, open ones first, then the newest."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM keys.rotation_job "  # noqa: S608 (our own columns)
        "ORDER BY (open_target IS NULL), created_at DESC LIMIT $1",
        limit,
    )
    return [_job(row) for row in rows]


async def count_open(database: Database) -> tuple[int, int, int]:
    """Return how many jobs are open, and what they have done and have to do."""
    row: Any = await database.fetchrow(
        "SELECT count(*), coalesce(sum(done), 0)::bigint, coalesce(sum(total), 0)::bigint "
        "FROM keys.rotation_job WHERE open_target IS NOT NULL"
    )
    return row[0], row[1], row[2]


async def take(
    database: Database, owner: UUID, *, root: str, lease_s: float, job: UUID | None = None
) -> Job | None:
    """Lease an open job that nobody works on, the oldest first; None when there is none.

    Keys move to a new root only where that root is the one in use: a process that still runs with
    the former one leaves the job alone.
    """
    row = await database.fetchrow(
        "UPDATE keys.rotation_job SET lease_owner = $1, "  # noqa: S608 (our own columns)
        "lease_until = now() + make_interval(secs => $2) WHERE id = (SELECT id "
        "FROM keys.rotation_job WHERE open_target IS NOT NULL AND state = 'open' "
        "AND (lease_until IS NULL OR lease_until < now()) AND ($3::uuid IS NULL OR id = $3) "
        "AND (level <> 'root' OR phase = $4) "
        f"ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
        owner,
        lease_s,
        job,
        root,
    )
    return None if row is None else _job(row)


async def advance(
    database: Database,
    job: UUID,
    owner: UUID,
    *,
    phase: str,
    place: bytes | None,
    done: int,
    problem: str | None,
    lease_s: float,
) -> bool:
    """Note how far a job came and keep its lease; False when it is no longer ours to work on."""
    return bool(
        await database.fetchval(
            "UPDATE keys.rotation_job SET phase = $3, place = $4, done = $5, problem = $6, "
            "updated_at = now(), lease_until = now() + make_interval(secs => $7) "
            "WHERE id = $1 AND lease_owner = $2 AND state = 'open' RETURNING true",
            job,
            owner,
            phase,
            place,
            done,
            problem,
            lease_s,
        )
    )


async def set_total(database: Database, job: UUID, total: int) -> None:
    """Note how much a job has to do."""
    await database.execute("UPDATE keys.rotation_job SET total = $2 WHERE id = $1", job, total)


async def let_go(database: Database, job: UUID, owner: UUID) -> None:
    """Give a lease back, so that another process may go on at once."""
    await database.execute(
        "UPDATE keys.rotation_job SET lease_owner = NULL, lease_until = NULL "
        "WHERE id = $1 AND lease_owner = $2",
        job,
        owner,
    )


async def overdue(database: Database, table: str, before: datetime, *, limit: int) -> list[UUID]:
    """Return merchants whose active key was made before a time and has no job yet."""
    level = {"keys.dek": "dek", "keys.index_key": "index"}[table]
    rows = await database.fetch(
        f"SELECT t.merchant_id FROM {table} t WHERE t.state = 'active' AND t.created_at < $1 "  # noqa: S608 (our own table)
        "AND NOT EXISTS (SELECT 1 FROM keys.rotation_job j WHERE j.open_target IN "
        "($2, $2 || ':' || t.merchant_id::text)) ORDER BY t.created_at LIMIT $3",
        before,
        level,
        limit,
    )
    return [row["merchant_id"] for row in rows]


def _job(row: Any) -> Job:
    return Job(**dict(row))
