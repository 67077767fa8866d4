"""Sends an answer the way a fault wants it: late, broken, twisted, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from strongroom.gateways.sandbox_server.answers import encode
from strongroom.gateways.sandbox_server.errors import Refused
from strongroom.gateways.sandbox_server.faults import Fault
from strongroom.gateways.sandbox_server.messages import Answer, Call, refusal
from strongroom.gateways.sandbox_server.routes import Routes
from strongroom.gateways.sandbox_server.webhooks import Webhooks

_GARBAGE: Final = b'\x00\xff<html>{"id": "ch_\xc3\x28", status: approved'
_LOOK_S: Final = 0.1
_WEBHOOK_FAULTS: Final = ("duplicate_webhook", "reorder_webhook")


class Wire(Protocol):
    """The connection that waits for the answer."""

    @property
    def closed(self) -> bool:
        """Whether the caller has gone."""
        ...

    def send(self, answer: Answer) -> None:
        """Send an answer, whole."""
        ...

    def send_head(self, answer: Answer) -> None:
        """Send the head that announces an answer's body."""
        ...

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        ...

    def close(self) -> None:
        """Send what is waiting, then close."""
        ...

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        ...


async def deliver(call: Call, fault: Fault, *, wire: Wire, routes: Routes, hooks: Webhooks) -> None:
    """Process a call and answer it, or not, with its fault."""
    match fault.name:
        case "reset_before":
            wire.reset()
        case "error":
            wire.send(_failure(fault.value))
        case "slow":
            await _slow(call, fault.value / 1000, wire=wire, routes=routes)
        case _:
            with hooks.disturbed(fault.name if fault.name in _WEBHOOK_FAULTS else None):
                answer = routes.perform(call)
            if call.fault_once and answer.replayed:
                wire.send(answer)
            else:
                await _after(answer, fault, wire)


async def _slow(call: Call, delay_s: float, *, wire: Wire, routes: Routes) -> None:
    key = call.key or b""
    routes.in_flight.add(key)
    try:
        await asyncio.sleep(delay_s)
    finally:
        routes.in_flight.discard(key)
    wire.send(routes.perform(call))


async def _after(answer: Answer, fault: Fault, wire: Wire) -> None:
    match fault.name:
        case "reset_after":
            wire.reset()
        case "timeout_after":
            await _silence(fault.value / 1000, wire)
            wire.close()
        case "truncated":
            wire.send_head(answer)
            wire.send_raw(answer.body[: len(answer.body) // 2])
            wire.close()
        case "slow_drip":
            await _drip(answer, fault.value / 1000, wire)
        case _:
            wire.send(_TWISTS.get(fault.name, _as_is)(answer, fault))


async def _silence(wait_s: float, wire: Wire) -> None:
    for _ in range(int(wait_s / _LOOK_S) + 1):
        if wire.closed:
            return
        await asyncio.sleep(min(_LOOK_S, wait_s))


async def _drip(answer: Answer, pause_s: float, wire: Wire) -> None:
    wire.send_head(answer)
    for at in range(len(answer.body)):
        if wire.closed:
            return
        wire.send_raw(answer.body[at : at + 1])
        await asyncio.sleep(pause_s)


def _failure(status: int) -> Answer:
    code = "unavailable" if status == 503 else "internal_error"
    return refusal(Refused(status, code, "The gateway failed, as it was told to."))


def _as_is(answer: Answer, fault: Fault) -> Answer:
    return answer


def _garbage(answer: Answer, fault: Fault) -> Answer:
    return answer._replace(body=_GARBAGE)


def _huge(answer: Answer, fault: Fault) -> Answer:
    """Return the same JSON object with a member before all others that makes it huge."""
    padding = b"x" * (fault.value - len(answer.body))
    return answer._replace(body=b'{"padding":"' + padding + b'",' + answer.body[1:])


def _wrong_amount(answer: Answer, fault: Fault) -> Answer:
    def twist(part: dict[str, object]) -> None:
        for name in ("amount", "captured_amount"):
            if isinstance(minor := part.get(name), int) and (minor or name == "amount"):
                part[name] = minor + 1

    return _twist(answer, twist)


def _wrong_currency(answer: Answer, fault: Fault) -> Answer:
    def twist(part: dict[str, object]) -> None:
        if "currency" in part:
            part["currency"] = "EUR" if part["currency"] == "USD" else "USD"

    return _twist(answer, twist)


def _twist(answer: Answer, twist: Callable[[dict[str, object]], None]) -> Answer:
    document = msgspec.json.decode(answer.body, type=dict[str, object])
    for part in (document, document.get("charge"), document.get("operation")):
        if isinstance(part, dict):
            twist(part)
    return answer._replace(body=encode(document))


_TWISTS: Final[dict[str, Callable[[Answer, Fault], Answer]]] = {
    "error_after": lambda answer, fault: _failure(fault.value),
    "garbage": _garbage,
    "huge": _huge,
    "wrong_amount": _wrong_amount,
    "wrong_currency": _wrong_currency,
}
