"""Sign-in by a provider: a real provider over HTTP, every lie it or the way to it could tell."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from strongroom.identity.oidc import Arrived, Callback, Oidc, OidcSpec
from strongroom.identity.replays import Replays
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.kernel.secret import Secret
from strongroom.outbound import Client, Policy
from tests.identity.support import House, Process
from tests.support.oidc_provider import CLIENT, FLAWS, SECRET, Provider

RETURN = "http://localhost:1/console/sso/callback"
DEVICE = Secret(b"the secret of one browser, 32 b.")
OTHER_DEVICE = Secret(b"the secret of another browser...")


class Later(SystemClock):
    """The system's clock, moved ahead when a test wants."""

    ahead = timedelta()

    def now(self) -> Any:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(running: Provider) -> Iterator[Provider]:
    person, key = dict(running.person), running.key
    running.flaw, running.iss_in_answer = "", ""
    running.asked.clear()
    yield running
    running.person, running.key = person, key


def spec_of(provider: Provider, **changes: Any) -> OidcSpec:
    fields = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "client_secret_file": "oidc.secret",
        "roles": {"payments-admins": "operator-admin", "payments-readers": "operator-read"},
        "amr": {"hwk": 2, "otp": 2, "pwd": 1},
        "acr": {"phishing-resistant": 2},
        **changes,
    }
    return msgspec.convert(fields, OidcSpec)


def opened(process: Process, provider: Provider, *, clock: Any = None, **changes: Any) -> Oidc:
    return Oidc(
        spec_of(provider, **changes),
        Client(Policy(private_origins=(provider.issuer,), plain_loopback=True)),
        process.database,
        process.committer,
        replays=Replays(process.database, process.committer, clock or SystemClock()),
        refusals=process.identity.refusals,
        redirect_uri=RETURN,
        secret=Secret(SECRET),
        live=False,
        clock=clock or SystemClock(),
    )


@pytest.fixture
async def oidc(process: Process, provider: Provider) -> Oidc:
    return opened(process, provider)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def visit(url: str) -> Callback:
    """Go to the provider as a browser does; return what it sends back."""
    try:
        urllib.request.build_opener(_Stay).open(url)
    except urllib.error.HTTPError as answer:
        with answer:
            location = answer.headers["Location"]
    assert location.startswith(RETURN)
    query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    return Callback(state=query["state"], code=query["code"], iss=query.get("iss"))


async def signed_in(oidc: Oidc, purpose: Any = "sign_in") -> Arrived:
    departure = await oidc.depart(DEVICE, purpose)
    return await oidc.arrive(DEVICE, visit(departure.url), source="192.0.2.1")


async def refused(oidc: Oidc, callback: Callback, device: Secret[bytes] = DEVICE) -> str:
    with pytest.raises(StrongroomError) as caught:
        await oidc.arrive(device, callback, source="192.0.2.1")
    return f"{caught.value.code} {caught.value.detail}"


async def test_the_provider_says_who_it_is_and_our_settings_what_that_is_worth(
    oidc: Oidc, provider: Provider
) -> None:
    arrived = await signed_in(oidc)
    assert (arrived.issuer, arrived.subject) == (provider.issuer, "248289761001")
    assert (arrived.role, arrived.aal, arrived.operator) == ("operator-admin", 2, None)
    assert arrived.at is not None
    assert "code" not in repr(await oidc.depart(DEVICE, "sign_in"))


PEOPLE: list[tuple[dict[str, Any], tuple[str, int] | str]] = [
    ({"groups": "payments-readers"}, ("operator-read", 2)),
    ({"amr": ["pwd", "otp"]}, ("operator-admin", 2)),
    ({"amr": [], "acr": "phishing-resistant"}, ("operator-admin", 2)),
    ({"groups": ["payments-admins-emea"]}, "no_role"),
    ({"groups": {"payments-admins": True}}, "no_role"),
    ({"groups": None}, "no_role"),
    ({"amr": ["pwd"]}, "assurance"),
    ({"amr": "hwk2"}, "assurance"),
    ({"amr": None, "acr": 3}, "assurance"),
]


