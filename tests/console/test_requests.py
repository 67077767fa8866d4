"""What no browser of ours sends: other sites, other hosts, broken forms, stolen cookies."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack
from select import select
from typing import Any

import pytest

from strongroom.access import PUBLIC
from strongroom.app.console import HouseFront
from strongroom.console.page import Page
from strongroom.console.pages import PAGES
from strongroom.kernel.errors import StrongroomError
from strongroom.storage.counters import Leases, LocalCounters
from tests.console.support import Raw, Site

_TOKEN = re.compile(r'name="form_token" value="([A-Za-z0-9_-]+)"')
DEVICE = "__Host-strongroom-device"
SESSION = "__Host-strongroom-session"


@pytest.fixture
def raw(site: Site) -> Raw:
    return Raw(site)


def begin(raw: Raw) -> str:
    """Open the sign-in page; return its form token."""
    found = _TOKEN.search(raw.get("/console/sign-in").text)
    assert found is not None
    return found[1]


def code_of(answer: Any) -> str:
    """Return the error code that a page shows."""
    found = re.search(r"<code>([a-z_]+)</code>, request", answer.text)
    return "" if found is None else found[1]


def test_every_answer_carries_the_headers_that_lock_it(raw: Raw) -> None:
    answers = {
        200: raw.get("/console/sign-in"),
        303: raw.get("/console"),
        404: raw.get("/console/nothing"),
        405: raw.post("/console/operators", {}),
        403: raw.post("/console/sign-in", {}),
    }
    for status, answer in answers.items():
        assert answer.status == status
        policy = answer.getheader("content-security-policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy and "data:" not in policy
        for directive in (
            "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'self'",
            "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'",
        ):  # fmt: skip
            assert directive in policy
        assert answer.getheader("cache-control") == "no-store"
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("cross-origin-opener-policy") == "same-origin"
        assert answer.getheader("cross-origin-resource-policy") == "same-origin"
        assert answer.getheader("referrer-policy") == "same-origin"
    assert answers[303].getheader("location") == "/console/sign-in"


def test_script_and_style_are_kept_by_their_content(raw: Raw) -> None:
    page = raw.get("/console/sign-in").text
    assert "<script>" not in page and " style=" not in page and " onclick" not in page
    found = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)
    assert len(found) == 3
    for path in found:
        answer = raw.get(path)
        assert answer.status == 200 and "immutable" in answer.getheader("cache-control")
        again = raw.get(path, if_none_match=answer.getheader("etag"))
        assert (again.status, again.text) == (304, "")
        assert raw.get(path + "x").status == 404
    assert raw.get("/console/static/../templates/base.html").status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://attacker.example"},
        {"origin": "null"},
        {"origin": "", "sec_fetch_site": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost"},
    ],
)
def test_forms_of_other_sites_are_refused(raw: Raw, headers: dict[str, str]) -> None:
    form = {"form_token": begin(raw), "login": "ada"}
    replaced = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = raw.post("/console/sign-in", form, **replaced)
    assert (answer.status, code_of(answer)) == (403, "console_cross_site")
    assert raw.post("/console/sign-in", form).status == 200


def test_a_form_needs_the_token_of_its_own_browser(site: Site, raw: Raw) -> None:
    own, other = begin(raw), begin(Raw(site))
    for token in ("", other, own[:-1], own + "A", "A" * 43):
        answer = raw.post("/console/sign-in", {"form_token": token, "login": "ada"})
        assert (answer.status, code_of(answer)) == (403, "console_cross_site"), token
    raw.cookies.clear()
    assert raw.post("/console/sign-in", {"form_token": own, "login": "ada"}).status == 403


@pytest.mark.parametrize("host", ["attacker.example", "localhost", "localhost:1", "127.0.0.1:1"])
def test_other_host_names_are_refused(raw: Raw, host: str) -> None:
    """DNS rebinding: the attacker's name leads here, and its pages would be our origin."""
    raw.host = host
    answer = raw.get("/console/sign-in")
    assert (answer.status, code_of(answer)) == (421, "console_wrong_host")
    assert "set-cookie" not in {name.lower() for name, _ in answer.getheaders()}


def test_this_machines_address_leads_to_its_name(site: Site, raw: Raw) -> None:
    raw.host = f"127.0.0.1:{site.port}"
    answer = raw.get("/console/sign-in")
    assert (answer.status, answer.getheader("location")) == (303, site.origin + "/console/sign-in")
    assert raw.get("/console//attacker.example").status == 404
    assert raw.post("/console/sign-in", {}).status == 421


def test_other_sites_load_nothing_but_a_page_that_a_person_opens(raw: Raw) -> None:
    cross = {"sec_fetch_site": "cross-site"}
    for mode, dest in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
        answer = raw.get("/console/sign-in", sec_fetch_mode=mode, sec_fetch_dest=dest, **cross)
        assert answer.status == 403
    opened = raw.get(
        "/console/sign-in", sec_fetch_mode="navigate", sec_fetch_dest="document", **cross
    )
    assert opened.status == 200


