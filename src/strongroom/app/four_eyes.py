"""Opens four eyes, emergencies and reviews of access over identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom.access.approvals import Approvals
from strongroom.access.break_glass import BreakGlass
from strongroom.access.reviews import Reviews
from strongroom.app.elsewhere import RemoteHasher
from strongroom.app.people import HousePeople
from strongroom.app.review_sources import Rights

if TYPE_CHECKING:
    from strongroom.app.compose import House


def open_reviews(house: House) -> Reviews:
    """Open reviews of access over every right that there is."""
    people = HousePeople(house.identity, house.operators)
    rights = Rights(
        house.identity,
        house.operators,
        people,
        signing_keys=house.signed.keys,
        clients=house.oauth.clients,
        workloads=house.workloads,
    )
    return Reviews(
        house.database,
        house.committer,
        authorizer=house.authorizer,
        people=people,
        listing=rights.listing,
        revoke=rights.revoke,
        clock=house.clock,
    )


def open_approvals(house: House) -> tuple[Approvals, BreakGlass]:
    """Open requests for approval and emergencies over the house's storage and policies."""
    common: dict[str, Any] = {
        "authorizer": house.authorizer,
        "people": HousePeople(house.identity, house.operators),
        "seal": (
            house.keyring.api_key_hasher()
            if house.has_keys
            else RemoteHasher(house.desk, clock=house.clock)
        ),
        "clock": house.clock,
    }
    approvals = Approvals(
        house.database,
        house.committer,
        refunds_alone_up_to=house.settings.four_eyes.refunds_alone_up_to,
        **common,
    )
    house.operators.accounts.on_leave.append(approvals.withdraw)
    break_glass = BreakGlass(house.database, house.committer, **common)
    watch = house.metrics.watch
    watch("approvals_waiting", "Requests that wait for another person.", approvals.waiting)
    watch("break_glass_open", "Emergencies that are open.", break_glass.running)
    watch(
        "break_glass_unreviewed",
        "Emergencies that are over and wait for a review.",
        break_glass.unreviewed,
    )
    return approvals, break_glass
