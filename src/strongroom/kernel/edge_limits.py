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

OUTBOUND_URL_MAX_CHARS = 2_048
"""Longest URL that is called; what every HTTP server takes."""

OUTBOUND_ADDRESSES_MAX = 32
"""Addresses behind one name: large services show eight; each is checked."""

OUTBOUND_CONNECTIONS_MAX = 64
"""Calls at once that one client makes; more would let a slow host hold the process's sockets."""

OUTBOUND_TIMEOUT_S = 10.0
"""How long one call may take, its name's resolution included."""

OUTBOUND_ANSWER_MAX_BYTES = 262_144
"""Largest answer that is read unless the caller says less: key sets and tokens are a few kB."""

OUTBOUND_BODY_MAX_BYTES = 262_144
"""Largest body that is sent: nothing that we send is larger."""

COUNTERS_KEPT = 20_000
"""Counters that one process remembers: more callers than it meets in a second."""

COUNTERS_TIMEOUT_S = 1.0
"""Longest wait for the shared counters; after it a process counts by itself."""

COUNTERS_AWAY_S = 2.0
"""How long a process counts by itself before it asks the shared counters again."""

COUNTERS_BATCH_MAX = 256
"""Counters asked for in one call: a few milliseconds of row locks."""

VALKEY_CONNECTIONS_MAX = 4
"""Connections of one process to Valkey: calls are short and share batches."""

LEASE_S = 1.0
"""How long units taken ahead are kept before the unused ones are given back."""
