"""Four eyes under attack: an approval lets exactly one thing happen, once, as another saw it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from strongroom.identity import Principal, PrincipalKind
from strongroom.kernel.decided import decided, run_under
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.storage import Database
from tests.access.four_eyes import (
    ALICE,
    BOB,
    CAROL,
    MERCHANT,
    OTHER,
    PURPOSE,
    TOKEN,
    Office,
    office_on,
)
from tests.support.database import TestDatabase


@pytest.fixture
async def office(pg: TestDatabase) -> AsyncIterator[Office]:
    async with office_on(pg) as made:
        yield made


@pytest.fixture
async def owner(pg: TestDatabase) -> Database:
    return await pg.database("strongroom_owner")


async def refused(work: Any) -> str:
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.code


async def entries(owner: Database, verb: str) -> list[dict[str, Any]]:
    rows = await owner.fetch(
        "SELECT body FROM journal.entry WHERE action = $1 ORDER BY at, batch_id, n",
        f"access:approval:{verb}",
    )
    return [msgspec.json.decode(row["body"]) for row in rows]


async def test_ask_approve_use_and_every_step_is_an_entry(office: Office, owner: Database) -> None:
    asked = await office.ask()
    assert (asked.state, asked.needed, asked.approved_by) == ("open", 1, ())
    approved = await office.approve(asked, principal=office.operator(BOB, merchant=None))
    assert (approved.state, approved.approved_by) == ("approved", (BOB,))
    assert await office.use(asked) == {**PURPOSE, "approvals": 1}
    used = await office.approvals.get(asked.id, principal=office.operator(CAROL))
    assert used.state == "used"
    for verb, actor in (("request", ALICE), ("approve", BOB), ("use", ALICE)):
        (entry,) = await entries(owner, verb)
        assert (entry["actor"], entry["subject"]) == (actor, asked.id)
        assert entry["merchant"] == MERCHANT
        assert entry["facts"]["action_sha256"] == asked.action_sha256.hex()


async def test_the_hash_is_that_of_the_canonical_action(office: Office) -> None:
    """Computed here with nothing of ours: what the person's passkey signs can be checked."""
    asked = await office.ask()
    document = {
        "action": "token:reveal", "merchant": MERCHANT, "nonce": asked.statement.nonce.hex(),
        "parameters": PURPOSE, "policy_set": office.authorizer.policy_set, "requester": ALICE,
        "resource": TOKEN, "statement": "strongroom-four-eyes/1",
    }  # fmt: skip
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert asked.action_sha256 == hashlib.sha256(canonical.encode()).digest()
    again = await office.ask()
    assert again.action_sha256 != asked.action_sha256, "a nonce makes each request another"


async def test_without_approval_it_does_not_happen(office: Office, owner: Database) -> None:
    asked = await office.ask()
    assert await refused(office.use(asked)) == "approval_incomplete"
    (entry,) = await entries(owner, "refuse")
    assert (entry["reason"], entry["outcome"]) == ("approval_incomplete", "refused")


async def test_nobody_approves_his_own_request_by_any_credential(office: Office) -> None:
    key = new_id("key")
    office.staff.behind[key] = ALICE
    for principal in (office.operator(ALICE), office.key(key)):
        asked = await office.ask(principal)
        assert await refused(office.approve(asked, ALICE)) == "approval_own"
        other_session = office.operator(ALICE, session="ses_2")
        assert await refused(office.approve(asked, ALICE, principal=other_session)) == (
            "approval_own"
        )
        assert (await office.approve(asked, BOB)).state == "approved"


async def test_a_requester_whom_nobody_knows_needs_two_others(office: Office) -> None:
    nameless = office.key(new_id("key"))
    asked = await office.ask(nameless)
    assert asked.needed == 2
    assert (await office.approve(asked, BOB)).state == "open"
    assert await refused(office.use(asked, nameless)) == "approval_incomplete"
    assert await refused(office.approve(asked, BOB)) == "approval_repeated"
    assert (await office.approve(asked, CAROL)).state == "approved"
    assert (await office.use(asked, nameless))["approvals"] == 2


