"""The settings table `[workload]`: where a process's certificate comes from."""

from __future__ import annotations

import socket
from typing import Annotated, Literal

import msgspec

from strongroom.kernel.edge_limits import SVID_LIFE_MAX_S, SVID_LIFE_MIN_S, SVID_LIFE_S
from strongroom.kernel.errors import StrongroomError

Life = Annotated[float, msgspec.Meta(ge=SVID_LIFE_MIN_S, le=SVID_LIFE_MAX_S)]
Domain = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._-]{1,255}$")]


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where certificates come from.

    `embedded`: from this installation's own authority. The vault's process gives them at `listen`
    for `life_s` seconds; the others ask at `authority`, first with the token in `token_file`.
    `spire`: from a SPIFFE Workload API at `spire_socket`, for the trust domain `trust_domain`.
    """

    source: Literal["embedded", "spire"] = "embedded"
    listen: str | None = None
    authority: str | None = None
    token_file: str = "join.token"  # noqa: S105 - the name of a file
    life_s: Life = SVID_LIFE_S
    spire_socket: str = "unix:///tmp/spire-agent/public/api.sock"
    trust_domain: Domain | None = None


def joining_socket(address: str) -> socket.socket:
    """Return the listening socket where certificates are given.

    Raises:
        StrongroomError: `start_failed`.
    """
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), backlog=128)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not HOST:PORT"
        raise StrongroomError(
            "start_failed", f"{address} of [workload] listen cannot be used: {why}."
        ) from None
