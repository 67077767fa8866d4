"""The ledger, to be read: postings of a payment, balances of a merchant."""

from __future__ import annotations

from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.model import BalanceAnswer, ListAnswer, PostingAnswer
from strongroom.api.render import balance_view, encode, posting_view


async def list_postings(call: Call) -> Reply:
    """Show the postings of a payment, oldest first."""
    payment_id = call.params["payment_id"]
    await call.services.payments.get(call.merchant, payment_id)
    postings = await call.services.ledger.postings(call.merchant, payment_id)
    url = f"/v1/payments/{payment_id}/postings"
    views = [posting_view(posting) for posting in postings]
    return Reply(200, encode(ListAnswer(data=views, has_more=False, url=url)))


async def list_balances(call: Call) -> Reply:
    """Show the totals of the merchant's accounts."""
    balances = await call.services.ledger.balances(call.merchant)
    views = [balance_view(balance) for balance in balances]
    return Reply(200, encode(ListAnswer(data=views, has_more=False, url="/v1/ledger/balances")))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/payments/{payment_id}/postings",
        action="ledger:read",
        summary="List the ledger postings of a payment",
        handler=list_postings,
        answers={200: ListAnswer[PostingAnswer]},
        errors=("payment_not_found",),
    ),
    Endpoint(
        method="GET",
        path="/v1/ledger/balances",
        action="ledger:read",
        summary="List the balances of the merchant's accounts",
        handler=list_balances,
        answers={200: ListAnswer[BalanceAnswer]},
    ),
)
