"""Four eyes over real HTTP: keys ask, people with passkeys approve, and it happens once."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from strongroom.access.break_glass import purpose_of
from strongroom.app.console import console_origin
from strongroom.console.cookies import DEVICE, SESSION
from strongroom.identity import KeyKind, KeySpec
from strongroom.identity.operators import RelyingParty, new_device
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from tests.cli.support import strongroom
from tests.console.support import Raw
from tests.support.authenticator import Authenticator
from tests.support.pay import card, new_key, pay
from tests.support.stack import Answer, Stack

PURPOSE = {"purpose": "dispute_evidence"}
SETTINGS = "\n[four_eyes]\nin_test = true\nrefunds_alone_up_to = { EUR = 500 }\n"
SOURCE = "192.0.2.7"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation in test mode that demands four eyes."""
    running = Stack(tmp_path_factory.mktemp("guarded")).start()
    try:
        running.stop()
        with (running.data_dir / "strongroom.toml").open("a") as settings:
            settings.write(SETTINGS)
        yield running.start()
    finally:
        running.stop()


class Person:
    """An administrator: an account with a passkey, and an API key of theirs."""

    def __init__(self, stack: Stack, login: str) -> None:
        self.stack, self.login = stack, login
        self.passkey: Authenticator
        self.device = new_device()
        self.token: Secret[str] = Secret("")
        self.id, self.key = stack.admin(self._come)

    async def _come(self, house: Any) -> tuple[str, str]:
        party = RelyingParty.from_url(console_origin(house.settings))
        self.passkey = Authenticator(party.origin)
        view, code = await house.operators.accounts.invite(
            self.login, name=self.login.title(), role="operator-admin", actor="local:test"
        )
        begun = await house.operators.enrolling.accept(code)
        done = await house.operators.enrolling.accept_passkey(
            begun.ticket, self.passkey.create(begun.options), name="phone", device=self.device,
            source=SOURCE,
        )  # fmt: skip
        self.token = done.session
        spec = KeySpec(
            merchant=None, kind=KeyKind.RESTRICTED, role="operator-admin", owner=self.login
        )
        _, secret = await house.identity.create_key(spec, actor="local:test")
        return view.id, secret.reveal()

    async def session(self, house: Any) -> Any:
        return await house.operators.session(self.token, device=self.device, source=SOURCE)

    async def step_up(self, house: Any, session: Any, purpose: bytes) -> Any:
        begun = await house.operators.challenge(session, purpose=purpose)
        return await house.operators.prove(
            begun.ticket, self.passkey.get(begun.options), session=session, purpose=purpose
        )

    def decides(self, approval: str, verdict: str = "approve") -> str:
        """Decide with the passkey; return the state, or the code of the refusal."""

        async def work(house: Any) -> str:
            session = await self.session(house)
            found = await house.approvals.get(approval, principal=session)
            proof = await self.step_up(house, session, found.action_sha256)
            try:
                done = await house.approvals.decide(
                    approval, principal=session, step_up=proof, verdict=verdict, reason="looked"
                )
            except StrongroomError as error:
                return error.code
            return str(done.state)

        return str(self.stack.admin(work))

    def confirms(self, path: str, form: dict[str, str]) -> tuple[Raw, Any]:
        """Send a form of the console and its proof; return the browser and the last answer."""
        place = SimpleNamespace(port=urlsplit(self.stack.url).port, origin=self.passkey.origin)
        raw = Raw(place)  # type: ignore[arg-type]
        raw.cookies = {SESSION: self.token.reveal(), DEVICE: self.device.reveal()}
        token = _found(r'name="form_token" value="([^"]+)"', raw.get("/console").text)
        form = {**form, "form_token": token}
        asked = raw.post(path, form).text
        form["ticket"] = _found(r'name="ticket" value="([^"]+)"', asked)
        form["response"] = self.passkey.get(_options(asked)).decode()
        return raw, raw.post(path, form)

    def invites(self, login: str, **fields: str) -> str:
        """Invite an administrator in the console; return what happened, or the request for it."""
        form = {"login": login, "name": login.title(), "role": "operator-admin", **fields}
        _, done = self.confirms("/console/operators/invite", form)
        if done.status == 303:
            return str(done.getheader("location")).removeprefix("/console/approvals/")
        return "invited" if "sri_" in done.text else _found(r"<code>([a-z_]+)</code>", done.text)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {"Strongroom-Merchant": self.stack.merchant, **headers}
        return self.stack.call(method, path, body, key=self.key, headers=named)


