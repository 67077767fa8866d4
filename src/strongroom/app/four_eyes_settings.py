"""The `[four_eyes]` table of `strongroom.toml`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class FourEyesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where four eyes are demanded; always in live mode.

    `refunds_alone_up_to` is in minor units by currency, `*` for every other one.
    """

    in_test: bool = False
    refunds_alone_up_to: Mapping[str, int] = {}
