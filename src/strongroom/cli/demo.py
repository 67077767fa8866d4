"""`strongroom demo`: payments of several kinds against a running service, as a merchant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import FAILED, OK, PUBLIC, AsJson, command

if TYPE_CHECKING:
    from strongroom.cli.client import Answer, Client

APPROVED = "4242424242424242"
DECLINED = "4000000000009995"
CHALLENGED = "4000000000003220"
"""Published test card numbers: approved, insufficient funds, 3-D Secure."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "demo", action=PUBLIC)(demo)


def demo(
    url: Annotated[str, typer.Option("--url", help="Where the API answers.")],
    key_file: Annotated[
        Path,
        typer.Option("--key-file", help="File (mode 0600) with a test secret key, or ready file."),
    ],
    as_json: AsJson = False,
) -> int:
    """Take test payments of several kinds against a running service."""
    from strongroom.cli.client import Client
    from strongroom.cli.files import secret_in
    from strongroom.cli.show import emit, table

    client = Client(url, secret_in(key_file, member="api_key"))
    steps = [step for story in STORIES for step in story(client)]
    rows = [
        (
            "ok" if step["ok"] else "NOT AS EXPECTED",
            step["step"],
            step["http"],
            step["status"],
            step["note"],
            f"{step['elapsed_ms']:.0f} ms",
        )
        for step in steps
    ]
    columns = ("", "step", "http", "status", "note", ">time")
    emit(steps, lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK if all(step["ok"] for step in steps) else FAILED


def _approved(client: Client) -> list[dict[str, Any]]:
    paid = _pay(client, APPROVED)
    return [_step("pay, captured at once", paid, 201, "captured", paid.data.get("id", ""))]


def _declined(client: Client) -> list[dict[str, Any]]:
    paid = _pay(client, DECLINED)
    return [
        _step("pay with an empty account", paid, 402, "declined", paid.data.get("decline_code", ""))
    ]


def _challenged(client: Client) -> list[dict[str, Any]]:
    paid = _pay(client, CHALLENGED, return_url="https://shop.example/back")
    action = paid.data.get("next_action") or {}
    link = action.get("redirect_to_url", {}).get("url", "")
    return [_step("pay with 3-D Secure, open:", paid, 201, "requires_action", link)]


def _captured_later(client: Client) -> list[dict[str, Any]]:
    paid = _pay(client, APPROVED, capture_method="manual")
    steps = [_step("authorize only", paid, 201, "authorized", paid.data.get("id", ""))]
    if not steps[0]["ok"]:
        return steps
    at = f"/v1/payments/{paid.data['id']}"
    captured = _post(client, f"{at}/capture", {"amount": 1500})
    steps.append(_step("capture 15.00 of 20.00", captured, 200, "partially_captured", ""))
    refunded = _post(client, f"{at}/refunds", {"amount": 500, "reason": "requested_by_customer"})
    steps.append(_step("refund 5.00", refunded, 201, "succeeded", refunded.data.get("id", "")))
    return steps


STORIES: tuple[Callable[[Client], list[dict[str, Any]]], ...] = (
    _approved,
    _declined,
    _challenged,
    _captured_later,
)


def _pay(client: Client, number: str, **more: Any) -> Answer:
    card = {"number": number, "exp_month": 12, "exp_year": 2031, "cvc": "123"}
    body = {"amount": 2000, "currency": "EUR", "payment_method": {"card": card}, **more}
    return _post(client, "/v1/payments", body)


def _post(client: Client, path: str, body: dict[str, Any]) -> Answer:
    from strongroom.kernel.ids import new_id

    return client.post(path, body, idempotency_key=new_id("demo"))


def _step(name: str, answer: Answer, http: int, status: str, note: str) -> dict[str, Any]:
    inner = answer.data.get("payment")  # a problem holds the payment, a refund only names it
    found = inner if isinstance(inner, dict) else answer.data
    told = found.get("code") or found.get("status") or ""
    fine = (answer.status, told) == (http, status)
    return {
        "ok": fine,
        "step": name,
        "http": answer.status,
        "status": told,
        "note": note if fine else str(answer.data.get("detail", "")),
        "elapsed_ms": answer.elapsed_ms,
    }
