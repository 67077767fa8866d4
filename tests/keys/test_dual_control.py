"""Dual control: two people other than the requester, for exactly this, once, while it is fresh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.keys.dual_control import Approval, Custodian, DualControl, enrollment
from strongroom.storage.embedded import EmbeddedPostgres
from tests.keys.custodians import Person, enrolled, person
from tests.keys.house import House, house

ACTION, PAYLOAD = "keys:destroy", {"key": "dek_1", "version": 2}
ME = "local:operator"


@pytest.fixture
async def control(installed: House) -> DualControl:
    return (await installed.keyring()).dual_control


@pytest.fixture
async def live(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[House]:
    async with house(postgres, tmp_path, mode="live") as built:
        yield built


async def asked(control: DualControl, **other: str) -> Approval:
    return await control.request(
        ACTION, PAYLOAD, **{"requester": ME, "reason": "key leaked", **other}
    )


async def refused(awaitable: object) -> str:
    with pytest.raises(StrongroomError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value.code


async def approved(installed: House, control: DualControl, *people: Person) -> Approval:
    made = await asked(control)
    for one in people:
        made = await one.approve(control, made, installed.clock.now())
    return made


async def redeem(control: DualControl, approval: str | None, **other: object) -> None:
    given = {"action": ACTION, "payload": PAYLOAD, "requester": ME, **other}
    await control.redeem(approval=approval, **given)  # type: ignore[arg-type]


async def outcomes(installed: House, action: str) -> list[tuple[str, str | None]]:
    found = [json.loads(row["body"]) for row in await installed.entries(action)]
    return [(entry["subject"], entry["reason"]) for entry in found]


async def test_two_others_approve_and_it_happens_once(
    installed: House, control: DualControl
) -> None:
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    made = await asked(control)
    assert made.state == "open"
    one = await alice.approve(control, made, installed.clock.now())
    assert one.state == "open" and one.approved_by == (alice.card.custodian,)
    assert await refused(redeem(control, made.id)) == "approval_incomplete"
    assert (await bob.approve(control, made, installed.clock.now())).state == "approved"
    await redeem(control, made.id)
    assert (await control.approval(made.id)).state == "redeemed"
    assert await refused(redeem(control, made.id)) == "approval_used"
    assert [s for s, _ in await outcomes(installed, "keys:approval:redeem")] == [made.id]
    assert await outcomes(installed, "keys:approval:refuse") == [
        (made.id, "approval_incomplete"),
        (made.id, "approval_used"),
    ]


async def test_redeemed_twice_at_once_one_wins(installed: House, control: DualControl) -> None:
    people = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, *people[:2])
    results = await asyncio.gather(
        *(redeem(control, made.id) for _ in range(8)), return_exceptions=True
    )
    lost = [r.code for r in results if isinstance(r, StrongroomError)]
    assert lost == ["approval_used"] * 7


async def test_the_requester_never_approves(installed: House, control: DualControl) -> None:
    alice, bob, carol = await enrolled(control, "alice", "bob", "carol")
    now = installed.clock.now()
    own = await asked(control, requester="local:alice")
    assert await refused(alice.approve(control, own, now)) == "approval_own"
    entered = await asked(control, requester="key_1", asked_by="local:Bob")
    assert await refused(bob.approve(control, entered, now)) == "approval_own"
    by_id = await asked(control, requester=carol.card.custodian)
    assert await refused(carol.approve(control, by_id, now)) == "approval_own"


async def test_a_custodian_counts_once(installed: House, control: DualControl) -> None:
    alice, _, _ = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, alice)
    installed.clock.move(1)
    assert await refused(alice.approve(control, made, installed.clock.now())) == "approval_repeated"
    at_once = await asked(control)
    results = await asyncio.gather(
        *(alice.approve(control, at_once, installed.clock.now()) for _ in range(4)),
        return_exceptions=True,
    )
    codes = [r.code for r in results if isinstance(r, StrongroomError)]
    assert codes == ["approval_repeated"] * 3


@pytest.mark.parametrize("age_s", [301, 3_600, -31])
async def test_stale_signatures_are_refused(
    installed: House, control: DualControl, age_s: int
) -> None:
    alice, _, _ = await enrolled(control, "alice", "bob", "carol")
    installed.clock.move(max(0, -age_s))
    signed_at = installed.clock.now()
    installed.clock.move(age_s)
    made = await asked(control)
    assert await refused(alice.approve(control, made, signed_at)) == "signature_stale"


async def test_a_signature_is_for_one_request_only(installed: House, control: DualControl) -> None:
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    now = installed.clock.now()
    made, other = await asked(control), await asked(control)

    async def hand_in(approval: Approval, signature: bytes, who: Person = alice) -> str:
        return await refused(
            control.approve(
                approval.id, custodian=who.card.custodian, signed_at=now, signature=signature
            )
        )

    good = alice.sign(control, made, now)
    assert await hand_in(other, good) == "signature_invalid"
    assert await hand_in(made, good, bob) == "signature_invalid"
    assert await hand_in(made, alice.sign(control, made, now, "reject")) == "signature_invalid"
    assert await hand_in(made, good[:-1] + bytes([good[-1] ^ 1])) == "signature_invalid"
    assert await hand_in(made, b"") == "signature_invalid"
    for change in ({"payload": {"key": "dek_1", "version": 3}}, {"reason": "x"}, {"action": "a"}):
        forged = msgspec.structs.replace(made, **change)
        assert await hand_in(made, alice.sign(control, forged, now)) == "signature_invalid"


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"key": "dek_1", "version": 3}},
        {"payload": {"key": "dek_2", "version": 2}},
        {"payload": {"key": "dek_1", "version": True}},
        {"action": "keys:export"},
        {"requester": "local:mallory"},
    ],
)
async def test_another_payload_action_or_requester_is_refused(
    installed: House, control: DualControl, other: dict[str, object]
) -> None:
    people = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, *people[:2])
    assert await refused(redeem(control, made.id, **other)) == "approval_mismatch"
    await redeem(control, made.id)


async def test_requests_expire(installed: House, control: DualControl) -> None:
    alice, bob, carol = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, alice, bob)
    installed.clock.move(24 * 3600)
    assert await refused(redeem(control, made.id)) == "approval_expired"
    assert await refused(carol.approve(control, made, installed.clock.now())) == "approval_expired"


async def test_one_no_closes_a_request(installed: House, control: DualControl) -> None:
    alice, bob, carol = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, alice, bob)
    now = installed.clock.now()
    after = await control.reject(
        made.id,
        custodian="carol",
        signed_at=now,
        signature=carol.sign(control, made, now, "reject"),
    )
    assert after.state == "rejected"
    assert await refused(redeem(control, made.id)) == "approval_rejected"


async def test_a_no_stays_when_its_custodian_is_revoked(
    installed: House, control: DualControl
) -> None:
    """Else one person, who may revoke a fourth custodian alone, overrules him."""
    alice, bob, carol, _ = await enrolled(control, "alice", "bob", "carol", "dave")
    made = await approved(installed, control, alice, bob)
    now = installed.clock.now()
    no = carol.sign(control, made, now, "reject")
    await control.reject(made.id, custodian="carol", signed_at=now, signature=no)
    await control.revoke("carol", actor=ME, reason="left")
    assert await refused(redeem(control, made.id)) == "approval_rejected"


async def test_a_revoked_custodian_counts_no_more(installed: House, control: DualControl) -> None:
    alice, bob, carol = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, alice, bob)
    await control.revoke("bob", actor=ME, reason="left")
    assert await refused(redeem(control, made.id)) == "approval_incomplete"
    assert await refused(bob.approve(control, made, installed.clock.now())) == "custodian_unknown"
    await carol.approve(control, made, installed.clock.now())
    await redeem(control, made.id)
    assert await refused(control.enroll(bob.card, actor=ME)) == "custodian_exists"


async def test_without_custodians_test_mode_passes_and_says_so(
    installed: House, control: DualControl
) -> None:
    await redeem(control, None)
    assert await outcomes(installed, "keys:dual_control:skip") == [(ACTION, "no_custodians")]
    await enrolled(control, "alice", "bob", "carol")
    with pytest.raises(StrongroomError) as caught:
        await redeem(control, None)
    assert caught.value.code == "approval_required"
    assert """keys:destroy --payload '{"key":"dek_1","version":2}'""" in caught.value.public


async def test_live_mode_without_custodians_refuses(live: House) -> None:
    control = (await live.keyring()).dual_control
    assert await refused(redeem(control, None)) == "custodians_required"
    await enrolled(control, "operator", "bob")
    assert await refused(redeem(control, None)) == "custodians_required"


async def test_live_mode_guards_who_may_join_and_leave(live: House) -> None:
    control = (await live.keyring()).dual_control
    alice, bob, carol = await enrolled(control, "alice", "bob", "carol")
    dave = person("dave")
    assert await refused(control.enroll(dave.card, actor=ME)) == "approval_required"
    made = await control.request(
        "custodian:enroll", enrollment(dave.card), requester=ME, reason="fourth"
    )
    for one in (alice, bob):
        await one.approve(control, made, live.clock.now())
    eve = person("dave")
    assert (
        await refused(control.enroll(eve.card, actor=ME, approval=made.id)) == "approval_mismatch"
    )
    await control.enroll(dave.card, actor=ME, approval=made.id)
    await control.revoke(carol.card.custodian, actor=ME, reason="left")
    assert await refused(control.revoke("alice", actor=ME, reason="x")) == "approval_required"
    names = [c.name for c in await control.custodians() if c.revoked_at is None]
    assert names == ["alice", "bob", "dave"]


async def test_custodians_do_not_leave_at_once_past_the_guard(
    live: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one person leaves nobody to approve, by revoking several in the same moment."""
    first, second = [(await live.keyring()).dual_control for _ in range(2)]
    alice, bob, _ = await enrolled(first, "alice", "bob", "carol")
    dave = person("dave").card
    made = await first.request("custodian:enroll", enrollment(dave), requester=ME, reason="x")
    for one in (alice, bob):
        await one.approve(first, made, live.clock.now())
    await first.enroll(dave, actor=ME, approval=made.id)
    known = await second.custodians()

    async def read_before() -> list[Custodian]:
        return known

    monkeypatch.setattr(second, "custodians", read_before)
    await first.revoke("carol", actor=ME, reason="left")
    assert await refused(second.revoke("dave", actor=ME, reason="left")) == "custodian_conflict"
    assert sum(known.revoked_at is None for known in await first.custodians()) == 3


