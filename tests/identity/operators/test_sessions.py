"""Sessions: one device, fifteen minutes, twelve hours, ended in every process within a second."""

from __future__ import annotations

from strongroom.identity.operators import new_device
from strongroom.kernel.secret import Secret
from tests.identity.operators.support import SHELL, SOURCE, Desk, House, Person, refused

OVER = "unauthenticated"


async def test_a_session_rests_fifteen_minutes_and_lasts_twelve_hours(desk: Desk) -> None:
    ada = await desk.person("ada")
    desk.clock.move(14 * 60 + 59)
    await ada.principal()
    desk.clock.move(14 * 60 + 59)
    await ada.principal()
    await desk.operators.flush_usage()
    desk.clock.move(15 * 60 + 1)
    await refused(ada.principal(), OVER)
    await ada.sign_in()
    for _ in range(4 * 12):
        await ada.principal()
        desk.clock.move(14 * 60 + 59)
    await ada.principal()
    desk.clock.move(60)
    await refused(ada.principal(), OVER)
    assert await desk.reasons() == ["session_idle", "session_too_old"]


async def test_a_session_is_of_one_device(desk: Desk) -> None:
    ada = await desk.person("ada")
    for device in (new_device(), Secret(""), Secret("guessed"), Secret("x" * 43)):
        await refused(desk.operators.session(ada.token, device=device, source=SOURCE), OVER)
    for token in ("", "\0", ada.token.reveal()[:-1], ada.token.reveal() + "A"):
        await refused(desk.operators.session(Secret(token), device=ada.device, source=SOURCE), OVER)
    assert (await ada.principal()).id == ada.id


async def test_an_end_shows_in_every_process_within_a_second(house: House, desk: Desk) -> None:
    async with house.process() as other:
        ada, eve = await desk.person("ada"), await desk.person("eve")
        shown = await desk.operators.enrolling.passkeys(await ada.principal())
        assert shown[0].status == "active"

        async def elsewhere(person: Person) -> str:
            found = await other.operators.session(person.token, device=person.device, source=SOURCE)
            return found.id

        assert await elsewhere(ada) == ada.id and await elsewhere(eve) == eve.id
        await desk.operators.sign_out(await ada.principal())
        await refused(ada.principal(), OVER)
        desk.clock.move(0.6)
        await refused(elsewhere(ada), OVER)
        await desk.operators.end_sessions(eve.id, actor="local:ada", reason="lost laptop")
        await refused(eve.principal(), OVER)
        desk.clock.move(0.6)
        await refused(elsewhere(eve), OVER)
        await eve.sign_in()
        assert await elsewhere(eve) == eve.id
        (active, *ended) = await desk.operators.accounts.sessions(eve.id)
        assert active.status == "active" and {one.status for one in ended} == {"ended"}
        await desk.operators.accounts.end_session(active.id, actor=SHELL.id)
        await refused(eve.principal(), OVER)


async def test_a_step_up_proves_one_purpose_once_and_makes_no_session(desk: Desk) -> None:
    ada, eve = await desk.person("ada"), await desk.person("eve")
    operators, session = desk.operators, await ada.principal()
    before = len(await operators.accounts.sessions(ada.id))
    proof = await ada.step_up(b"sha256 of a refund")
    assert (proof.operator, proof.aal, proof.purpose) == (ada.id, 3, b"sha256 of a refund")
    assert len(await operators.accounts.sessions(ada.id)) == before

    begun = await operators.challenge(session, purpose=b"one refund")
    answer = ada.key.get(begun.options)
    for purpose, who in ((b"another refund", session), (b"one refund", await eve.principal())):
        await refused(
            operators.prove(begun.ticket, answer, session=who, purpose=purpose), "step_up_refused"
        )
    assert await operators.prove(begun.ticket, answer, session=session, purpose=b"one refund")
    await refused(
        operators.prove(begun.ticket, answer, session=session, purpose=b"one refund"),
        "step_up_refused",
    )
    begun = await operators.challenge(session, purpose=b"one refund")
    assert [one["id"] for one in begun.options["allowCredentials"]] != []
    await refused(
        operators.prove(
            begun.ticket, eve.key.get(begun.options), session=session, purpose=b"one refund"
        ),
        "step_up_refused",
    )
    signing_in = await operators.begin("ada", source=SOURCE)
    await refused(
        operators.prove(
            signing_in.ticket, ada.key.get(signing_in.options), session=session, purpose=b""
        ),
        "step_up_refused",
    )


async def test_confirming_makes_a_session_fresh_and_its_old_token_void(desk: Desk) -> None:
    ada = await desk.person("ada")
    desk.clock.move(600)
    session, stolen = await ada.principal(), ada.token
    await refused(
        desk.operators.confirm(session, await ada.step_up(b"a refund")), "step_up_refused"
    )
    old = await ada.step_up(desk.operators.CONFIRM)
    desk.clock.move(301)
    await refused(desk.operators.confirm(session, old), "step_up_refused")
    proof = await ada.step_up(desk.operators.CONFIRM)
    ada.token = await desk.operators.confirm(session, proof)
    fresh = await ada.principal()
    assert (fresh.session, fresh.mfa_at) == (session.session, desk.clock.now())
    await refused(desk.operators.session(stolen, device=ada.device, source=SOURCE), OVER)
