"""Four eyes at the edge: what a handler asks before it does what one person must not do alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from strongroom.access import Value
from strongroom.access.approvals import Deed, Parameter
from strongroom.api.endpoint import Call
from strongroom.identity import Principal

APPROVAL_ERRORS = (
    "approval_required",
    "approval_not_found",
    "approval_mismatch",
    "approval_incomplete",
    "approval_rejected",
    "approval_expired",
    "approval_used",
)
"""What a route may answer whose callers may need an approval."""


async def approved(
    call: Call,
    *,
    action: str,
    resource: str,
    parameters: Mapping[str, Parameter],
    context: Mapping[str, Value],
    used_for: str = "",
) -> dict[str, Value]:
    """Return the context in which policies permit the call, using up the approval it names.

    Raises:
        StrongroomError: `approval_required`, or why the approval is not good for this.
    """
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    deed = Deed(
        action=action,
        merchant=call.owner,
        resource=resource,
        parameters=parameters,
        context=context,
        used_for=used_for,
        request=call.request,
    )
    granted = await call.services.approvals.guard(
        deed, principal=call.principal, approval=call.approval
    )
    call.granted = granted
    return granted


def judge(
    call: Call, *, resource: str, parameters: Mapping[str, Parameter]
) -> Callable[..., Awaitable[None]]:
    """Return what the vault asks before it shows anything; one call uses up one approval."""
    granted: list[dict[str, Value]] = []

    async def authorize(
        principal: Principal, *, action: str, merchant: str, context: Mapping[str, Value]
    ) -> None:
        if granted:  # the vault asks again when a budget was emptied meanwhile
            call.services.authorizer.check(
                principal, action=action, merchant=merchant, context=granted[0]
            )
            return
        found = await approved(
            call, action=action, resource=resource, parameters=parameters, context=context
        )
        granted.append(found)

    return authorize
