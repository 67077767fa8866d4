"""Emergency access: bounded, loud, of one person, and looked at by others afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from strongroom.access.break_glass import BreakGlass, purpose_of
from strongroom.identity import Principal
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.access.four_eyes import ALICE, BOB, CAROL, Office, Proof, office_on
from tests.identity.support import hasher
from tests.support.database import TestDatabase

WHY = "payments down, nobody else reachable"


@pytest.fixture
async def office(pg: TestDatabase) -> AsyncIterator[Office]:
    async with office_on(pg) as made:
        yield made


@pytest.fixture
def glass(office: Office) -> BreakGlass:
    return BreakGlass(
        office.database, office.committer, authorizer=office.authorizer, people=office.staff,
        seal=hasher, clock=office.clock,
    )  # fmt: skip


def person(office: Office, who: str, **changes: Any) -> Principal:
    return office.operator(who, merchant=None, **changes)


def proof(office: Office, who: str, minutes: int = 30, **changes: Any) -> Proof:
    purpose = purpose_of(who, minutes=minutes, reason=WHY)
    return office.proof_for(who, purpose, **changes)


async def opened(office: Office, glass: BreakGlass, who: str = ALICE) -> Any:
    return await glass.open(person(office, who), minutes=30, reason=WHY, step_up=proof(office, who))


async def refused(work: Any) -> str:
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.code


async def test_it_is_open_for_its_minutes_and_its_person_only(
    office: Office, glass: BreakGlass
) -> None:
    alice, key = person(office, ALICE), office.key(new_id("key"))
    office.staff.behind[key.id] = ALICE
    assert not (await glass.marked(alice)).break_glass
    await opened(office, glass)
    for principal in (alice, key):
        assert (await glass.marked(principal)).break_glass
    for principal in (person(office, BOB), office.key(new_id("key"))):
        assert not (await glass.marked(principal)).break_glass
    office.pass_by(30 * 60 - 0.001)
    assert (await glass.marked(alice)).break_glass
    office.pass_by(0.001)
    assert not (await glass.marked(alice)).break_glass, "it ends to the millisecond"


async def test_opening_takes_a_proof_for_exactly_this(office: Office, glass: BreakGlass) -> None:
    alice = person(office, ALICE)
    for step_up in (
        None,
        proof(office, BOB),
        proof(office, ALICE, minutes=31),
        proof(office, ALICE, aal=1),
        proof(office, ALICE, at=office.clock.now() - 6 * office.minute),
        office.proof_for(ALICE, b"\0" * 32),
    ):
        work = glass.open(alice, minutes=30, reason=WHY, step_up=step_up)
        assert await refused(work) == "step_up_refused"
    key = office.key(new_id("key"), merchant=None)
    office.staff.behind[key.id] = ALICE
    work = glass.open(key, minutes=30, reason=WHY, step_up=proof(office, key.id))
    assert await refused(work) == "step_up_refused", "a key takes no emergency"
    reader = person(office, ALICE, roles=("operator-read",))
    work = glass.open(reader, minutes=30, reason=WHY, step_up=proof(office, ALICE))
    assert await refused(work) == "permission_denied"
    for minutes in (0, -1, 61):
        work = glass.open(alice, minutes=minutes, reason=WHY)
        assert await refused(work) == "invalid_parameter"


async def test_one_at_a_time_and_three_a_day(office: Office, glass: BreakGlass) -> None:
    for _ in range(3):
        await opened(office, glass)
        assert await refused(opened(office, glass)) == "break_glass_open"
        office.pass_by(31 * 60)
    assert await refused(opened(office, glass)) == "break_glass_open"
    shell = Principal.local_operator("alice", mode="live")
    office.staff.behind[shell.id] = ALICE
    work = glass.open(shell, minutes=5, reason=WHY)
    assert await refused(work) == "break_glass_open", "the same person by another door"


async def test_every_act_is_an_entry_and_others_review_it(
    office: Office, glass: BreakGlass, pg: TestDatabase
) -> None:
    made = await opened(office, glass)
    await glass.acts(
        person(office, ALICE), action="token:reveal", merchant=new_id("mer"), request="req_1"
    )
    owner = await pg.database("strongroom_owner")
    rows = await owner.fetch(
        "SELECT body FROM journal.entry WHERE action LIKE 'access:break_glass:%' ORDER BY at"
    )
    told = [msgspec.json.decode(row["body"]) for row in rows]
    assert [(e["action"], e["subject"], e["actor"]) for e in told] == [
        ("access:break_glass:open", made.id, ALICE),
        ("access:break_glass:act", made.id, ALICE),
    ]
    assert told[1]["facts"]["action"] == "token:reveal"
    review: dict[str, Any] = {"verdict": "justified", "note": "looked at every entry"}
    early = glass.review(made.id, principal=person(office, BOB), **review)
    assert await refused(early) == "break_glass_open", "what is done later would go unseen"
    office.pass_by(31 * 60)
    assert await glass.unreviewed() == 1 and await glass.overdue() == []
    office.pass_by(72 * 3600)
    assert [found.id for found in await glass.overdue()] == [made.id]
    for principal in (
        person(office, ALICE),
        office.key(new_id("key"), merchant=None),
    ):
        work = glass.review(made.id, principal=principal, **review)
        assert await refused(work) == "review_own"
    office.staff.admins.discard(CAROL)
    work = glass.review(made.id, principal=person(office, CAROL), **review)
    assert await refused(work) == "review_own", "no administrator any more"
    done = await glass.review(made.id, principal=person(office, BOB), **review)
    assert done.reviewed and await glass.overdue() == []
    work = glass.review(made.id, principal=person(office, BOB), **review)
    assert await refused(work) == "review_repeated"


async def test_a_nameless_shell_is_reviewed_by_two(office: Office, glass: BreakGlass) -> None:
    shell = Principal.local_operator("root", mode="live")
    made = await glass.open(shell, minutes=5, reason=WHY)
    assert (made.person, made.needed) == (None, 2)
    assert (await glass.marked(shell)).break_glass
    office.pass_by(6 * 60)
    for who, left in ((BOB, 1), (CAROL, 0)):
        await glass.review(
            made.id, principal=person(office, who), verdict="misused", note="no reason to"
        )
        assert await glass.unreviewed() == left


async def test_a_row_of_other_hands_opens_nothing(
    office: Office, glass: BreakGlass, pg: TestDatabase
) -> None:
    made = await opened(office, glass)
    owner = await pg.database("strongroom_owner")
    await owner.execute("UPDATE iam.break_glass SET actor = $1", BOB)
    office.pass_by(2)
    assert await refused(glass.marked(person(office, BOB))) == "approval_forged"
    assert made.actor == ALICE
