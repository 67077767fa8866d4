"""Signing in with a passkey or with a password and a code, and every way that must not work."""

from __future__ import annotations

import asyncio
import json

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from tests.identity.operators.support import ORIGIN, PASSWORD, SOURCE, Desk, Person, refused
from tests.support.authenticator import Authenticator, checked_by_fido2, raw, text

REFUSED = "sign_in_refused"


async def _with(desk: Desk, person: Person, answer: bytes, ticket: Secret[str]) -> None:
    await desk.operators.finish_passkey(ticket, answer, device=person.device, source=SOURCE)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_an_invited_person_enrolls_a_passkey_and_signs_in(desk: Desk, algorithm: str) -> None:
    ada = await desk.person("ada", algorithm=algorithm, synced=algorithm == "EdDSA")
    begun = await desk.operators.begin("", source=SOURCE)
    asked = begun.options
    assert asked["userVerification"] == "required" and not asked["allowCredentials"]
    assert asked["rpId"] == "pay.example.com"
    answer = ada.key.get(asked)
    checked_by_fido2(ada.key, asked, answer)
    done = await desk.operators.finish_passkey(
        begun.ticket, answer, device=ada.device, source=SOURCE
    )
    principal = await desk.operators.session(done.session, device=ada.device, source=SOURCE)
    assert (principal.id, principal.roles, principal.aal) == (ada.id, ("operator-admin",), 3)
    assert principal.mfa_at == desk.clock.now() and principal.session is not None
    (passkey,) = await desk.operators.enrolling.passkeys(principal)
    assert passkey.backup_eligible is passkey.backed_up is (algorithm == "EdDSA")
    told = json.dumps([*await desk.entries("sign_in"), *await desk.entries("enroll")])
    assert ada.id in told and "ada" not in told.replace(ada.id, "") and SOURCE not in told


async def test_what_a_stolen_or_forged_assertion_is_worth(desk: Desk) -> None:
    """Replay, another origin, another rp id, no verification, a frame, other algorithms."""
    ada = await desk.person("ada")
    begun = await desk.operators.begin("ada", source=SOURCE)
    answer = ada.key.get(begun.options)
    await _with(desk, ada, answer, begun.ticket)
    said = {await refused(_with(desk, ada, answer, begun.ticket), REFUSED)}  # a replay

    async def attack(answer: bytes, ticket: Secret[str]) -> None:
        said.add(await refused(_with(desk, ada, answer, ticket), REFUSED))

    begun = await desk.operators.begin("ada", source=SOURCE)
    await attack(answer, begun.ticket)  # an assertion for another challenge
    phished = Authenticator("https://pay.example.com.evil.example")
    phished.__dict__.update(ada.key.__dict__ | {"origin": phished.origin})
    for changed in (
        {"rp_id": "evil.example"},
        {"verified": False},
        {"framed_by": "https://evil.example"},
        {"framed_by": 7},
        {"user_handle": b"somebody else here"},
    ):
        begun = await desk.operators.begin("ada", source=SOURCE)
        await attack(ada.key.get(begun.options, **changed), begun.ticket)
    begun = await desk.operators.begin("ada", source=SOURCE)
    await attack(phished.get(begun.options), begun.ticket)
    for nonsense in (b"", b"{}", b"null", b"\xff", b"[" * 9000, b'{"id":"' + b"A" * 40 + b'"}'):
        begun = await desk.operators.begin("ada", source=SOURCE)
        await attack(nonsense, begun.ticket)
    assert len(said) == 1, "one sentence for every cause"
    assert (await ada.sign_in("ada")).operator.id == ada.id


async def test_a_ticket_is_ours_once_and_for_five_minutes(desk: Desk) -> None:
    ada = await desk.person("ada")
    begun = await desk.operators.begin("ada", source=SOURCE)
    answer, whole = ada.key.get(begun.options), begun.ticket.reveal()
    turned = text(bytes([raw(whole)[0] ^ 1]) + raw(whole)[1:])
    longer = text(raw(whole) + b"\0")
    for forged in ("", "x", turned, longer, whole + "=", whole[:-2], "A" * 20_000):
        await refused(_with(desk, ada, answer, Secret(forged)), REFUSED)
    desk.clock.move(300)
    await refused(_with(desk, ada, answer, begun.ticket), REFUSED)
    assert set(await desk.reasons()) == {"ticket_not_valid"}
    assert whole not in repr(begun) + str(begun)


