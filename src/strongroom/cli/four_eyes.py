"""What commands ask before they do what one person must not do alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.kernel.limits import APPROVERS

if TYPE_CHECKING:
    from strongroom.access import Value
    from strongroom.access.approvals import Parameter
    from strongroom.app import House
    from strongroom.cli.installation import Permit
    from strongroom.identity import Principal

Approval = Annotated[
    str | None,
    typer.Option("--approval", help="apr_… of `access-approvals`, where another must approve."),
]


def approved(
    action: str,
    *,
    merchant: str | None,
    resource: str,
    parameters: Mapping[str, Parameter],
    context: Mapping[str, Value],
    approval: str | None,
) -> Permit:
    """Return what lets a command pass, alone or with another person's approval."""

    async def permit(house: House, who: Principal) -> None:
        from strongroom.access.approvals import Deed

        deed = Deed(
            action=action,
            merchant=merchant,
            resource=resource,
            parameters=parameters,
            context=context,
        )
        await house.approvals.guard(deed, principal=who, approval=approval)

    return permit


def by_custodians(action: str, *, merchant: str, approval: str | None) -> Permit:
    """Return what lets a command pass that custodians approve: its desk redeems what they signed.

    In live mode the desk refuses whatever they did not, so that policies may take them for granted.
    """

    async def permit(house: House, who: Principal) -> None:
        signed = approval is not None or who.mode == "live"
        context: dict[str, Value] = {"approvals": APPROVERS} if signed else {}
        house.authorizer.check(who, action=action, merchant=merchant, context=context)

    return permit