async def test_a_key_decides_nothing(office: Office) -> None:
    asked = await office.ask()
    key = new_id("key")
    office.staff.behind[key] = BOB
    for principal in (
        office.key(key),
        office.operator(BOB, roles=("operator-read",)),
        office.operator(BOB, aal=1),
        Principal(
            id=new_id("key"), kind=PrincipalKind.MERCHANT, merchant=MERCHANT, mode="live",
            roles=("merchant-backend",),
        ),
    ):  # fmt: skip
        assert await refused(office.approve(asked, BOB, principal=principal)) == (
            "permission_denied"
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": b"\0" * 32},
        {"purpose": b""},
        {"operator": CAROL},
        {"operator": ALICE},
        {"aal": 1},
    ],
)
async def test_a_proof_for_anything_else_is_none(office: Office, changes: dict[str, Any]) -> None:
    asked = await office.ask()
    proof = office.proof(BOB, asked, **changes)
    assert await refused(office.approve(asked, BOB, step_up=proof)) == "step_up_refused"


async def test_a_proof_for_another_request_or_an_old_one_is_none(office: Office) -> None:
    first, second = await office.ask(), await office.ask()
    proof = office.proof(BOB, first)
    assert await refused(office.approve(second, BOB, step_up=proof)) == "step_up_refused"
    office.pass_by(301)
    assert await refused(office.approve(first, BOB, step_up=proof)) == "step_up_refused"
    ahead = office.proof(BOB, first, at=office.clock.now() + office.minute)
    assert await refused(office.approve(first, BOB, step_up=ahead)) == "step_up_refused"


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": new_id("tok")},
        {"parameters": {"purpose": "law_enforcement"}},
        {"parameters": {**PURPOSE, "more": 1}},
        {"action": "token:reveal_batch"},
        {"merchant": OTHER},
        {"merchant": None},
    ],
)
async def test_what_changed_after_approval_is_not_approved(
    office: Office, changes: dict[str, Any]
) -> None:
    asked = await office.ask()
    await office.approve(asked)
    assert await refused(office.use(asked, **changes)) == "approval_mismatch"
    assert (await office.use(asked))["approvals"] == 1, "the approved thing still may happen"


async def test_an_amount_that_grew_is_not_approved(office: Office) -> None:
    backend = Principal(
        id=new_id("key"), kind=PrincipalKind.MERCHANT, merchant=MERCHANT, mode="live",
        roles=("merchant-backend",),
    )  # fmt: skip
    refund = {"action": "refund:create", "resource": new_id("pay")}
    asked = await office.ask(backend, **refund, parameters={"amount": 100_000})
    await office.approve(asked)
    for amount in (100_001, 99_999, True, "100000"):
        changed = {**refund, "parameters": {"amount": amount}, "context": {"amount": 100_000}}
        assert await refused(office.use(asked, backend, **changed)) == "approval_mismatch"
    same = {**refund, "parameters": {"amount": 100_000}, "context": {"amount": 100_000}}
    assert (await office.use(asked, backend, **same))["approvals"] == 1


async def test_only_the_one_who_asked_may_use_it(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked)
    assert await refused(office.use(asked, office.operator(CAROL))) == "approval_mismatch"
    theirs = office.operator(ALICE, merchant=OTHER)
    assert await refused(office.use(asked, theirs)) == "approval_not_found"
    assert await refused(office.approvals.get(asked.id, principal=theirs)) == "approval_not_found"
    for name in ("apr_x", "", new_id("apr"), new_id("tok")):
        nothing = msgspec.structs.replace(asked, id=name)
        assert await refused(office.use(nothing)) == "approval_not_found"


