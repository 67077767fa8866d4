"""From a request to a call: authentication, routes, strict bodies, and which fault strikes."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec

from strongroom.gateways.sandbox_server import pages
from strongroom.gateways.sandbox_server.answers import Answers
from strongroom.gateways.sandbox_server.cards import BEHAVIORS, Behavior, behavior_of
from strongroom.gateways.sandbox_server.control import Control, read
from strongroom.gateways.sandbox_server.errors import Refused, invalid
from strongroom.gateways.sandbox_server.faults import ArmedFaults, Fault, Operation, parse
from strongroom.gateways.sandbox_server.flow import Done, FollowUp, Gateway
from strongroom.gateways.sandbox_server.messages import Answer, Call, Incoming, refusal
from strongroom.gateways.sandbox_server.model import (
    CaptureRequest,
    ChargeRequest,
    Kind,
    PlainRequest,
    RefundRequest,
)
from strongroom.gateways.sandbox_server.settlement import settlement
from strongroom.gateways.sandbox_server.store import Store

_log = logging.getLogger("strongroom.sandbox")

_FOLLOW_UP: Final = re.compile(r"/v1/charges/([^/]+)/(capture|void|release|refunds)\Z")
_PAGE: Final = re.compile(r"(/3ds/([^/]+)/([^/]+))(?:/(complete|fail))?\Z")
_SETTLEMENT: Final = re.compile(r"/v1/settlements/([0-9]{4}-[0-9]{2}-[0-9]{2})\.csv\Z")
_KEY: Final = re.compile(rb"[!-~]{1,255}\Z")
_FOLLOW_UPS: Final[dict[str, tuple[Kind, Operation, type[FollowUp]]]] = {
    "capture": (Kind.CAPTURE, "capture", CaptureRequest),
    "void": (Kind.VOID, "void", PlainRequest),
    "release": (Kind.RELEASE, "release", PlainRequest),
    "refunds": (Kind.REFUND, "refund", RefundRequest),
}
_KINDS: Final = {kind.name.lower(): kind for kind in Kind}
_CHARGE = msgspec.json.Decoder(ChargeRequest)


class Routes:
    """All paths of the sandbox gateway."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        control: Control,
        faults: ArmedFaults,
        store: Store,
        answers: Answers,
        bearer: bytes,
    ) -> None:
        self._gateway = gateway
        self._control = control
        self._faults = faults
        self._store = store
        self._answers = answers
        self._authorization = b"Bearer " + bearer
        self.in_flight: set[bytes] = set()

    def prepare(self, request: Incoming) -> Call:
        """Understand a request; nothing has happened yet."""
        try:
            return self._route(request)
        except Refused as refused:
            return Call(partial(refusal, refused))
        except Exception:  # noqa: BLE001 - logged; the caller sees a 500
            return Call(partial(refusal, _broken()))

    def perform(self, call: Call) -> Answer:
        """Process a call."""
        try:
            return call.run()
        except Refused as refused:
            return refusal(refused)
        except Exception:  # noqa: BLE001 - logged; the caller sees a 500
            return refusal(_broken())

    def _route(self, request: Incoming) -> Call:
        path = request.path
        if path == "/health":
            return Call(lambda: Answer(200, b'{"status":"ok"}'))
        if page := _PAGE.match(path):
            return self._page(request, page)
        given = request.headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, self._authorization):
            raise Refused(401, "unauthorized", "Give the configured key as a bearer token.")
        if path == "/v1/charges":
            return self._charge(request)
        if follow_up := _FOLLOW_UP.match(path):
            return self._follow_up(request, follow_up[1], follow_up[2])
        if path.startswith("/control/"):
            return Call(lambda: self._control.handle(request))
        if request.method != "GET":
            raise _method() if path.startswith("/v1/") else _nothing()
        return self._read(request)

    def _charge(self, request: Incoming) -> Call:
        key = self._key(request)
        try:
            body = _CHARGE.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = read(request.body, ChargeRequest)  # again, for the refusal
        if body.return_url is not None:
            pages.check_return_url(body.return_url)
        run = partial(_post, self._gateway.charge, key, body)
        behavior = BEHAVIORS[behavior_of(body.card.number)]
        return self._disturbed(run, request, "charge", behavior, key)

    def _follow_up(self, request: Incoming, charge_id: str, verb: str) -> Call:
        key = self._key(request)
        kind, operation, shape = _FOLLOW_UPS[verb]
        body = read(request.body, shape)
        run = partial(_post, self._gateway.follow_up, kind, key, charge_id, body)
        behavior = BEHAVIORS[self._gateway.look(charge_id).behavior]
        return self._disturbed(run, request, operation, behavior, key)

    def _read(self, request: Incoming) -> Call:
        path = request.path
        if path == "/v1/operations":
            query = _query(request.query, "reference", "kind")
            kind = _KINDS.get(query["kind"]) if "kind" in query else None
            if "reference" not in query or ("kind" in query and kind is None):
                raise invalid("Give a reference, and a known kind if any.", param="reference")
            run = partial(self._gateway.inquire, query["reference"], kind)
        elif path.startswith("/v1/charges/"):
            run = partial(self._gateway.show, path.removeprefix("/v1/charges/"))
        elif found := _SETTLEMENT.match(path):
            return Call(partial(self._settlement, found[1]))
        else:
            raise _nothing()
        return self._disturbed(lambda: Answer(200, run()), request, "inquiry", None, None)

    def _settlement(self, day: str) -> Answer:
        try:
            pieces = settlement(self._store, date.fromisoformat(day))
        except ValueError:
            raise _nothing() from None
        return Answer(200, content_type="text/csv; charset=utf-8; header=present", pieces=pieces)

    def _page(self, request: Incoming, match: re.Match[str]) -> Call:
        path, charge_id, token, button = match.groups()
        if not hmac.compare_digest(token.encode(), self._answers.page_token(charge_id).encode()):
            raise _nothing()
        if request.method != ("POST" if button else "GET"):
            raise _method()
        if button is None:
            return Call(partial(self._show_page, charge_id, path))
        return Call(partial(self._press, charge_id, button))

    def _show_page(self, charge_id: str, path: str) -> Answer:
        row = self._gateway.look(charge_id)
        return _html(pages.challenge(row, path), row.return_url)

    def _press(self, charge_id: str, button: str) -> Answer:
        row = self._gateway.authenticate(charge_id, passed=button == "complete")
        if row.return_url is None:
            return _html(pages.finished(row), None)
        result = "complete" if row.state.authentication == "succeeded" else "fail"
        target = pages.return_address(row.return_url, charge_id, result)
        return Answer(303, headers=(("location", target), ("referrer-policy", "no-referrer")))

    def _key(self, request: Incoming) -> bytes:
        if request.method != "POST":
            raise _method()
        key = request.headers.get(b"idempotency-key")
        if key is None:
            raise Refused(400, "idempotency_key_missing", "Send an Idempotency-Key.")
        if not _KEY.match(key):
            raise invalid("Idempotency-Key must be 1 to 255 visible ASCII characters.")
        if key in self.in_flight:
            raise Refused(409, "idempotency_in_flight", "The first call is still running.")
        return key

    def _disturbed(
        self,
        run: Callable[[], Answer],
        request: Incoming,
        operation: Operation,
        behavior: Behavior | None,
        key: bytes | None,
    ) -> Call:
        fault: Fault | None = None
        if (text := request.headers.get(b"sandbox-fault")) is not None:
            fault = parse(text.decode("latin-1"), param="Sandbox-Fault")
        fault = fault or self._faults.take(operation)
        if fault is not None or behavior is None or behavior.fault is None:
            return Call(run, fault, key=key)
        if behavior.fault_on != operation:
            return Call(run, key=key)
        return Call(run, parse(behavior.fault, param="card"), fault_once=True, key=key)


def _nothing() -> Refused:
    return Refused(404, "not_found", "There is nothing at this path.")


def _method() -> Refused:
    return Refused(405, "method_not_allowed", "This path has another method.")


def _broken() -> Refused:
    _log.exception("a call failed inside")
    return Refused(500, "internal_error", "Something went wrong.")


def _post(verb: Callable[..., Done], *arguments: object) -> Answer:
    body, replayed = verb(*arguments)
    if replayed:
        return Answer(200, body, headers=(("idempotent-replayed", "true"),), replayed=True)
    return Answer(200, body)


def _html(page: str, return_url: str | None) -> Answer:
    headers = pages.security_headers(return_url)
    return Answer(200, page.encode(), "text/html; charset=utf-8", headers)


def _query(query: bytes, *known: str) -> dict[str, str]:
    try:
        given = parse_qs(query.decode("ascii"), strict_parsing=bool(query), max_num_fields=10)
    except ValueError:
        raise invalid("The query is malformed.") from None
    for name, values in given.items():
        if name not in known or len(values) != 1:
            raise invalid(f"The query may have {', '.join(known)}, once each.")
    return {name: values[0] for name, values in given.items()}
