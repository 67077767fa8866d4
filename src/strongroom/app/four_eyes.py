"""Opens four eyes over identity and access."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.access.approvals import Approvals
from strongroom.app.elsewhere import RemoteHasher
from strongroom.app.people import HousePeople

if TYPE_CHECKING:
    from strongroom.app.compose import House


def open_approvals(house: House) -> Approvals:
    """Open the requests for approval over the house's storage, policies and callers."""
    seal = (
        house.keyring.api_key_hasher()
        if house.has_keys
        else RemoteHasher(house.desk, clock=house.clock)
    )
    approvals = Approvals(
        house.database,
        house.committer,
        authorizer=house.authorizer,
        people=HousePeople(house.identity, house.operators),
        seal=seal,
        clock=house.clock,
        refunds_alone_up_to=house.settings.four_eyes.refunds_alone_up_to,
    )
    house.operators.accounts.on_leave.append(approvals.withdraw)
    return approvals
