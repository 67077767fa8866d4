"""Limits of the sandbox gateway, each with its reason."""

from __future__ import annotations

from typing import Final

BODY_BYTES_MAX: Final = 64 * 1024
"""A charge is about 500 bytes; nothing sent to a card gateway is near this."""

HEAD_BYTES_MAX: Final = 16 * 1024
"""What common servers allow for the request line and all header fields together."""

PIPELINE_MAX: Final = 32
"""Requests one connection may have waiting behind a slow one before reading stops."""

REQUEST_TIMEOUT_S: Final = 30.0
"""A request must have arrived whole by then, so that slow senders do not keep connections."""

IDLE_TIMEOUT_S: Final = 120.0
"""Longer than a client keeps idle connections, so that the client closes first."""

DRAIN_TIMEOUT_S: Final = 5.0
"""How long a stop waits for answers under way."""

ROWS_MAX: Final = 2_000_000
"""Operations kept, newest first: about 250 bytes each with their indexes, and
more than a long load test makes."""

DUPLICATES_MAX: Final = 1_000
"""One duplicate already fails a test; a thousand names are enough to find out why."""

ARMED_FAULTS_MAX: Final = 100
"""Armed faults waiting for their calls."""

HUGE_BYTES: Final = 10 * 1024 * 1024
"""Size of the `huge` fault's answer unless given."""

HUGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest answer a fault may ask for: it is built in memory."""

FAULT_MS_MAX: Final = 300_000
"""The longest a fault may wait: five minutes is beyond every client's patience."""

EVENTS_QUEUED_MAX: Final = 10_000
"""Events waiting to be delivered, about 1.5 kB each; what comes on top is dropped and counted."""

EVENTS_KEPT_MAX: Final = 1_000
"""Newest events that `/control/events` can show."""

WEBHOOK_SENDERS: Final = 8
"""Deliveries at once: a receiver that commits in 5 ms then takes 1,600 events/s."""

WEBHOOK_TIMEOUT_S: Final = 10.0
"""How long one delivery may take."""

WEBHOOK_RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between the tries of one delivery; short, because it is a sandbox."""

REORDER_HOLD_S: Final = 1.0
"""How long the `reorder_webhook` fault holds events back, so that later ones overtake them."""

LEDGER_LIMIT_MAX: Final = 10_000
"""Operations in one answer of `/control/ledger`."""