async def test_groups_and_methods_are_mapped_or_worth_nothing(
    oidc: Oidc, provider: Provider
) -> None:
    honest = dict(provider.person)
    for person, outcome in PEOPLE:
        provider.person = honest | person
        if isinstance(outcome, str):
            departure = await oidc.depart(DEVICE, "sign_in")
            assert await refused(oidc, visit(departure.url)) == f"sso_refused {outcome}", person
        else:
            arrived = await signed_in(oidc)
            assert (arrived.role, arrived.aal) == outcome, person


async def test_no_lie_of_a_provider_signs_anybody_in(process: Process, provider: Provider) -> None:
    for flaw in FLAWS:
        provider.flaw = flaw
        oidc = opened(process, provider, algorithms=("RS256", "ES256"))
        with pytest.raises(StrongroomError) as caught:
            await signed_in(oidc)
        assert caught.value.code in ("sso_refused", "sso_unavailable"), flaw
        assert caught.value.detail, flaw
        provider.flaw = ""
        provider.rotate("one")
        assert (await signed_in(opened(process, provider))).subject, flaw
    assert not any(path.startswith(("/moved", "/theirs")) for path in provider.asked)


async def test_an_attempt_ends_once_and_in_its_own_browser(oidc: Oidc, provider: Provider) -> None:
    departure = await oidc.depart(DEVICE, "sign_in")
    callback = visit(departure.url)
    assert await refused(oidc, callback, OTHER_DEVICE) == "sso_refused state"
    assert await oidc.arrive(DEVICE, callback, source="192.0.2.1")
    assert await refused(oidc, callback) == "sso_refused replayed"


async def test_a_stolen_code_is_worth_nothing_elsewhere(oidc: Oidc, provider: Provider) -> None:
    """A code put into another attempt: its PKCE verifier does not fit (RFC 9700, 4.5)."""
    stolen = visit((await oidc.depart(OTHER_DEVICE, "sign_in")).url)
    own = visit((await oidc.depart(DEVICE, "sign_in")).url)
    injected = msgspec.structs.replace(own, code=stolen.code)
    assert await refused(oidc, injected) == "sso_refused token_endpoint"


async def test_an_answer_of_another_provider_is_refused(oidc: Oidc, provider: Provider) -> None:
    """Mix-up (RFC 9207): the provider promises to name itself, so it must, and rightly."""
    for iss in (None, "https://attacker.example"):
        provider.iss_in_answer = iss
        departure = await oidc.depart(DEVICE, "sign_in")
        assert await refused(oidc, visit(departure.url)) == "sso_refused issuer"
    assert "/token" not in provider.asked


async def test_a_made_up_or_changed_state_is_refused(oidc: Oidc) -> None:
    for state in ("", "x", "a" * 52, "\u0131" * 52, "_" * 2000):
        assert await refused(oidc, Callback(state=state, code="c")) == "sso_refused state"
    callback = visit((await oidc.depart(DEVICE, "sign_in")).url)
    for at in range(len(callback.state)):
        other = "A" if callback.state[at] != "A" else "B"
        state = callback.state[:at] + other + callback.state[at + 1 :]
        changed = msgspec.structs.replace(callback, state=state)
        assert (await refused(oidc, changed)).startswith("sso_refused")


async def test_an_old_attempt_and_a_denied_one_are_refused(
    process: Process, provider: Provider
) -> None:
    clock = Later()
    oidc = opened(process, provider, clock=clock)
    callback = visit((await oidc.depart(DEVICE, "sign_in")).url)
    clock.ahead = timedelta(minutes=11)
    assert await refused(oidc, callback) == "sso_refused expired"
    clock.ahead = timedelta()
    denied = Callback(state=callback.state, error="access_denied", iss=provider.issuer)
    assert await refused(oidc, denied) == "sso_refused denied_by_provider"


async def test_a_person_must_have_signed_in_lately_where_that_is_asked(
    process: Process, provider: Provider
) -> None:
    oidc = opened(process, provider, max_age_s=900)
    assert "max_age=900" in (await oidc.depart(DEVICE, "sign_in")).url
    assert await signed_in(oidc)
    for auth_time in (provider.person["auth_time"] - 1000, None):
        provider.person["auth_time"] = auth_time
        if auth_time is None:
            del provider.person["auth_time"]
        departure = await oidc.depart(DEVICE, "sign_in")
        assert (await refused(oidc, visit(departure.url))).startswith("sso_refused signed in too")


