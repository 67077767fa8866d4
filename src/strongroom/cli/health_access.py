"""What `doctor` asks about emergencies and reviews of access."""

from __future__ import annotations

from datetime import datetime

from strongroom.app import House
from strongroom.app.four_eyes import open_reviews
from strongroom.cli.model import Finding, fail, ok, warn


async def emergencies(house: House) -> Finding:
    """Check that emergency access was looked at by somebody else in time."""
    overdue = await house.break_glass.overdue()
    if overdue:
        named = ", ".join(found.id for found in overdue[:5])
        return fail("break glass", f"not reviewed: {named}", "See strongroom break-glass list.")
    waiting, running = await house.break_glass.unreviewed(), await house.break_glass.running()
    if waiting or running:
        told = f"{running} open, {waiting} to be reviewed"
        return warn("break glass", told, "See strongroom break-glass list.")
    return ok("break glass", "no emergency is open or waits for a review")


async def review(house: House, *, since: datetime) -> Finding:
    """Check that every right was looked at within half a year (PCI DSS 7.2.4)."""
    late = await open_reviews(house).days_late(since=since)
    if late:
        return fail("access review", f"{late} days late", "Run: strongroom access-reviews start")
    return ok("access review", "not due")
