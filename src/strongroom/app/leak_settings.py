"""The table `[leak_reports]`: whose signed reports of leaked keys are believed."""

from __future__ import annotations

import msgspec


class LeakReports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`github_keys_file` holds the public keys that GitHub publishes for secret scanning.

    The file is put there by an operator: keys that vouch for reports are never fetched by us.
    """

    github_keys_file: str | None = None
