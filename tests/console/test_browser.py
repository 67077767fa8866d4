"""People at Chromium: invited, signed in, confirming; nothing loads, runs or leaks on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pyotp
import pytest
from playwright.sync_api import Browser

from tests.console.support import Site
from tests.support.chromium import Person
from tests.support.oidc_provider import Provider

HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "'-alert(1)-' onfocus=alert(1) autofocus",
    "{{ 7 * 7 }} ${7*7} #{7*7}",
    "javascript:alert(1)//%0d%0aset-cookie:x",
)


@pytest.fixture
def ada(site: Site, browser: Browser, provider: Provider) -> Iterator[Person]:
    person = Person(browser, site.origin, others=(provider.issuer + "/authorize",))
    yield person
    person.close()
    assert person.faults == [] and person.outside == []


def accept(site: Site, person: Person, login: str, **account: str) -> None:
    """Accept an invitation with a passkey."""
    page = person.open("/console/invitation")
    page.fill("#invitation", site.invite(login, **account))
    page.click("main button")
    page.fill("#name", "Key of a test")
    confirm(person)
    page.wait_for_selector("text=Sessions")


def confirm(person: Person) -> None:
    person.page.click("form[data-passkey] button")


def sign_in(person: Person, login: str) -> None:
    page = person.open("/console/sign-in")
    page.fill("#login", login)
    page.click("main form:first-of-type button")
    confirm(person)
    page.wait_for_selector("text=Sessions")


def ask(site: Site, reason: str) -> str:
    """Ask for an approval as a merchant's server does; return its id."""
    payment = "pay_" + site.stack.merchant.removeprefix("mer_")
    body = {
        "action": "refund:create",
        "resource": payment,
        "parameters": {"amount": 4_711, "reason": None},
        "reason": reason,
    }
    answer = site.stack.call("POST", "/v1/approvals", body)
    assert answer.status == 201, answer.body
    made: str = answer.json["id"]
    return made


def refused(person: Person) -> str:
    """Return the code that the page shows."""
    person.page.wait_for_selector("h1:text('Not done')")
    return person.page.inner_text("main code >> nth=0")


def test_invitation_passkey_sign_in_and_out(site: Site, ada: Person) -> None:
    accept(site, ada, "ada.first")
    assert len(ada.passkeys()) == 1 and "Key of a test" in ada.text
    cookies = {cookie["name"]: cookie for cookie in ada.context.cookies()}
    assert set(cookies) == {"__Host-strongroom-session", "__Host-strongroom-device"}
    for cookie in cookies.values():
        assert cookie["secure"] and cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    ada.page.click("header button")
    ada.page.wait_for_selector("#login")
    assert "__Host-strongroom-session" not in {c["name"] for c in ada.context.cookies()}
    sign_in(ada, "ada.first")
    assert ada.page.url == site.origin + "/console"
    ada.page.click("text=End all sessions")
    ada.page.wait_for_selector("#login")
    ada.open("/console/operators")
    assert ada.page.url == site.origin + "/console/sign-in"


def test_a_session_copied_to_another_browser_is_worth_nothing(
    site: Site, ada: Person, browser: Browser
) -> None:
    accept(site, ada, "ada.copied")
    thief = Person(browser, site.origin)
    thief.open("/console/sign-in")
    stolen = [c for c in ada.context.cookies() if c["name"] == "__Host-strongroom-session"]
    thief.context.add_cookies(stolen)
    thief.open("/console")
    assert thief.page.url == site.origin + "/console/sign-in"
    thief.close()


def test_passkeys_are_added_and_removed_after_a_proof(site: Site, ada: Person) -> None:
    accept(site, ada, "ada.keys")
    page = ada.page
    page.fill("#name", HOSTILE[0])
    page.click("text=Add a passkey")
    page.wait_for_selector("h1:text('Confirm')")
    confirm(ada)
    page.wait_for_selector("text=Make the passkey")
    ada.change_device()
    confirm(ada)
    page.wait_for_selector("text=Sessions")
    assert page.locator("button:text-is('Remove')").count() == 2 and HOSTILE[0] in ada.text
    page.click("text=Remove >> nth=0")
    page.wait_for_selector("h1:text('Confirm')")
    confirm(ada)
    page.wait_for_selector("text=removed")
    assert page.locator("button:text-is('Remove')").count() == 1


def test_what_is_confirmed_is_exactly_what_was_shown(site: Site, ada: Person) -> None:
    """The form is changed between the page that shows it and the passkey: it is refused."""
    accept(site, ada, "ada.inviter")
    page = ada.open("/console/operators")
    for tampered in (True, False):
        page.goto(site.origin + "/console/operators")
        page.fill("#login", "grace.invited")
        page.fill("#name", "Grace Example")
        page.click("main form button")
        page.wait_for_selector("h1:text('Confirm')")
        assert "operator-read" in ada.text and "grace.invited" in ada.text
        if tampered:
            page.eval_on_selector("form[data-passkey] [name=role]", "e => e.value='operator-admin'")
        confirm(ada)
        if tampered:
            assert refused(ada) == "step_up_refused"
    page.wait_for_selector("[data-invitation]")
    page.goto(site.origin + "/console/operators")
    row = page.inner_text("tr:has-text('grace.invited')")
    assert "operator-read" in row and "invited" in row
    assert "sri_" not in str(site.entries("identity:operator:invite"))


