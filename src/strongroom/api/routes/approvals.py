"""Four eyes over HTTP: ask for another person's approval, look, decide."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from strongroom.access.approvals import Approval
from strongroom.api.endpoint import Call, Endpoint, Owner, Reply
from strongroom.api.model import ListAnswer
from strongroom.api.render import encode
from strongroom.api.wire import ID, Flag, Label, Reason, Wire, data, text
from strongroom.kernel import edge_limits
from strongroom.kernel.clock import rfc3339_ms
from strongroom.kernel.limits import BATCH_REVEAL_MAX, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX

_BODY_BYTES_MAX = 64 * 1024
ApprovalId = Annotated[str, data("internal", pattern=f"^apr_{ID}")]
_Name = Annotated[str, Meta(pattern="^[a-z_]{1,40}$")]
_Value = Annotated[str, Meta(pattern=text(0, 200))]
_Values = Annotated[list[_Value], Meta(max_length=BATCH_REVEAL_MAX)]
_Parameters = Annotated[
    dict[_Name, _Value | int | bool | None],
    data("confidential", max_length=10, description="Exactly what is to be done, by name."),
]
_Lists = Annotated[
    dict[_Name, _Values],
    data("confidential", max_length=4, description="The parameters that are lists of texts."),
]


class ApprovalBody(Wire, frozen=True, kw_only=True):
    """POST /v1/approvals: one action, as the request that carries it out will describe it."""

    action: Annotated[str, data("internal", pattern="^[a-z_]{1,31}:[a-z_]{1,32}$")]
    resource: Annotated[str, data("internal", pattern="^[A-Za-z0-9_:-]{1,100}$")]
    parameters: _Parameters
    lists: _Lists = field(default_factory=dict)
    reason: Reason
    ttl_s: Annotated[
        int,
        data("internal", ge=edge_limits.FOUR_EYES_TTL_MIN_S, le=edge_limits.FOUR_EYES_TTL_MAX_S),
    ] = edge_limits.FOUR_EYES_TTL_S


class ApprovalQuery(Wire, frozen=True, kw_only=True):
    """GET /v1/approvals."""

    state: Annotated[Literal["waiting", "all"], data("public")] = "all"
    limit: Annotated[int, data("public", ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    starting_after: ApprovalId | None = None


class ApprovalAnswer(Wire, frozen=True, kw_only=True):
    """A request for approval and where it stands."""

    id: Label
    object: Annotated[Literal["approval"], data("public")] = "approval"
    state: Annotated[Literal["open", "approved", "rejected", "expired", "used"], data("internal")]
    action: Label
    resource: Annotated[str, data("internal")]
    merchant: Annotated[str | None, data("internal")]
    parameters: _Parameters
    lists: _Lists
    action_sha256: Annotated[
        str, data("internal", description="What a step-up for the decision is made for, in hex.")
    ]
    requester: Annotated[str, data("internal")]
    reason: Annotated[str, data("confidential")]
    needed: Annotated[int, data("internal", description="How many others must approve.")]
    approved_by: Annotated[list[str], data("internal")]
    ended_by: Annotated[str | None, data("internal")]
    created: Annotated[str, data("internal", description="RFC 3339, UTC.")]
    expires: Annotated[str, data("internal", description="RFC 3339, UTC.")]
    livemode: Flag


async def request_approval(call: Call) -> Reply:
    """Ask another person to approve exactly one action."""
    body: ApprovalBody = call.body
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    made = await call.services.approvals.request(
        call.principal,
        action=body.action,
        merchant=call.owner,
        resource=body.resource,
        parameters={**body.parameters, **body.lists},
        reason=body.reason,
        ttl_s=body.ttl_s,
        request=call.request,
    )
    return Reply(201, encode(shown(made, live=call.live)))


async def list_approvals(call: Call) -> Reply:
    """Show requests, the newest first."""
    query: ApprovalQuery = call.query
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    page = await call.services.approvals.page(
        call.principal,
        waiting=query.state == "waiting",
        limit=query.limit,
        before=query.starting_after,
    )
    answers = [shown(found, live=call.live) for found in page.data]
    return Reply(200, encode(ListAnswer(data=answers, has_more=page.has_more, url="/v1/approvals")))


async def show_approval(call: Call) -> Reply:
    """Show one request."""
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    found = await call.services.approvals.get(call.params["approval_id"], principal=call.principal)
    return Reply(200, encode(shown(found, live=call.live)))


def shown(found: Approval, *, live: bool) -> ApprovalAnswer:
    """Return the wire form of a request."""
    given = found.statement.parameters
    return ApprovalAnswer(
        id=found.id,
        state=found.state,
        action=found.action,
        resource=found.statement.resource,
        merchant=found.merchant,
        parameters={n: v for n, v in given.items() if not isinstance(v, list)},
        lists={n: v for n, v in given.items() if isinstance(v, list)},
        action_sha256=found.action_sha256.hex(),
        requester=found.requester,
        reason=found.reason,
        needed=found.needed,
        approved_by=list(found.approved_by),
        ended_by=None if found.end is None else found.end.by,
        created=rfc3339_ms(found.created_at),
        expires=rfc3339_ms(found.expires_at),
        livemode=live,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/approvals",
        action="four_eyes:request",
        summary="Ask another person to approve one action",
        handler=request_approval,
        request=ApprovalBody,
        answers={201: ApprovalAnswer},
        errors=("card_number_in_text", "not_canonical", "approvals_too_many"),
        owner=Owner.EITHER,
        body_bytes_max=_BODY_BYTES_MAX,
    ),
    Endpoint(
        method="GET",
        path="/v1/approvals",
        action="four_eyes:read",
        summary="List requests for approval",
        handler=list_approvals,
        query=ApprovalQuery,
        answers={200: ListAnswer[ApprovalAnswer]},
        owner=Owner.EITHER,
    ),
    Endpoint(
        method="GET",
        path="/v1/approvals/{approval_id}",
        action="four_eyes:read",
        summary="Show a request for approval",
        handler=show_approval,
        answers={200: ApprovalAnswer},
        errors=("approval_not_found",),
        owner=Owner.EITHER,
    ),
)
