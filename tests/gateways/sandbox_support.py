"""A client of the sandbox gateway for its tests."""

from __future__ import annotations

import http.client
import json
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

KEY = "sbx_sk_test"
HOOK_SECRET = "whs_test"
OK = "4242424242424242"
_numbers = count(1)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, url: str) -> None:
        self.url = url
        self.timeout_s = 5.0

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        fault: str | None = None,
        bearer: str | None = KEY,
    ) -> Reply:
        link = http.client.HTTPConnection(
            urlsplit(self.url).netloc.split(":")[0], urlsplit(self.url).port, timeout=self.timeout_s
        )
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if fault is not None:
            headers["Sandbox-Fault"] = fault
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        try:
            link.request(method, path, data, headers)
            answer = link.getresponse()
            given = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, given, answer.read())
        finally:
            link.close()

    def get(self, path: str, **more: Any) -> Reply:
        return self.send("GET", path, **more)

    def charge(self, number: str = OK, *, key: str | None = None, fault: str | None = None,
               **fields: Any) -> Reply:  # fmt: skip
        body = charge_body(number, **fields)
        return self.send("POST", "/v1/charges", body, key=key or body["reference"], fault=fault)

    def follow(self, charge: str, verb: str, *, key: str | None = None, fault: str | None = None,
               **fields: Any) -> Reply:  # fmt: skip
        body = {"reference": new_reference(), **fields}
        path = f"/v1/charges/{charge}/{verb}"
        return self.send("POST", path, body, key=key or body["reference"], fault=fault)

    def ledger(self, query: str = "") -> Any:
        return self.get(f"/control/ledger{query}").json

    def control(self, path: str, **body: Any) -> Reply:
        return self.send("POST", f"/control/{path}", body or None)


def new_reference() -> str:
    return f"op_{next(_numbers):026d}"


def charge_body(number: str = OK, **fields: Any) -> dict[str, Any]:
    cvc = "1234" if number.startswith(("34", "37")) else "123"
    card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": cvc}
    card |= fields.pop("card", {})
    return {"amount": 1099, "currency": "EUR", "reference": new_reference(), **fields,
            "card": {k: v for k, v in card.items() if v is not None}}  # fmt: skip