async def test_it_is_good_for_one_use(office: Office, owner: Database) -> None:
    asked = await office.ask()
    await office.approve(asked)
    tries = await asyncio.gather(*(office.use(asked) for _ in range(20)), return_exceptions=True)
    won = [found for found in tries if isinstance(found, dict)]
    lost = {error.code for error in tries if isinstance(error, StrongroomError)}
    assert len(won) == 1 and lost == {"approval_used"}
    assert len(await entries(owner, "use")) == 1
    assert len(await entries(owner, "refuse")) == 19
    assert await refused(office.use(asked)) == "approval_used"
    assert await refused(office.approve(asked, CAROL)) == "approval_used"


async def test_the_same_work_sent_again_goes_on_for_a_day(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked)
    await office.use(asked, used_for="key-1")
    await office.use(asked, used_for="key-1")
    assert await refused(office.use(asked, used_for="key-2")) == "approval_used"
    assert await refused(office.use(asked)) == "approval_used"
    office.pass_by(24 * 3600 + 1)
    assert await refused(office.use(asked, used_for="key-1")) == "approval_used"


async def test_it_expires_before_and_after_approval(office: Office, owner: Database) -> None:
    early, late = await office.ask(ttl_s=60), await office.ask()
    await office.approve(late)
    office.pass_by(60)
    assert await refused(office.approve(early)) == "approval_expired"
    office.pass_by(840)
    assert await refused(office.use(late)) == "approval_expired"
    assert await office.approvals.expire() == 2
    assert await office.approvals.expire() == 0
    assert {entry["subject"] for entry in await entries(owner, "expire")} == {early.id, late.id}
    office.pass_by(-900)
    assert await refused(office.use(late)) == "approval_expired", (
        "not even when the clock goes back"
    )


async def test_a_rejection_is_final(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked, BOB)
    rejected = await office.approve(asked, CAROL, verdict="reject")
    assert rejected.state == "rejected"
    assert await refused(office.use(asked)) == "approval_rejected"
    assert await refused(office.approve(asked, CAROL)) == "approval_rejected"


async def test_who_approved_must_still_be_an_administrator(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked)
    office.staff.admins.discard(BOB)
    assert await refused(office.use(asked)) == "approval_incomplete"
    await office.approve(asked, CAROL)
    assert (await office.use(asked))["approvals"] == 1


async def test_a_leavers_open_requests_and_approvals_end(office: Office, owner: Database) -> None:
    bob = office.operator(BOB)
    own, approved, other = await office.ask(), await office.ask(bob), await office.ask(bob)
    await office.approve(approved, ALICE)
    assert await office.approvals.withdraw(ALICE) == 2
    for asked, who in ((own, office.operator(ALICE)), (approved, bob)):
        assert await refused(office.use(asked, who)) == "approval_expired"
    await office.approve(other, CAROL)
    assert await office.use(other, bob)
    assert [entry["outcome"] for entry in await entries(owner, "expire")] == ["withdrawn"] * 2


async def test_policies_are_asked_again_when_it_is_used(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked)
    for changed in (
        office.operator(ALICE, suspended=True),
        office.operator(ALICE, roles=("operator-read",)),
        office.operator(ALICE, scopes=frozenset({"payment:read"})),
        office.operator(ALICE, mode="test"),
    ):
        assert await refused(office.use(asked, changed)) == "permission_denied"
    assert (await office.use(asked))["approvals"] == 1


async def test_an_approval_under_other_policies_is_none(office: Office) -> None:
    asked = await office.ask()
    await office.approve(asked)
    office.authorizer._engine.policy_set = "other"
    assert await refused(office.use(asked)) == "approval_mismatch"