def test_an_approval_is_a_proof_over_the_hash_of_its_action(site: Site, ada: Person) -> None:
    first, second = ask(site, HOSTILE[1]), ask(site, "the other one")
    accept(site, ada, "ada.approver")
    page = ada.open("/console/approvals")
    assert HOSTILE[1] in ada.text
    for target in (second, first):
        page.goto(site.origin + f"/console/approvals/{first}")
        page.fill("#reason", "looked at it")
        page.click("text=Approve >> nth=-1")
        page.wait_for_selector("h1:text('Confirm')")
        assert HOSTILE[1] in ada.text and "4711" in ada.text and "refund:create" in ada.text
        action = f"/console/approvals/{target}/decide"
        page.eval_on_selector(
            "form[data-passkey]", "(e, to) => e.setAttribute('action', to)", action
        )
        confirm(ada)
        if target == second:
            assert refused(ada) == "step_up_refused"
    page.wait_for_selector("dd:text-is('approved')")
    answer = site.stack.call("GET", f"/v1/approvals/{first}")
    assert answer.json["state"] == "approved" and answer.json["approved_by"]
    assert site.stack.call("GET", f"/v1/approvals/{second}").json["state"] == "open"
    page.goto(site.origin + f"/console/approvals/{second}")
    page.fill("#reason", "not this one")
    page.click("text=Reject >> nth=-1")
    page.wait_for_selector("h1:text('Confirm')")
    confirm(ada)
    page.wait_for_selector("dd:text-is('rejected')")


def test_readers_may_look_and_neither_invite_nor_decide(site: Site, ada: Person) -> None:
    waiting = ask(site, "for somebody else")
    accept(site, ada, "rita.reader", role="operator-read")
    ada.open("/console/operators")
    assert "rita.reader" in ada.text and "Invite somebody" not in ada.text
    ada.open(f"/console/approvals/{waiting}")
    ada.page.fill("#reason", "me too")
    ada.page.click("text=Approve >> nth=-1")
    assert refused(ada) == "permission_denied"
    ada.open("/console")


def test_hostile_text_is_shown_and_does_nothing(site: Site, ada: Person) -> None:
    for hostile in HOSTILE:
        page = ada.open("/console/sign-in")
        page.fill("#login", hostile[:64])
        page.click("main form:first-of-type button")
        page.wait_for_selector("h1:text('Sign in as')")
        assert hostile[:64] in ada.text and page.title() == "Sign in – Strongroom"
        page.goto(site.origin + "/console/sso/callback?state=x&code=" + quote(hostile))
        page.wait_for_selector("h1:text('Not done')")
        assert page.title() == "Not done – Strongroom"
        assert page.locator("img, iframe, object, embed, svg").count() == 0


def test_password_and_codes_work_without_any_script(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(site.origin + "/console/invitation")
    page.fill("#invitation", site.invite("paul.password", name=HOSTILE[1]))
    page.click("main button")
    page.click("summary")
    page.click("text=Continue with a password")
    codes = pyotp.TOTP(page.inner_text("[data-secret]"))
    page.fill("#password", "Tidal 7 marmot violin cellar?")
    page.fill("#code", codes.now())
    page.click("main button")
    page.wait_for_selector("text=Sessions")
    assert HOSTILE[1] in page.inner_text("h1")
    page.click("header button")
    page.fill("#login", "paul.password")
    page.click("main form:first-of-type button")
    page.click("summary")
    page.fill("#password", "Tidal 7 marmot violin cellar?")
    page.fill("#code", codes.now())
    page.click("main details button")
    assert "sign_in_refused" in page.inner_text("main"), "a code is good for one use"
    context.close()


def test_single_sign_on_after_a_link_and_never_for_who_left(
    site: Site, ada: Person, provider: Provider
) -> None:
    accept(site, ada, "ada.sso")
    page = ada.page
    page.click("header button")
    page.click("text=Use company account")
    assert refused(ada) == "sso_refused"
    sign_in(ada, "ada.sso")
    page.click("text=Link an identity")
    confirm(ada)
    page.wait_for_selector("text=End the link")
    assert provider.person["sub"] in ada.text
    operator = re.search(r"opr_\w+", ada.text)
    assert operator is not None
    for groups, may_invite in ((["payments-admins"], 1), (["payments-readers"], 0)):
        page.click("header button")
        provider.person["groups"] = groups
        page.click("text=Use company account")
        page.wait_for_selector("text=Sessions")
        assert "oidc" in ada.text
        ada.open("/console/operators")
        assert page.locator("text=Invite somebody").count() == may_invite

    async def leave(house: Any) -> None:
        await house.operators.accounts.leave(operator[0], actor="local:test", reason="left")

    site.admin(leave)
    provider.person["groups"] = ["payments-admins"]
    page.wait_for_timeout(600)
    ada.open("/console")
    page.wait_for_selector("#login")
    page.click("text=Use company account")
    assert refused(ada) == "sign_in_refused"
    assert provider.person["email"] not in str(site.entries("identity:sso:link"))
