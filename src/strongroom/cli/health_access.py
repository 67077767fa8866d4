"""What `doctor` asks about emergencies and reviews of access."""

from __future__ import annotations

from strongroom.app import House
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