async def test_custodians_are_few_and_distinct(installed: House, control: DualControl) -> None:
    people = await enrolled(control, *(f"c{n}" for n in range(16)))
    assert await refused(control.enroll(person("c16").card, actor=ME)) == "custodians_too_many"
    assert await refused(control.enroll(people[0].card, actor=ME)) == "custodian_exists"
    await control.revoke("c0", actor=ME, reason="left")
    assert await refused(control.enroll(person("c1").card, actor=ME)) == "custodian_exists"


async def test_a_card_with_a_changed_word_is_refused(control: DualControl) -> None:
    card = person("alice").card
    other = person("bob").card
    for change in (
        {"name": "bob"},
        {"exchange_key": other.exchange_key},
        {"acknowledged_at": "2026-11-01T09:00:00.001Z"},
        {"acknowledgement": other.acknowledgement},
        {"signing_key": "AA=="},
        {"custodian": other.custodian},
    ):
        forged = msgspec.structs.replace(card, **change)
        assert await refused(control.enroll(forged, actor=ME)) == "custodian_file_invalid", change


async def test_rows_written_past_the_service_stop_it(
    installed: House, control: DualControl
) -> None:
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, alice)
    mallory = person("mallory")
    await installed.sql(
        "INSERT INTO keys.approval_signature (approval_id, custodian_id, id, decision, proof, "
        "signed_at, received_at, signature) VALUES ($1, $2, gen_random_uuid(), 'approve', "
        "'ed25519-key-file', now(), now(), $3)",
        uuid_of(made.id, "apr"),
        uuid_of(bob.card.custodian, "cus"),
        mallory.key.sign(b"whatever"),
    )
    assert await refused(redeem(control, made.id)) == "approval_incomplete"
    await installed.sql(
        "UPDATE keys.approval SET payload = $2 WHERE id = $1",
        uuid_of(made.id, "apr"),
        b'{"key":"dek_9","version":2}',
    )
    assert await refused(redeem(control, made.id)) == "dual_control_damaged"