async def test_a_passkey_signs_in_its_own_person_only(desk: Desk) -> None:
    ada, eve = await desk.person("ada"), await desk.person("eve")
    begun = await desk.operators.begin("ada", source=SOURCE)
    await refused(_with(desk, eve, eve.key.get(begun.options), begun.ticket), REFUSED)
    stranger = Person(desk, Authenticator(ORIGIN))
    stranger.key.user_handle = ada.key.user_handle
    begun = await desk.operators.begin("ada", source=SOURCE)
    await refused(_with(desk, stranger, stranger.key.get(begun.options), begun.ticket), REFUSED)
    eve.key.credential_id = ada.key.credential_id  # eve's key under ada's name
    begun = await desk.operators.begin("ada", source=SOURCE)
    await refused(_with(desk, eve, eve.key.get(begun.options), begun.ticket), REFUSED)
    assert "passkey_of_another_person" in await desk.reasons()


async def test_a_credential_is_enrolled_by_one_person_only(desk: Desk) -> None:
    ada = await desk.person("ada")
    _, code = await desk.invited("eve")
    eve = Person(desk, ada.key)
    await refused(eve.accept(code), "invitation_refused")
    eve.key = Authenticator(ORIGIN)
    assert (await eve.accept(code)).operator.login == "eve", "the invitation was not used up"


async def test_a_counter_that_goes_back_ends_the_passkey(desk: Desk) -> None:
    """A clone of the key counts on its own; whichever comes second, both are out."""
    ada = await desk.person("ada")
    await ada.sign_in()
    await ada.sign_in()
    ada.key.count = 0
    await refused(ada.sign_in(), REFUSED)
    ada.key.count = 50
    await refused(ada.sign_in(), REFUSED)
    assert "passkey_counter_went_back" in await desk.reasons()
    (ended,) = await desk.entries("end_passkey")
    assert ended["subject"] == ada.id and ended["outcome"] == "ended"
    bob = await desk.person("bob", counts=False)
    assert await bob.sign_in() and await bob.sign_in(), "synced passkeys do not count at all"


async def test_a_password_counts_with_a_code_only(desk: Desk) -> None:
    bob = await desk.typist("bob")
    done = await bob.sign_in()
    assert (await bob.principal()).aal == 2 and done.operator.id == bob.id
    desk.clock.move(60)
    said = {
        await refused(bob.sign_in(password="not " + PASSWORD), REFUSED),
        await refused(bob.sign_in(code="000000"), REFUSED),
        await refused(bob.sign_in(code=""), REFUSED),
        await refused(bob.sign_in(login="nobody"), REFUSED),
        await refused(bob.sign_in(login="\u0000" * 900), REFUSED),
        await refused(bob.sign_in(password="x" * 100_000), REFUSED),
    }
    assert len(said) == 1
    assert set(await desk.reasons()) == {"unknown_login", "wrong_password_or_code"}


async def test_a_code_signs_in_once_however_it_is_spelled(desk: Desk) -> None:
    bob = await desk.typist("bob")
    code = bob.code()
    wide = code.translate({48 + n: 0xFF10 + n for n in range(10)})
    spellings = [code, f"{code[:3]} {code[3:]}", f" {code} ", wide, f"{code[:3]}-{code[3:]}"]
    begun = [await desk.operators.begin("bob", source=SOURCE) for _ in range(20)]
    results = await asyncio.gather(
        *(
            desk.operators.finish_password(
                challenge.ticket,
                Secret(PASSWORD),
                Secret(spellings[n % len(spellings)]),
                device=bob.device,
                source=SOURCE,
            )
            for n, challenge in enumerate(begun)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert all(
        isinstance(r, StrongroomError) and r.code == REFUSED
        for r in results
        if isinstance(r, BaseException)
    )
    for spelling in spellings:
        await refused(bob.sign_in(code=spelling), REFUSED)


async def test_an_unknown_login_is_answered_like_a_known_one(desk: Desk) -> None:
    """The same shape at the beginning, the same work at the end: a hash, a code, a try counted."""
    await desk.typist("bob")
    await desk.person("ada")
    shapes = set()
    for login in ("bob", "ada", "nobody", "ADA\u00a0"):
        begun = await desk.operators.begin(login, source=SOURCE)
        options = {name: value for name, value in begun.options.items() if name != "challenge"}
        shapes.add(json.dumps(options, sort_keys=True))
    assert len(shapes) == 1
    work: list[str] = []
    desk.watch(work)
    for login in ("bob", "ada", "nobody"):
        stranger = await desk.stranger(login)
        work.clear()
        await refused(stranger.sign_in(password="wrong", code="000000"), REFUSED)
        assert work == ["hash", "code"], login
