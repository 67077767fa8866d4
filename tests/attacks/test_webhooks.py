"""Forged, stale, replayed and lying gateway events, and the way back from 3-D Secure.

An event is a hint: whatever it says, money moves only when the gateway itself says so when asked.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom.kernel.ids import new_id
from tests.support.pay import CHALLENGED, await_status, body, gateway, get, new_key, operate, pay
from tests.support.stack import Answer, Stack, http

PATH = "/v1/gateways/sandbox/events"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
INVALID = (401, "webhook_signature_invalid")


def secret_of(stack: Stack) -> str:
    return (stack.data_dir / "sandbox-webhook.secret").read_text().strip()


def signature(secret: str, raw: bytes, at: int | None = None) -> str:
    moment = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + raw, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


def event(kind: str, charge: str, reference: str | None = None) -> bytes:
    """An event as the gateway would send it, saying the best an attacker could wish."""
    told = {
        "id": charge, "object": "charge", "status": "approved", "amount": 1099, "currency": "EUR",
        "capturable_amount": 0, "captured_amount": 1099, "refunded_amount": 0,
        "reference": reference or "op_x", "outcome": "authorized", "decline": None,
    }  # fmt: skip
    operation = {
        "id": "sop_1", "object": "operation", "kind": "charge", "status": "succeeded",
        "amount": 1099, "currency": "EUR", "reference": reference, "charge": charge,
    }  # fmt: skip
    data = {"operation": operation if reference else None, "charge": told, "dispute": None}
    return json.dumps(
        {"id": f"evt_{new_key()}", "object": "event", "type": kind, "created": int(time.time()),
         "data": data}
    ).encode()  # fmt: skip


def send(stack: Stack, raw: bytes, signed: str | None, **headers: str) -> Answer:
    sent = {"Content-Type": "application/json", **headers}
    if signed is not None:
        sent["Sandbox-Signature"] = signed
    return http("POST", stack.url + PATH, raw, headers=sent)


def money(stack: Stack) -> tuple[Any, ...]:
    """All that may not move: our books, and what the gateway has done."""
    books = stack.call("GET", "/v1/ledger/balances").body
    known = gateway(stack, "?limit=1")
    return books, known["charges"], known["captured_minor"], known["refunded_minor"]


def stored_events(stack: Stack) -> int:
    async def count(house: Any) -> int:
        return int(await house.database.fetchval("SELECT count(*) FROM pay.gateway_event"))

    return int(stack.admin(count))


@pytest.fixture(scope="module")
def waiting(target: Stack) -> dict[str, Any]:
    """A payment whose cardholder has not authenticated."""
    made = pay(target, CHALLENGED, return_url="https://shop.example/back?cart=7")
    assert made.json["status"] == "requires_action", made.body
    found: dict[str, Any] = made.json
    return found


def forgeries(secret: str, raw: bytes) -> dict[str, tuple[bytes, str | None]]:
    now = int(time.time())
    good = signature(secret, raw)
    return {
        "no signature": (raw, None),
        "empty": (raw, ""),
        "other secret": (raw, signature("whsec_" + "x" * 32, raw)),
        "empty secret": (raw, signature("", raw)),
        "secret without its prefix": (raw, signature(secret.removeprefix("whsec_"), raw)),
        "signed an hour ago": (raw, signature(secret, raw, now - 3600)),
        "signed just too long ago": (raw, signature(secret, raw, now - 310)),
        "signed in the future": (raw, signature(secret, raw, now + 310)),
        "newer time than was signed": (raw, f"t={now}," + signature(secret, raw, now - 999)[13:]),
        "two times": (raw, f"t={now - 999},{good}"),
        "other body": (raw.replace(b"1099", b"9999"), good),
        "body with a byte more": (raw + b" ", good),
        "uppercase digest": (raw, good[:16] + good[16:].upper()),
        "cut digest": (raw, good[:-2]),
        "no digest": (raw, good[:16]),
        "other scheme": (raw, good.replace("v1=", "v0=")),
        "too many digests": (raw, good + ",v1=00" * 8),
        "time with a sign": (raw, good.replace("t=", "t=+")),
        "time with a space": (raw, good.replace("t=", "t= ")),
        "time in other digits": (raw, good.replace("t=1", "t=\u00b9").encode().decode("latin-1")),
        "endless time": (raw, good.replace("t=", "t=" + "0" * 400)),
    }


KINDS = sorted(forgeries("s", b"{}"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_event_is_refused(target: Stack, waiting: dict[str, Any], kind: str) -> None:
    raw = event("charge.approved", waiting["gateway"]["reference"])
    before = money(target)
    answer = send(target, *forgeries(secret_of(target), raw)[kind])
    assert (answer.status, answer.json["code"]) == INVALID
    assert answer.json["detail"] == "The webhook signature is not valid.", "no oracle"
    assert get(target, waiting["id"])["status"] == "requires_action"
    assert money(target) == before


def test_forged_events_leave_no_row(target: Stack, waiting: dict[str, Any]) -> None:
    before = stored_events(target)
    for at in range(20):
        raw = event("charge.approved", f"ch_{at}")
        assert send(target, raw, signature("wrong", raw)).status == 401
    assert stored_events(target) == before


def test_two_signature_headers_are_refused(target: Stack) -> None:
    raw = event("charge.approved", "ch_1")
    parts = urlsplit(target.url)
    connection = HTTPConnection(str(parts.hostname), parts.port)
    try:
        connection.putrequest("POST", PATH)
        connection.putheader("Content-Length", str(len(raw)))
        for value in (signature("wrong", raw), signature(secret_of(target), raw)):
            connection.putheader("Sandbox-Signature", value)
        connection.endheaders(raw)
        answer = connection.getresponse()
        told = json.loads(answer.read() or b"{}")
    finally:
        connection.close()
    assert (answer.status, told.get("code")) in {INVALID, (400, "duplicate_header")}


def test_a_signed_lie_moves_nothing(target: Stack, waiting: dict[str, Any]) -> None:
    """Even who has the secret can only make us ask the gateway."""
    reference = waiting["gateway"]["reference"]
    operation = operation_of(target, waiting["id"])
    before = money(target)
    for kind in ("charge.approved", "charge.captured", "charge.declined", "refund.succeeded",
                 "charge.voided", "dispute.opened", "charge.world_peace"):  # fmt: skip
        raw = event(kind, reference, operation)
        assert send(target, raw, signature(secret_of(target), raw)).status == 202
    time.sleep(1.5)  # recovery looks it up meanwhile
    assert get(target, waiting["id"])["status"] == "requires_action"
    assert money(target) == before


def operation_of(stack: Stack, payment: str) -> str:
    entries = stack.call("GET", f"/v1/journal/entries?subject={payment}").json["data"]
    found = [str(e["facts"]["operation"]) for e in entries if "operation" in e["facts"]]
    return found[-1] if found else new_id("op")


def test_events_about_a_captured_payment_refund_nothing(target: Stack) -> None:
    paid = pay(target).json
    before = money(target)
    for kind in ("refund.succeeded", "refund.failed", "charge.voided", "charge.captured"):
        for reference in (None, new_id("op"), operation_of(target, paid["id"])):
            raw = event(kind, paid["gateway"]["reference"], reference)
            assert send(target, raw, signature(secret_of(target), raw)).status == 202
    time.sleep(1)
    assert get(target, paid["id"]) == paid
    assert money(target) == before


def test_reordered_and_repeated_events_change_nothing(target: Stack) -> None:
    paid = pay(target).json
    refund = operate(target, paid["id"], "refunds", {"amount": 99}).json
    assert refund["status"] == "succeeded", refund
    before = money(target)
    raws = [event(kind, paid["gateway"]["reference"], new_id("op"))
            for kind in ("refund.succeeded", "refund.pending", "charge.approved")]  # fmt: skip
    for raw in (*raws, *raws[::-1], raws[0]):
        assert send(target, raw, signature(secret_of(target), raw)).status == 202
    assert money(target) == before
    assert get(target, paid["id"])["amount_refunded"] == 99


def test_a_replayed_event_is_stored_once(target: Stack) -> None:
    before = stored_events(target)
    raw = event("charge.approved", "ch_unknown", new_id("op"))
    for _ in range(5):  # signed anew each time, as a gateway that tries again does
        assert send(target, raw, signature(secret_of(target), raw)).status == 202
        time.sleep(0.01)
    assert stored_events(target) == before + 1


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"{}", b"{" * 5000, b"\xff\xfe", b'{"id":1}', b"\0" * 100,
        b'{"id":"evt_1","object":"event","type":"x","created":1e999,"data":{}}',
        event("charge.approved", "ch_1' OR 1=1 --"),
        event("charge.approved", "../../etc/passwd"),
        event("charge.approved", "x" * 5000),
        event("charge.approved", "\r\nX-Evil: 1"),
    ],
)  # fmt: skip
def test_signed_nonsense_is_refused(target: Stack, raw: bytes) -> None:
    answer = send(target, raw, signature(secret_of(target), raw))
    assert (answer.status, answer.json["code"]) == (400, "webhook_malformed")
    assert b"passwd" not in answer.body and b"Evil" not in answer.body


def test_a_huge_event_is_refused(target: Stack) -> None:
    raw = event("charge.approved", "ch_1") + b" " * 65_536
    answer = send(target, raw, signature(secret_of(target), raw))
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("name", ["stripe", "nobody", "SANDBOX", "sandbox%00", "..", "a" * 65])
def test_an_event_of_no_gateway_is_404(target: Stack, name: str) -> None:
    raw = event("charge.approved", "ch_1")
    headers = {"Sandbox-Signature": signature(secret_of(target), raw)}
    answer = http("POST", f"{target.url}/v1/gateways/{name}/events", raw, headers=headers)
    assert answer.status == 404


BAD_URLS = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)//https://x", "data:text/html,<script>1</script>",
    "vbscript:x", "file:///etc/passwd", "ftp://shop.example/x", "//shop.example/x", "/relative",
    "shop.example/x", "https:shop.example", "https:/shop.example", "https:///x", "https://",
    "https://user@shop.example/x", "https://user:secret@shop.example/", "https://@shop.example/",
    "https://shop.example@evil.example/", "https://shop.example\\@evil.example/",
    "https:\\\\shop.example\\x", "https://shop.example/\r\nSet-Cookie: a=b",
    "https://shop.example/\nx", "https://shop.example/\tx", "https://shop.example/ x",
    " https://shop.example/", "https://shop.example/\x00", "https://sh\u00f6p.example/",
    "https://shop.example/\u202e", "https://shop\u3002example/", "http://shop.example/x",
    "http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "http://169.254.169.254/",
    "http://0x7f000001/", "http://[::1", "https://[x]/", "https://shop.example:99999/",
    "https://shop.example:0/", "https://shop.example:x/", "https://shop.example/#" + "x" * 2048,
    "https://%65vil%2eexample/", "https://shop.example%00.evil.example/",
    "https://shop.example/<script>", 'https://shop.example/"x',
)  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_hostile_return_url_is_refused(target: Stack, url: str) -> None:
    answer = target.call(
        "POST", "/v1/payments", body(CHALLENGED, return_url=url), idempotency_key=new_key()
    )
    assert answer.status in (400, 422), answer.body
    assert answer.json["code"] in {"invalid_parameter", "text_not_printable"}
    assert url not in answer.body.decode()


def test_the_way_back_leads_to_the_shop_only(target: Stack, waiting: dict[str, Any]) -> None:
    path = f"/v1/return/{waiting['merchant']}/{waiting['id']}"
    for query in ("", "?return_url=https://evil.example", "?charge=x&result=complete",
                  "?%0d%0aLocation:%20https://evil.example",
                  "?url=//evil.example&next=//e"):  # fmt: skip
        answer = http("GET", target.url + path + query)
        assert answer.status == 303
        location = urlsplit(answer.headers["location"])
        assert (location.scheme, location.netloc, location.path) == (
            "https",
            "shop.example",
            "/back",
        )
        assert parse_qs(location.query) == {
            "cart": ["7"], "payment": [waiting["id"]], "status": ["requires_action"]
        }  # fmt: skip
    assert get(target, waiting["id"])["status"] == "requires_action", "a visit proves nothing"


def test_a_fragment_does_not_swallow_what_the_shop_is_told(target: Stack) -> None:
    """What is added behind a `#` would never reach the shop's server."""
    answer = target.call(
        "POST",
        "/v1/payments",
        body(CHALLENGED, return_url="https://shop.example/back#done"),
        idempotency_key=new_key(),
    )
    if answer.status == 422:
        assert answer.json["param"] == "return_url"
        return
    back = http("GET", f"{target.url}/v1/return/{answer.json['merchant']}/{answer.json['id']}")
    assert "payment" in parse_qs(urlsplit(back.headers["location"]).query)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/return/{other}/{payment}", "/v1/return/{merchant}/pay_00000000000000000000000000",
        "/v1/return/{merchant}/{payment}/", "/v1/return/{merchant}/{payment}//evil.example",
        "/v1/return//evil.example", "/v1/return/{merchant}/..%2f..", "//evil.example/%2f..",
        "/v1/return/{payment}/{merchant}", "/v1/return/{merchant}/{payment}%0d%0aX-Evil:1",
        "/v1/return/{merchant}/{payment};x", "/v1/return/{merchant}/https:%2f%2fevil.example",
    ],
)  # fmt: skip
def test_other_ways_back_are_404(target: Stack, waiting: dict[str, Any], path: str) -> None:
    where = path.format(
        other=target.other_merchant, merchant=waiting["merchant"], payment=waiting["id"]
    )
    answer = http("GET", target.url + where)
    assert answer.status == 404
    assert "location" not in answer.headers
    assert not any("evil" in f"{name}{value}".lower() for name, value in answer.headers.items())
    assert b"evil" not in answer.body


def test_a_payment_without_a_return_url_has_no_way_back(target: Stack) -> None:
    made = pay(target, CHALLENGED).json
    answer = http("GET", f"{target.url}/v1/return/{made['merchant']}/{made['id']}")
    assert (answer.status, answer.json["code"]) == (404, "payment_not_found")


def test_the_true_event_still_gets_through(target: Stack) -> None:
    """Last: none of the refusals above would mean anything if nothing worked."""
    made = pay(target, CHALLENGED).json
    page = made["next_action"]["redirect_to_url"]["url"]
    assert http("POST", f"{page}/complete", b"", headers=FORM).status == 200
    assert await_status(target, made["id"], "captured") == "captured"
