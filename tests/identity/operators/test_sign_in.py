"""Signing in with a passkey or with a password and a code, and everything that must not."""

from __future__ import annotations

from tests.identity.operators.support import ORIGIN, Desk
from tests.support.authenticator import checked_by_fido2


async def test_an_invited_person_enrolls_a_passkey_and_signs_in(desk: Desk) -> None:
    ada = await desk.person("ada")
    begun = await desk.operators.begin("", source="192.0.2.7")
    assert begun.options["userVerification"] == "required" and not begun.options["allowCredentials"]
    assert begun.options["rpId"] == "pay.example.com"
    answer = ada.key.get(begun.options)
    checked_by_fido2(ada.key, begun.options, answer)
    done = await desk.operators.finish_passkey(
        begun.ticket, answer, device=ada.device, source="192.0.2.7"
    )
    principal = await desk.operators.session(done.session, device=ada.device, source="192.0.2.7")
    assert (principal.id, principal.roles, principal.aal) == (ada.id, ("operator-admin",), 3)
    assert principal.mfa_at == desk.clock.now() and principal.session is not None
    assert ada.key.origin == ORIGIN


async def test_a_password_and_a_code_sign_in(desk: Desk) -> None:
    bob = await desk.typist("bob")
    done = await bob.sign_in()
    assert (await bob.principal()).aal == 2 and done.operator.id == bob.id
