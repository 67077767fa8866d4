"""People come, change, lose their keys and leave: each step, and who may not take it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pyotp
import pytest

from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel.edge_limits import PASSKEYS_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Secret
from tests.identity.operators.support import (
    ORIGIN,
    PASSWORD,
    SHELL,
    SOURCE,
    Desk,
    House,
    Person,
    Typist,
    refused,
)
from tests.identity.support import bearer
from tests.support.authenticator import Authenticator

INVITATION = "invitation_refused"


async def test_an_invitation_is_good_once_and_for_three_days(desk: Desk) -> None:
    _, code = await desk.invited("ada")
    assert code.reveal() not in repr(code)
    ada, thief = Person(desk, Authenticator(ORIGIN)), Person(desk, Authenticator(ORIGIN))
    enrolling = desk.operators.enrolling
    begun = [await enrolling.accept(code) for _ in range(2)]
    results = await asyncio.gather(
        *(
            enrolling.accept_passkey(
                challenge.ticket,
                person.key.create(challenge.options),
                name="phone",
                device=person.device,
                source=SOURCE,
            )
            for challenge, person in zip(begun, (ada, thief), strict=True)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, StrongroomError) for result in results) == 1
    await refused(thief.accept(code), INVITATION)
    view, code = await desk.operators.accounts.invite(
        "bob", name="Bob", role="operator-read", actor=SHELL.id
    )
    desk.clock.move(72 * 3600)
    await refused(thief.accept(code), INVITATION)
    _, again = await desk.operators.accounts.invite_again(view.id, actor=SHELL.id)
    await refused(thief.accept(code), INVITATION)
    for wrong in ("", "sri_", "x" * 47, "\0"):
        await refused(thief.accept(Secret(wrong)), INVITATION)
    unverified = await enrolling.accept(again)
    await refused(
        enrolling.accept_passkey(
            unverified.ticket,
            ada.key.create(unverified.options, verified=False),
            name="phone",
            device=ada.device,
            source=SOURCE,
        ),
        "passkey_refused",
    )
    assert (await Person(desk, Authenticator(ORIGIN)).accept(again)).operator.login == "bob"


async def test_a_login_is_one_persons_and_none_that_looks_alike(desk: Desk) -> None:
    invite = desk.operators.accounts.invite
    await desk.invited("Mike.Moore")
    for twin in (
        "mike.moore",
        "MIKE.MOORE ",
        "mikemoore",
        "mike-moore",
        "rnike.m0ore",
        "m1ke.moore",
    ):
        await refused(
            invite(twin, name="Mike", role="operator-read", actor=SHELL.id), "operator_exists"
        )
    for bad in ("m\u0456ke.moore", "a", "admin", "ops2", "x y z", ".dot", "a" * 65, "a\0b\0c"):
        await refused(
            invite(bad, name="Mike", role="operator-read", actor=SHELL.id), "invalid_parameter"
        )
    for name in ("", " Mike", "M\u202eike", "\u041cike Moore", "x" * 101):
        await refused(
            invite("newcomer", name=name, role="operator-read", actor=SHELL.id),
            "invalid_parameter",
        )


async def test_the_last_administrator_stays(desk: Desk) -> None:
    accounts = desk.operators.accounts
    ada, eve = await desk.person("ada"), await desk.person("eve")
    await accounts.set_role(eve.id, "operator-read", actor=ada.id)
    await refused(eve.principal(), "unauthenticated")
    for doing in (
        accounts.leave(ada.id, actor=ada.id, reason="bye"),
        accounts.set_role(ada.id, "operator-read", actor=ada.id),
    ):
        await refused(doing, "last_administrator")
    await accounts.set_role(eve.id, "operator-admin", actor=ada.id)
    results = await asyncio.gather(
        accounts.leave(ada.id, actor=eve.id, reason="row"),
        accounts.leave(eve.id, actor=ada.id, reason="row"),
        return_exceptions=True,
    )
    left = [result for result in results if not isinstance(result, BaseException)]
    assert len(left) == 1, "two who see each other off at once leave one"


async def test_a_leaver_is_out_of_everything_within_a_second(house: House, desk: Desk) -> None:
    ada, eve = await desk.person("ada"), await desk.person("eve")
    withdrawn: list[str] = []

    async def withdraw(operator: str) -> None:
        withdrawn.append(operator)

    desk.operators.accounts.on_leave.append(withdraw)
    spec = KeySpec(merchant=None, kind=KeyKind.RESTRICTED, role="operator-read", owner="EVE")
    _, hers = await desk.identity.create_key(spec, actor="local:ada")
    _, made = await desk.identity.create_key(
        KeySpec(merchant=None, kind=KeyKind.RESTRICTED, role="operator-read", owner="a script"),
        actor=eve.id,
    )
    _, other = await desk.identity.create_key(
        KeySpec(merchant=None, kind=KeyKind.RESTRICTED, role="operator-read", owner="ada"),
        actor=ada.id,
    )
    async with house.process() as far:
        for key in (hers, made, other):
            await far.identity.authenticate(bearer(key))
        begun = await desk.operators.challenge(await eve.principal(), purpose=b"p")
        session = await eve.principal()
        view = await desk.operators.accounts.leave(eve.id, actor=ada.id, reason="end of contract")
        assert view.status == "left" and withdrawn == [eve.id]
        desk.clock.move(0.6)
        for key in (hers, made):
            await refused(far.identity.authenticate(bearer(key)), "unauthenticated")
        assert (await far.identity.authenticate(bearer(other))).roles == ("operator-read",)
        await refused(
            far.operators.session(eve.token, device=eve.device, source=SOURCE), "unauthenticated"
        )
        await refused(
            desk.operators.prove(
                begun.ticket, eve.key.get(begun.options), session=session, purpose=b"p"
            ),
            "step_up_refused",
        )
    await refused(eve.sign_in(), "sign_in_refused")
    assert not await desk.operators.accounts.is_active(eve.id)
    (entry,) = await desk.entries("leave")
    assert entry["facts"] == {"api_keys": 2} and entry["actor"] == ada.id
    await refused(
        desk.operators.accounts.invite("eve", name="Eve", role="operator-read", actor=ada.id),
        "operator_exists",
    )


async def test_a_recovery_takes_two_others_and_ends_what_was(desk: Desk) -> None:
    recoveries = desk.operators.accounts.recoveries
    ada, eve, kim = [await desk.person(login) for login in ("ada", "eve", "kim")]
    bob = await desk.typist("bob")
    asker, second = await ada.principal(), await eve.principal()
    reader = await bob.principal()
    two = "second_person_needed"
    await refused(recoveries.ask(ada.id, actor=asker, reason="mine"), two)
    await refused(recoveries.ask(ada.id, actor=reader, reason="no administrator"), two)
    await refused(recoveries.approve(bob.id, actor=second), "recovery_not_found")
    asked = await recoveries.ask(bob.id, actor=asker, reason="phone lost")
    await refused(recoveries.approve(bob.id, actor=asker), two)
    await refused(recoveries.approve(bob.id, actor=reader), two)
    assert (await bob.principal()).id == bob.id, "nothing ended yet"
    assert [one.id for one in await recoveries.waiting()] == [asked.id]
    done, code = await recoveries.approve(bob.id, actor=second)
    assert (done.asked_by, done.approved_by) == (ada.id, eve.id)
    await refused(bob.principal(), "unauthenticated")
    await refused(bob.sign_in(), "sign_in_refused")
    await refused(recoveries.approve(bob.id, actor=await kim.principal()), "recovery_not_found")
    again = Typist(desk, "bob")
    await refused(again.accept(code), "password_refused")  # the password he had
    assert (await again.accept(code, "An0ther-river-42")).operator.id == bob.id
    await refused(again.accept(code, "An0ther-river-43"), INVITATION)
    shell = "local:ada"
    await recoveries.ask(bob.id, actor=SHELL, reason="again")
    await refused(recoveries.approve(bob.id, actor=SHELL), two)
    await refused(recoveries.approve(bob.id, actor=asker), two)  # at her shell she is herself
    assert (await recoveries.approve(bob.id, actor=second))[0].asked_by == shell
    await recoveries.ask(bob.id, actor=await kim.principal(), reason="once more")
    await desk.operators.accounts.leave(kim.id, actor=ada.id, reason="end of contract")
    await refused(recoveries.approve(bob.id, actor=second), two)  # one of the two has left


async def test_what_was_begun_before_an_account_changed_hands_ends_with_it(desk: Desk) -> None:
    ada, eve, bob = [await desk.person(login) for login in ("ada", "eve", "bob")]
    enrolling, recoveries = desk.operators.enrolling, desk.operators.accounts.recoveries
    linked = (uuid4(), uuid_of(bob.id, "opr"), desk.clock.now())
    await desk.owner.execute(
        "INSERT INTO iam.oidc_link (id, issuer, subject, operator_id, linked_at, version) "
        "VALUES ($1, 'https://login.example.com', 'mallory', $2, $3, 1)", *linked,
    )  # fmt: skip
    thief = await bob.principal()
    begun = await enrolling.begin_passkey(thief, await bob.step_up(enrolling.FACTORS))
    await recoveries.ask(bob.id, actor=await ada.principal(), reason="laptop stolen")
    _, code = await recoveries.approve(bob.id, actor=await eve.principal())
    spare = Authenticator(ORIGIN)
    add = enrolling.add_passkey(
        begun.ticket, spare.create(begun.options), session=thief, name="spare"
    )
    await refused(add, "unauthenticated")
    await Person(desk, Authenticator(ORIGIN)).accept(code)
    await refused(Person(desk, spare).sign_in(), "sign_in_refused")
    open_links = "SELECT count(*) FROM iam.oidc_link WHERE ended_at IS NULL"
    assert await desk.owner.fetchval(open_links) == 0, "whoever linked it has no way in any more"


async def test_an_invitation_that_was_replaced_is_worth_nothing_once_begun(desk: Desk) -> None:
    operator, first = await desk.invited("ada")
    begun = await desk.operators.enrolling.accept(first)
    codes = await desk.operators.enrolling.accept_code(first)
    _, code = await desk.operators.accounts.invite_again(operator, actor=SHELL.id)
    thief = Person(desk, Authenticator(ORIGIN))
    late = {"device": thief.device, "source": SOURCE}
    by_passkey = desk.operators.enrolling.accept_passkey(
        begun.ticket, thief.key.create(begun.options), name="phone", **late
    )
    await refused(by_passkey, INVITATION)
    one_time = pyotp.TOTP(codes.options["secret"]).at(desk.clock.now())
    by_password = desk.operators.enrolling.accept_password(
        codes.ticket, Secret(PASSWORD), Secret(one_time), **late
    )
    await refused(by_password, INVITATION)
    assert (await Person(desk, Authenticator(ORIGIN)).accept(code)).operator.id == operator


async def test_who_administers_no_more_has_no_key_that_does(desk: Desk) -> None:
    ada, eve = await desk.person("ada"), await desk.person("eve")
    keys = {}
    for role, owner in (
        ("operator-admin", "eve"),
        ("operator-read", "eve"),
        ("operator-admin", "ada"),
    ):
        spec = KeySpec(merchant=None, kind=KeyKind.RESTRICTED, role=role, owner=owner)
        keys[role, owner] = (await desk.identity.create_key(spec, actor="local:root"))[1]
    await desk.operators.accounts.set_role(eve.id, "operator-read", actor=ada.id)
    desk.clock.move(0.6)
    await refused(
        desk.identity.authenticate(bearer(keys["operator-admin", "eve"])), "unauthenticated"
    )
    for kept in (("operator-read", "eve"), ("operator-admin", "ada")):
        assert (await desk.identity.authenticate(bearer(keys[kept]))).roles == (kept[0],)


async def test_a_person_has_ten_passkeys_at_most_however_many_were_begun(desk: Desk) -> None:
    ada = await desk.person("ada")
    enrolling, session = desk.operators.enrolling, await ada.principal()
    proof = await ada.step_up(enrolling.FACTORS)
    begun = [await enrolling.begin_passkey(session, proof) for _ in range(PASSKEYS_MAX)]
    results = []
    for challenge in begun:
        made = Authenticator(ORIGIN).create(challenge.options)
        adding = enrolling.add_passkey(challenge.ticket, made, session=session, name="one more")
        results += await asyncio.gather(adding, return_exceptions=True)
    assert [isinstance(result, StrongroomError) for result in results] == [False] * 9 + [True]


async def test_the_shell_alone_recovers_the_only_administrator(desk: Desk) -> None:
    ada = await desk.person("ada")
    recoveries = desk.operators.accounts.recoveries
    await recoveries.ask(ada.id, actor=SHELL, reason="phone lost")
    _, code = await recoveries.approve(ada.id, actor=SHELL)
    lost, ada.key = ada.key, Authenticator(ORIGIN)
    assert (await ada.accept(code)).operator.id == ada.id
    thief = Person(desk, lost)
    await refused(thief.sign_in(), "sign_in_refused")


async def test_an_account_that_nobody_used_for_ninety_days_is_closed(desk: Desk) -> None:
    ada, eve = await desk.person("ada"), await desk.person("eve")
    desk.clock.move(60 * 86400)
    await ada.sign_in()
    desk.clock.move(30 * 86400)
    await refused(eve.sign_in(), "sign_in_refused")
    assert "account_idle" in await desk.reasons()
    await desk.operators.work()
    assert [(o.login, o.status) for o in await desk.operators.accounts.list_all()] == [
        ("ada", "active"),
        ("eve", "disabled"),
    ]
    desk.clock.move(61 * 86400)
    await desk.operators.work()
    await refused(ada.sign_in(), "sign_in_refused")
    assert (await desk.operators.accounts.show("ada")).status == "active", "the last one stays"


async def test_a_person_keeps_several_passkeys_and_never_none(desk: Desk) -> None:
    ada = await desk.person("ada")
    enrolling, session = desk.operators.enrolling, await ada.principal()
    first = (await enrolling.passkeys(session))[0].id
    await refused(
        enrolling.begin_passkey(session, await ada.step_up(b"something else")), "step_up_refused"
    )
    proof = await ada.step_up(enrolling.FACTORS)
    await refused(enrolling.remove_passkey(session, proof, first), "passkey_refused")
    begun = await enrolling.begin_passkey(session, proof)
    assert len(begun.options["excludeCredentials"]) == 1
    spare = Authenticator(ORIGIN, algorithm="EdDSA")
    added = await enrolling.add_passkey(
        begun.ticket, spare.create(begun.options), session=session, name="spare"
    )
    await enrolling.remove_passkey(session, proof, first)
    await refused(ada.sign_in(), "sign_in_refused")
    ada.key = spare
    await ada.sign_in()
    shown = {one.id: one.status for one in await enrolling.passkeys(session)}
    assert shown == {first: "removed", added.id: "active"}


async def test_the_last_four_passwords_are_barred(desk: Desk) -> None:
    bob = await desk.typist("bob")
    enrolling, session = desk.operators.enrolling, await bob.principal()

    async def change(password: str) -> None:
        begun = await desk.operators.challenge(session, purpose=enrolling.FACTORS)
        proof = await desk.operators.prove_code(
            begun.ticket,
            Secret(bob.code()),
            session=session,
            device=bob.device,
            source=SOURCE,
            purpose=enrolling.FACTORS,
        )
        desk.clock.move(90)
        await enrolling.change_password(session, proof, Secret(password))

    for n in range(3):
        await change(f"Quiet-harbor-{n}7")
        await refused(change(PASSWORD), "password_refused")
    await change("Quiet-harbor-37")
    await change(PASSWORD)
    assert (await bob.sign_in()).operator.id == bob.id


@pytest.mark.parametrize(
    "password",
    [
        "Short-1words",
        "12345678901234",
        "OnlyLettersHere",
        "Password12345!",
        "P@ssw0rd123456",
        "Welcome2024!!!",
        "qwertyuiop1234",
        "Summer2025Summer",
        "aaaaaaaaaaaa1",
        "Bobington-4711x",
        "Strongroom-2026",
        "x1" * 65,
    ],
)
def test_a_password_that_everybody_tries_is_refused(password: str) -> None:
    from strongroom.identity.operators import passwords

    about = ("bobington", "Bob Ington")
    if password == "Short-1words":
        passwords.check(Secret(password), about=about)  # twelve characters exactly
        password = password[:-1]
    with pytest.raises(StrongroomError, match="password"):
        passwords.check(Secret(password), about=about)


async def test_what_the_database_knows_lets_nobody_in(desk: Desk) -> None:
    bob = await desk.typist("bob")
    _, code = await desk.invited("eve")
    stored = await desk.everything_stored()
    for secret in (bob.token, bob.device, code, Secret(PASSWORD), Secret(bob.secret)):
        assert secret.reveal().encode() not in stored
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in stored