@pytest.mark.parametrize(
    "forgery",
    [
        "INSERT INTO keys.custodian SELECT gen_random_uuid(), 4, 'mallory', sha256('a'), "
        "sha256('b'), acknowledged_at, acknowledgement, enrolled_at, enrolled_by, mac "
        "FROM keys.custodian WHERE number = 1",
        "UPDATE keys.custodian SET signing_key = sha256('mallory') WHERE number = 2",
        "UPDATE keys.custodian SET name = 'mallory' WHERE number = 2",
        "DELETE FROM keys.custodian WHERE number = 1",
    ],
)
async def test_nobody_enrolls_himself_with_database_access(
    installed: House, control: DualControl, forgery: str
) -> None:
    await enrolled(control, "alice", "bob", "carol")
    await installed.sql(forgery)
    assert await refused(redeem(control, None)) == "dual_control_damaged"
    assert await refused(asked_then(control)) == "dual_control_damaged"


async def asked_then(control: DualControl) -> None:
    await control.approval((await asked(control)).id)


async def test_the_service_itself_can_take_nothing_back(
    installed: House, control: DualControl
) -> None:
    people = await enrolled(control, "alice", "bob", "carol")
    made = await approved(installed, control, *people[:2])
    await redeem(control, made.id)
    for statement in (
        "DELETE FROM keys.redemption",
        "UPDATE keys.approval SET expires_at = now() + interval '1 year'",
        "DELETE FROM keys.approval_signature",
        "UPDATE keys.custodian SET name = 'x'",
        "DELETE FROM keys.custodian_revocation",
    ):
        with pytest.raises(StrongroomError) as caught:
            await installed.database.execute(statement)
        assert "42501" in caught.value.detail, statement


@pytest.mark.parametrize(
    ("action", "payload", "reason"),
    [
        ("keys:whatever", PAYLOAD, "why"),
        (ACTION, {"deep": {"a": 1}}, "why"),
        (ACTION, {"note": "x" * 5_000}, "why"),
        (ACTION, {"note": "4111 1111 1111 1111"}, "why"),
        (ACTION, PAYLOAD, ""),
        (ACTION, PAYLOAD, "two\nlines"),
        (ACTION, PAYLOAD, "4111111111111111"),
    ],
)
async def test_requests_that_cannot_be_asked(
    control: DualControl, action: str, payload: dict[str, object], reason: str
) -> None:
    code = await refused(control.request(action, payload, requester=ME, reason=reason))  # type: ignore[arg-type]
    assert code == "approval_invalid"


async def test_open_requests_are_bounded(
    installed: House, control: DualControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.kernel.limits.APPROVALS_OPEN_MAX", 2)
    await asked(control)
    await asked(control)
    assert await refused(asked(control)) == "approvals_too_many"
    installed.clock.move(24 * 3600)
    await asked(control)
    assert len(await control.approvals()) == 3