BROKEN: list[tuple[bytes, int]] = [
    (b"login=a&login=b", 422),
    (b"login=a&extra=b", 422),
    (b"login=" + b"a" * 65, 422),
    (b"login=%ff%fe", 422),
    (b"login=%00", 422),
    (b"login=a%0d%0aset-cookie:x", 422),
    (b"login", 422),
    (b"\xff\xfe", 422),
    (b"&".join(b"f%d=1" % n for n in range(40)), 422),
    (b"login=" + b"a" * 70_000, 413),
]


def test_broken_forms_are_refused_and_never_echoed(raw: Raw) -> None:
    token = begin(raw).encode()
    for body, status in BROKEN:
        answer = raw.post("/console/sign-in", b"form_token=" + token + b"&" + body)
        assert answer.status == status, body[:40]
        assert "aaaa" not in answer.text and "set-cookie:x" not in answer.text
    for media in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        answer = raw.send(
            "POST", "/console/sign-in", b"login=a", content_type=media, origin=raw.origin,
            sec_fetch_site="same-origin",
        )  # fmt: skip
        assert answer.status == 415, media


def test_two_cookies_of_one_name_are_refused(raw: Raw) -> None:
    value = "A" * 43
    answer = raw.get("/console/sign-in", cookie=f"{DEVICE}={value}; {DEVICE}={value[::-1]}")
    assert (answer.status, code_of(answer)) == (400, "duplicate_header")


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "../../etc", "A" * 600])
def test_a_made_up_session_is_nobody(raw: Raw, value: str) -> None:
    begin(raw)
    raw.cookies[SESSION] = value
    answer = raw.get("/console")
    assert (answer.status, answer.getheader("location")) == (303, "/console/sign-in")
    assert "Max-Age=0" in (answer.getheader("set-cookie") or "")


def test_no_page_but_the_public_ones_answers_a_stranger(raw: Raw) -> None:
    """Every page that is declared: nothing of it shows, nothing is done."""
    token = begin(raw)
    thing = "apr_" + "0" * 26
    for page in PAGES:
        path = page.path.replace("{id}", thing)
        if page.action == PUBLIC:
            continue
        form = {"form_token": token}
        answer = raw.get(path) if page.method == "GET" else raw.post(path, form)
        assert (answer.status, answer.getheader("location")) == (303, "/console/sign-in"), path


def _dripping(site: Site, raw: Raw, path: str) -> socket.socket:
    """Send the head of a form, and none of its body."""
    line = socket.create_connection(("127.0.0.1", site.port), timeout=4)
    cookies = "; ".join(f"{name}={value}" for name, value in raw.cookies.items())
    line.sendall(
        f"POST {path} HTTP/1.1\r\nHost: {raw.host}\r\nOrigin: {site.origin}\r\n"
        f"Sec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\nContent-Length: 100\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
    )
    return line


def test_forms_that_drip_in_keep_nobody_out(site: Site, raw: Raw) -> None:
    token = begin(raw)
    with _dripping(site, raw, "/console/operators/invite") as line:
        assert b" 303 " in line.recv(4096), "a stranger's form is not waited for"
    with ExitStack() as stack:
        lines = [stack.enter_context(_dripping(site, raw, "/console/sign-in")) for _ in range(9)]
        waiting, _, _ = select(lines, [], [], 2)
        assert len(waiting) == 1 and b" 503 " in waiting[0].recv(4096)
        assert raw.get("/console/sign-in").status == 200
    for _ in range(20):
        answer = raw.post("/console/sign-in", {"form_token": token, "login": "ada"})
        if answer.status == 200:
            break
        time.sleep(0.1)
    assert answer.status == 200, "whoever hung up left room"


async def test_one_network_has_one_count_of_forms() -> None:
    front = HouseFront(None, Leases(LocalCounters()))  # type: ignore[arg-type]
    for number in range(120):
        await front.admit(f"2001:db8::{number:x}")
    with pytest.raises(StrongroomError, match="rate_limited"):
        await front.admit("2001:db8::ffff")
    assert await front.admit("2001:db8:0:1::1") == "2001:db8:0:1::/64"


async def _nothing(_: Any) -> Any:
    raise AssertionError


def test_a_page_without_a_known_action_does_not_start() -> None:
    good = {"method": "POST", "path": "/console/x", "action": PUBLIC, "handler": _nothing}
    Page(**good)
    for changed in (
        {"action": "no:such"}, {"action": ""}, {"method": "PUT"}, {"path": "/v1/x"},
        {"path": "/console/{any}"}, {"fields": {"form_token": 1}}, {"lenient": True},
    ):  # fmt: skip
        with pytest.raises(StrongroomError):
            Page(**{**good, **changed})


def test_unknown_logins_and_wrong_passwords_read_alike(raw: Raw, site: Site) -> None:
    site.invite("known.login")
    told = set()
    for login in ("known.login", "unknown.login"):
        asked = raw.post("/console/sign-in", {"form_token": begin(raw), "login": login})
        ticket = re.search(r'name="ticket" value="([^"]+)"', asked.text)
        assert asked.status == 200 and ticket is not None
        answer = raw.post(
            "/console/sign-in/password",
            {"form_token": begin(raw), "ticket": ticket[1], "password": "x" * 12, "code": "000000"},
        )
        told.add((answer.status, code_of(answer)))
    assert len(told) == 1 and told != {(200, "")}