async def test_what_one_may_not_do_at_all_cannot_be_asked_for(office: Office) -> None:
    reader = office.operator(ALICE, roles=("operator-read",))
    assert await refused(office.ask(reader)) == "permission_denied"
    assert await refused(office.ask(merchant=OTHER)) == "permission_denied"
    for changes in (
        {"action": "payment:create"},
        {"action": "nothing"},
        {"parameters": {}},
        {"parameters": {**PURPOSE, "more": "x"}},
        {"parameters": {"purpose": 1}},
        {"resource": ""},
        {"resource": "x\u202ey"},
        {"reason": "x" * 501},
        {"ttl_s": 59},
        {"ttl_s": 3601},
    ):
        assert await refused(office.ask(**changes)) == "invalid_parameter", changes
    assert await refused(office.ask(reason="4242 4242 4242 4242")) == "card_number_in_text"


async def test_open_requests_are_bounded(office: Office) -> None:
    for _ in range(20):
        await office.ask()
    assert await refused(office.ask()) == "approvals_too_many"
    assert (await office.ask(office.operator(BOB))).state == "open", "others still may ask"
    office.pass_by(900)
    assert (await office.ask()).state == "open"


async def test_rows_of_other_hands_count_for_nothing(office: Office, owner: Database) -> None:
    asked, other = await office.ask(), await office.ask()
    await office.approve(other)
    copied = (
        "INSERT INTO iam.approval_decision SELECT merchant_id, a.id, operator, d.id, aal, "
        "proved_at, decided_at, d.reason, d.mac FROM iam.approval_decision d "
        "JOIN iam.approval a USING (merchant_id) WHERE a.action_sha256 = $1"
    )
    await owner.execute(copied, asked.action_sha256)
    assert await refused(office.use(asked)) == "approval_forged"
    for column, value in (("needed", 2), ("person", "nobody"), ("reason", "nothing")):
        await owner.execute(
            f"UPDATE iam.approval SET {column} = $1 WHERE action_sha256 = $2",
            value,
            other.action_sha256,
        )
        assert await refused(office.use(other)) == "approval_forged"


async def test_lists_show_ones_own_merchant_only(office: Office) -> None:
    mine = await office.ask()
    theirs = await office.ask(office.operator(BOB, merchant=OTHER), merchant=OTHER)
    seen = await office.approvals.page(office.operator(ALICE), waiting=True)
    assert [found.id for found in seen.data] == [mine.id]
    everything = await office.approvals.page(office.operator(ALICE, merchant=None), limit=1)
    assert [found.id for found in everything.data] == [theirs.id] and everything.has_more
    rest = await office.approvals.page(
        office.operator(ALICE, merchant=None), before=everything.data[0].id
    )
    assert [found.id for found in rest.data] == [mine.id] and not rest.has_more


async def test_guard_takes_an_approval_only_where_one_is_needed(office: Office) -> None:
    from strongroom.access.approvals import Deed

    deed = Deed(
        action="token:reveal", merchant=MERCHANT, resource=TOKEN, parameters=PURPOSE,
        context=PURPOSE,
    )  # fmt: skip
    guard = office.approvals.guard
    assert await refused(guard(deed, principal=office.operator(ALICE), approval=None)) == (
        "approval_required"
    )
    service = Principal(
        id=new_id("key"), kind=PrincipalKind.MERCHANT, merchant=MERCHANT, mode="live",
        roles=("service-reveal",),
    )  # fmt: skip
    run_under(None)
    assert await guard(deed, principal=service, approval=None) == PURPOSE
    under = decided()
    assert under is not None and under.policy == "service-reveal", "its entries name the policy"
    stranger = office.operator(ALICE, roles=("operator-read",))
    assert await refused(guard(deed, principal=stranger, approval=None)) == "permission_denied"
    emergency = office.operator(ALICE, break_glass=True)
    assert await guard(deed, principal=emergency, approval=None) == PURPOSE
    asked = await office.ask()
    await office.approve(asked)
    granted = await guard(deed, principal=office.operator(ALICE), approval=asked.id)
    assert granted["approvals"] == 1
