"""Every bound of callers, their credentials and the edge, each with its reason."""

from __future__ import annotations

REPLAY_VALUE_MAX_BYTES = 4_096
"""Longest value that may be used once: a whole signed assertion is about 1 kB."""

REPLAY_LIFETIME_MAX_S = 7 * 24 * 3600
"""Longest time a use is remembered: nonces and proofs live minutes, nothing lives a week."""

REPLAY_KEPT_AFTER_S = 600
"""Uses are kept beyond their expiry: clocks of processes may differ, and steps back happen."""

REPLAY_PURGE_MAX = 20_000
"""Expired uses deleted in one round: a tenth of a second of work, at most."""