@pytest.fixture(scope="module")
def people(guarded: Stack) -> tuple[Person, Person]:
    return Person(guarded, "alice"), Person(guarded, "bob")


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _options(page: str) -> Any:
    """Return what a page asks the browser's passkeys for."""
    return json.loads(html.unescape(_found(r'data-options="([^"]+)"', page)))


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, "" if answer.status < 400 else str(answer.json["code"])


def asked(call: Callable[..., Answer], action: str, resource: str, **parameters: Any) -> str:
    body = {
        "action": action, "resource": resource, "parameters": parameters, "reason": "case 4711",
    }  # fmt: skip
    made = call("POST", "/v1/approvals", body)
    assert made.status == 201, made.body
    return str(made.json["id"])


def test_a_card_number_is_seen_by_two_people_once(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    alice, bob = people
    token, other = (
        guarded.call("POST", "/v1/tokens", {"card": card(), "save": True}).json["id"]
        for _ in range(2)
    )
    path = f"/v1/tokens/{token}/reveal"
    refused = alice.call("POST", path, PURPOSE)
    assert code(refused) == (403, "approval_required")
    assert "POST /v1/approvals" in refused.json["detail"]
    approval = asked(alice.call, "token:reveal", token, **PURPOSE)
    named = {"Strongroom-Approval": approval}
    assert code(alice.call("POST", path, PURPOSE, **named)) == (403, "approval_incomplete")
    assert alice.decides(approval) == "approval_own", "the person of the key that asked"
    assert bob.decides(approval) == "approved"
    for wrong in (
        alice.call("POST", f"/v1/tokens/{other}/reveal", PURPOSE, **named),
        alice.call("POST", path, {"purpose": "law_enforcement"}, **named),
        bob.call("POST", path, PURPOSE, **named),
    ):
        assert code(wrong) == (409, "approval_mismatch")
    seen = alice.call("POST", path, PURPOSE, **named)
    assert (seen.status, seen.json["number"]) == (200, "4242424242424242")
    assert code(alice.call("POST", path, PURPOSE, **named)) == (409, "approval_used")
    shown = bob.call("GET", f"/v1/approvals/{approval}").json
    assert (shown["state"], shown["approved_by"]) == ("used", [bob.id])


def test_small_refunds_at_once_add_up_too(guarded: Stack) -> None:
    """Each was asked about before any of them was there; what counts is the payment as it is."""
    payment = pay(guarded, amount=2_000).json["id"]
    path = f"/v1/payments/{payment}/refunds"

    def refund(_: int) -> Answer:
        return guarded.call("POST", path, {"amount": 200}, idempotency_key=new_key())

    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(refund, range(8)))
    assert sum(answer.status == 201 for answer in answers) <= 2, "400 of 500"
    assert guarded.call("GET", f"/v1/payments/{payment}").json["amount_refunded"] <= 500


