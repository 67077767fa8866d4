"""The PostgreSQL engine: connections, group commit, migrations, data map, embedded server."""

from strongroom.storage.change import (
    Add,
    Bulk,
    Change,
    Claim,
    ConstraintViolated,
    Guard,
    Insert,
    Spend,
    Update,
    Verdict,
)
from strongroom.storage.committer import Committer
from strongroom.storage.database import Database, Session, Target
from strongroom.storage.where import Column, where

__all__ = [
    "Add",
    "Bulk",
    "Change",
    "Claim",
    "Column",
    "Committer",
    "ConstraintViolated",
    "Database",
    "Guard",
    "Insert",
    "Session",
    "Spend",
    "Target",
    "Update",
    "Verdict",
    "where",
]
