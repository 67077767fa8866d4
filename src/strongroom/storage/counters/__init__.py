"""Counters that all processes share: rates and quotas, exact, in PostgreSQL or in Valkey.

Both do the same arithmetic (`model.decide`) and pass the same contract test. `Leases` spares the
hot path a round trip: a process takes a few units ahead while plenty are left, one by one near the
limit, and gives back what it does not use.
"""

from strongroom.storage.counters.leases import Leases, Spent
from strongroom.storage.counters.local import LocalCounters
from strongroom.storage.counters.model import Ask, Counters, Grant, Rule
from strongroom.storage.counters.postgres import PostgresCounters

__all__ = [
    "Ask",
    "Counters",
    "Grant",
    "Leases",
    "LocalCounters",
    "PostgresCounters",
    "Rule",
    "Spent",
]
