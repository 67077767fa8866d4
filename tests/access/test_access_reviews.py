"""Reviews of access: every right once, never by its owner, removed means revoked, late is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from strongroom.access.reviews import Line, Reviews
from strongroom.identity import Principal
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.access.four_eyes import ALICE, BOB, MERCHANT, Office, office_on
from tests.support.database import TestDatabase

ALICES_KEY, SHOPS_KEY = new_id("key"), new_id("key")
LINES = (
    Line(kind="operator", subject=ALICE, role="operator-admin", owner="alice", person=ALICE),
    Line(kind="operator", subject=BOB, role="operator-admin", owner="bob", person=BOB),
    Line(kind="api_key", subject=ALICES_KEY, role="operator-read", owner="alice", person=ALICE),
    Line(
        kind="api_key", subject=SHOPS_KEY, merchant=MERCHANT, role="merchant-backend", owner="shop"
    ),
)


class Door:
    """Reviews over rights that a test lists, and what was revoked."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.revoked: list[tuple[str, str]] = []
        self.reviews = Reviews(
            office.database, office.committer, authorizer=office.authorizer, people=office.staff,
            listing=self.listing, revoke=self.revoke, clock=office.clock,
        )  # fmt: skip

    async def listing(self) -> Sequence[Line]:
        return LINES

    async def revoke(self, line: Line, actor: str, reason: str) -> None:
        self.revoked.append((line.subject, actor))

    def person(self, who: str, **changes: Any) -> Principal:
        return self.office.operator(who, merchant=None, **changes)

    async def decide(self, review: str, line: int, who: str, verdict: str = "keep") -> Any:
        return await self.reviews.decide(
            review, line, principal=self.person(who), verdict=verdict, reason="looked at it",  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture
async def door(pg: TestDatabase) -> AsyncIterator[Door]:
    async with office_on(pg) as office:
        yield Door(office)


async def refused(work: Any) -> str:
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.code


async def test_a_review_from_start_to_its_entry(door: Door, pg: TestDatabase) -> None:
    began = door.office.clock.now()
    review = await door.reviews.start(door.person(ALICE))
    assert await refused(door.reviews.start(door.person(BOB))) == "access_review_open"
    for line in (1, 3):
        assert await refused(door.decide(review.id, line, ALICE)) == "review_own"
        await door.decide(review.id, line, BOB)
    assert await refused(door.decide(review.id, 2, BOB)) == "review_own"
    await door.decide(review.id, 2, ALICE)
    closing = door.reviews.close(review.id, principal=door.person(BOB))
    assert await refused(closing) == "access_review_incomplete"
    await door.decide(review.id, 4, ALICE, "remove")
    assert door.revoked == [(SHOPS_KEY, ALICE)]
    assert await refused(door.decide(review.id, 4, BOB)) == "review_repeated"
    for line in (0, 5):
        assert await refused(door.decide(review.id, line, BOB)) == "access_review_not_found"
    closed = await door.reviews.close(review.id, principal=door.person(BOB))
    assert closed.result_sha256 == closed.digest().hex()
    assert await refused(door.decide(review.id, 1, BOB)) == "access_review_closed"
    owner = await pg.database("strongroom_owner")
    body = await owner.fetchval(
        "SELECT body FROM journal.entry WHERE action = 'access:review:close'"
    )
    facts = msgspec.json.decode(body)["facts"]
    assert facts["result_sha256"] == closed.result_sha256
    assert (facts["lines"], facts["removed"]) == (4, 1)
    assert await door.reviews.days_late(since=began) == 0


async def test_who_is_nobody_decides_about_no_person(door: Door) -> None:
    review = await door.reviews.start(door.person(ALICE))
    shell = Principal.local_operator("root", mode="live")
    for line in (1, 2, 3):
        work = door.reviews.decide(
            review.id, line, principal=shell, verdict="keep", reason="it is fine"
        )
        assert await refused(work) == "review_own"
    named = Principal.local_operator("shop", mode="live")
    work = door.reviews.decide(review.id, 4, principal=named, verdict="keep", reason="mine")
    assert await refused(work) == "review_own"
    reader = door.person(BOB, roles=("operator-read",))
    work = door.reviews.decide(review.id, 4, principal=reader, verdict="keep", reason="fine")
    assert await refused(work) == "permission_denied"


async def test_half_a_year_without_a_review_is_late(door: Door) -> None:
    since = door.office.clock.now()
    day = timedelta(days=1).total_seconds()
    door.office.pass_by(180 * day)
    assert await door.reviews.days_late(since=since) == 0
    door.office.pass_by(day)
    assert await door.reviews.days_late(since=since) == 1
    review = await door.reviews.start(door.person(ALICE))
    for line in (1, 3, 4):
        await door.decide(review.id, line, BOB)
    await door.decide(review.id, 2, ALICE)
    await door.reviews.close(review.id, principal=door.person(ALICE))
    assert await door.reviews.days_late(since=since) == 0
    await door.reviews.start(door.person(ALICE))
    door.office.pass_by(31 * day)
    assert await door.reviews.days_late(since=since) == 1, "an open one is due in a month"