def test_a_large_refund_takes_an_operator_and_small_ones_add_up(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    _, bob = people
    payment = pay(guarded).json["id"]
    path = f"/v1/payments/{payment}/refunds"

    def refund(amount: int, key: str, approval: str = "") -> Answer:
        headers = {"Strongroom-Approval": approval} if approval else {}
        return guarded.call("POST", path, {"amount": amount}, idempotency_key=key, headers=headers)

    first = new_key()
    alone = refund(400, first)
    assert alone.status == 201
    assert code(refund(200, new_key())) == (403, "approval_required"), "400 and 200 are 600"
    again = refund(400, first)
    assert (again.status, again.body) == (201, alone.body), "a repetition needs no approval"
    approval = asked(guarded.call, "refund:create", payment, amount=200)
    assert bob.decides(approval) == "approved"
    assert code(refund(201, new_key(), approval)) == (409, "approval_mismatch")
    key = new_key()
    done = refund(200, key, approval)
    assert done.status == 201, done.body
    repeated = refund(200, key, approval)
    assert (repeated.status, repeated.body) == (201, done.body)
    assert code(refund(200, new_key(), approval)) == (409, "approval_used")
    assert len(guarded.call("GET", path).json["data"]) == 2


def test_a_rejection_and_another_merchants_approval(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    _, bob = people
    payment = pay(guarded).json["id"]
    approval = asked(guarded.call, "refund:create", payment, amount=900)
    assert bob.decides(approval, "reject") == "rejected"
    answer = guarded.call(
        "POST", f"/v1/payments/{payment}/refunds", {"amount": 900}, idempotency_key=new_key(),
        headers={"Strongroom-Approval": approval},
    )  # fmt: skip
    assert code(answer) == (403, "approval_rejected")
    _, stranger = guarded.add_merchant("Somebody else")
    theirs = guarded.call("GET", f"/v1/approvals/{approval}", key=stranger)
    assert code(theirs) == (404, "approval_not_found")
    assert guarded.call("GET", "/v1/approvals", key=stranger).json["data"] == []


def test_in_an_emergency_one_is_enough_and_everything_is_written_down(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    alice, bob = people
    token = guarded.call("POST", "/v1/tokens", {"card": card(), "save": True}).json["id"]
    path = f"/v1/tokens/{token}/reveal"
    why = "fraud under way, nobody else reachable"

    async def work(house: Any) -> str:
        session = await bob.session(house)
        proof = await bob.step_up(house, session, purpose_of(bob.id, minutes=5, reason=why))
        opened = await house.break_glass.open(session, minutes=5, reason=why, step_up=proof)
        return str(opened.id)

    assert code(bob.call("POST", path, PURPOSE)) == (403, "approval_required")
    emergency = guarded.admin(work)
    answer = _until(lambda: bob.call("POST", path, PURPOSE))
    assert answer.json["number"] == "4242424242424242"
    assert code(alice.call("POST", path, PURPOSE)) == (403, "approval_required")
    entries = guarded.call("GET", f"/v1/journal/entries?subject={emergency}", key=bob.key).json[
        "data"
    ]
    acts = {e["request"]: e["facts"] for e in entries if e["action"] == "access:break_glass:act"}
    assert acts[answer.headers["request-id"]]["action"] == "token:reveal"


def test_nobody_makes_an_administrator_alone(guarded: Stack, people: tuple[Person, Person]) -> None:
    alice, bob = people
    reader = ("operators", "invite", "rita", "--name=Rita", "--role=operator-read")
    assert strongroom(*reader, data_dir=guarded.data_dir).code == 0
    invite = ("operators", "invite", "mallory", "--name=Mallory", "--role=operator-admin")
    promote = ("operators", "role", "rita", "operator-admin")
    rita = strongroom("operators", "show", "rita", "--json", data_dir=guarded.data_dir).json["id"]
    role = {"role": "operator-admin"}
    for words, action, resource, parameters in (
        (invite, "operator:invite", "operator", {"login": "mallory", "name": "Mallory", **role}),
        (promote, "operator:change_role", rita, role),
    ):
        alone = strongroom(*words, data_dir=guarded.data_dir)
        assert "(approval_required)" in alone.err, alone.out + alone.err
        approval = strongroom(
            "access-approvals", "request", action, f"--resource={resource}", "--reason=new",
            f"--parameters={json.dumps(parameters)}", "--json", data_dir=guarded.data_dir,
        ).json["id"]  # fmt: skip
        assert [person.decides(approval) for person in people] == ["open", "approved"]
        done = strongroom(*words, f"--approval={approval}", data_dir=guarded.data_dir)
        assert done.code == 0, done.err
    asked = alice.invites("mona")
    assert alice.decides(asked) == "approval_own"
    assert bob.decides(asked) == "approved"
    assert alice.invites("mina", approval=asked) == "approval_mismatch"
    assert alice.invites("mona", approval=asked) == "invited"
    assert alice.invites("mona", approval=asked) == "approval_used"


def test_a_second_administrator_approves_a_recovery_in_the_console(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    alice, _ = people
    lost = Person(guarded, "zoe")
    ask = ("operators", "recover", "zoe")
    assert strongroom(*ask, "--reason=phone lost", data_dir=guarded.data_dir).code == 0
    alone = strongroom(*ask, "--approve", data_dir=guarded.data_dir)
    assert "(second_person_needed)" in alone.err
    raw, done = alice.confirms(f"/console/operators/{lost.id}/recover", {})
    assert done.status == 200 and "sri_" in done.text, done.text
    assert lost.id not in raw.get("/console/operators").text, "it waits no longer"


def test_a_passkey_is_added_late_in_a_session_too(
    guarded: Stack, people: tuple[Person, Person]
) -> None:
    alice, _ = people

    async def grow_old(house: Any) -> None:
        await house.database.execute(
            "UPDATE iam.operator_session SET mfa_at = mfa_at - interval '6 minutes'"
        )

    guarded.admin(grow_old)
    time.sleep(0.6)  # what was read of a session is trusted for half a second
    raw, page = alice.confirms("/console/passkeys/add", {"name": "spare"})
    form = {
        name: _found(rf'name="{name}" value="([^"]+)"', page.text)
        for name in ("ticket", "form_token", "name")
    }
    form["response"] = Authenticator(alice.passkey.origin).create(_options(page.text)).decode()
    added = raw.post("/console/passkeys/create", form)
    assert (added.status, added.getheader("location")) == (303, "/console"), added.text


def _until(call: Callable[[], Answer]) -> Answer:
    """Call until another process knows of the emergency: within a second, and the call's time."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        answer = call()
        if answer.status == 200:
            return answer
    raise AssertionError(answer.body)