async def test_a_new_key_is_fetched_and_a_forger_cannot_make_us_ask(
    process: Process, provider: Provider
) -> None:
    clock = Later()
    oidc = opened(process, provider, clock=clock)
    await signed_in(oidc)
    provider.rotate("two")
    departure = await oidc.depart(DEVICE, "sign_in")
    assert (await refused(oidc, visit(departure.url))).endswith("no key of the provider fits")
    clock.ahead = timedelta(seconds=31)
    assert (await signed_in(oidc)).subject
    provider.rotate("three")
    asked = provider.asked.count("/jwks")
    for _ in range(5):
        departure = await oidc.depart(DEVICE, "sign_in")
        await refused(oidc, visit(departure.url))
    assert provider.asked.count("/jwks") == asked


async def test_an_identity_is_issuer_and_subject_and_links_one_operator(
    house: House, process: Process, oidc: Oidc, provider: Provider
) -> None:
    operator, other = new_id("opr"), new_id("opr")
    with pytest.raises(StrongroomError, match="sso_refused"):
        await oidc.link(await signed_in(oidc), operator)
    arrived = await signed_in(oidc, "link")
    await oidc.link(arrived, operator)
    assert (await signed_in(oidc)).operator == operator
    provider.person["sub"] = "somebody else with the same mail address"
    assert (await signed_in(oidc)).operator is None
    provider.person["sub"] = arrived.subject
    for claimed in (arrived, await signed_in(oidc, "link")):
        with pytest.raises(StrongroomError, match="sso_already_linked"):
            await oidc.link(claimed, other)
    (link,) = await oidc.links(operator)
    await oidc.unlink(link.id, other)
    assert await oidc.links(operator)
    await oidc.unlink(link.id, operator)
    assert not await oidc.links(operator) and (await signed_in(oidc)).operator is None
    await oidc.link(await signed_in(oidc, "link"), other)
    (made, _) = await house.entries("identity:sso:link")
    (ended,) = await house.entries("identity:sso:unlink")
    assert made["actor"] == ended["actor"] == operator and made["subject"] == link.id
    assert "ada@example.com" not in str(made)


async def test_refusals_are_entries_and_nothing_secret_is_stored(
    house: House, process: Process, oidc: Oidc, provider: Provider
) -> None:
    callback = visit((await oidc.depart(DEVICE, "sign_in")).url)
    await oidc.arrive(DEVICE, callback, source="192.0.2.1")
    await refused(oidc, callback)
    await process.identity.flush_refusals(final=True)
    (entry,) = await house.entries("identity:sso:reject")
    assert (entry["reason"], entry["outcome"]) == ("replayed", "refused")
    stored = await house.everything_stored()
    for secret in (callback.state, callback.code, SECRET, DEVICE.reveal().decode(), "192.0.2.1"):
        assert secret.encode() not in stored


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "http://idp.example"}, "https"),
    ({"issuer": "https://user@idp.example"}, "https"),
    ({"issuer": "https://idp.example?x=1"}, "https"),
    ({"issuer": "https://idp.example/.well-known/openid-configuration"}, "issuer itself"),
    ({"origins": ("ftp://idp.example",)}, "origins"),
    ({"scopes": ("profile",)}, "openid"),
    ({"roles": {}}, "roles"),
    ({"acr": {}, "amr": {"pwd": 1}}, "to 2"),
    ({"algorithms": ()}, "algorithms"),
]


async def test_settings_that_cannot_work_stop_the_start(
    process: Process, provider: Provider
) -> None:
    for changes, says in BROKEN:
        with pytest.raises(StrongroomError, match=says):
            opened(process, provider, **changes)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS1", "EdDSA"])
def test_shared_secrets_and_no_signature_cannot_even_be_set(
    provider: Provider, algorithm: str
) -> None:
    with pytest.raises(msgspec.ValidationError):
        spec_of(provider, algorithms=[algorithm])
