"""The sandbox gateway through real HTTP: events, settlement, faults, the program."""

from __future__ import annotations

import csv
import hashlib
import hmac
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import time as clock_time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from strongroom.gateways.sandbox_server import Settings, running
from strongroom.gateways.sandbox_server.index import Index
from strongroom.kernel.secret import Secret
from tests.gateways.sandbox_support import (
    HOOK_SECRET,
    KEY,
    OK,
    Client,
    Reply,
    charge_body,
)

# --- webhooks


class Receiver:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.refuse = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(body, self.headers["sandbox-signature"])
                status = 500 if outer.refuse > 0 else 204
                outer.refuse -= 1
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def take(self, body: bytes, signature: str) -> None:
        stamp, _, given = signature.removeprefix("t=").partition(",v1=")
        digest = hmac.new(HOOK_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        assert hmac.compare_digest(digest.hexdigest(), given)
        assert abs(time.time() - int(stamp)) < 5
        self.events.append(json.loads(body))

    def wait(self, number: int, timeout_s: float = 5.0) -> list[Any]:
        deadline = time.monotonic() + timeout_s
        while len(self.events) < number and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(self.events) == number, [event["type"] for event in self.events]
        return self.events

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver(gateway: Client) -> Iterator[Receiver]:
    receiver = Receiver()
    gateway.control("webhook", url=receiver.url, secret=HOOK_SECRET)
    yield receiver
    gateway.control("webhook", url=None)
    receiver.close()


def kinds(events: list[Any]) -> list[str]:
    return sorted(event["type"] for event in events)


def test_events_are_signed_and_tell_charge_and_operation(
    gateway: Client, receiver: Receiver
) -> None:
    charge = gateway.charge(capture=False).json
    captured = gateway.follow(charge["id"], "capture").json
    refunded = gateway.follow(charge["id"], "refunds").json
    events = receiver.wait(3)
    assert kinds(events) == ["charge.approved", "charge.captured", "refund.succeeded"]
    by_type = {event["type"]: event["data"] for event in events}
    assert by_type["charge.approved"]["charge"] == charge
    assert by_type["charge.captured"]["operation"] == captured["operation"]
    assert by_type["refund.succeeded"]["charge"] == refunded["charge"]
    assert len({event["id"] for event in events}) == 3


def test_a_refused_event_comes_again(gateway: Client, receiver: Receiver) -> None:
    receiver.refuse = 1
    gateway.charge("4000000000000002")
    first, second = receiver.wait(2)
    assert first == second
    assert gateway.get("/control/events").json["delivered"] >= 1


def test_events_of_what_happens_later(gateway: Client, receiver: Receiver) -> None:
    gateway.control("webhook", url=receiver.url, secret=HOOK_SECRET, events="async")
    for number in ("4000000000000259", "4000000000001976", "4000000000005423"):
        gateway.charge(number)
    failing = gateway.charge("4000000000005126").json["id"]
    gateway.follow(failing, "refunds")
    waiting = gateway.charge("4000002760003184").json
    gateway.send("POST", urlsplit(waiting["action"]["redirect_url"]).path + "/complete")
    gateway.control("advance")
    events = receiver.wait(6)
    assert kinds(events) == [
        "charge.approved", "charge.captured", "dispute.opened", "dispute.opened",
        "fraud_warning.created", "refund.failed",
    ]  # fmt: skip
    disputes = {e["data"]["dispute"]["status"] for e in events if e["type"] == "dispute.opened"}
    assert disputes == {"needs_response", "inquiry"}


def test_duplicate_and_reordered_events(gateway: Client, receiver: Receiver) -> None:
    gateway.charge("4000000000000002", fault="duplicate_webhook")
    first, second = receiver.wait(2)
    assert first["id"] == second["id"]
    receiver.events.clear()
    gateway.charge("4000990000000343", reference="op_first")
    gateway.charge("4000000000000002", reference="op_second")
    events = receiver.wait(3)
    assert events[0]["data"]["charge"]["reference"] == "op_second"
    assert kinds(events[1:]) == ["charge.approved", "charge.captured"]


# --- settlement


def test_the_settlement_file_adds_up(gateway: Client) -> None:
    while datetime.now(UTC).time() > clock_time(23, 59, 50):
        time.sleep(1)  # a settlement file is of one day: do not begin just before midnight
    charge = gateway.charge(amount=10_000, merchant_reference='a,"b').json["id"]
    gateway.follow(charge, "refunds", amount=2_500)
    manual = gateway.charge(amount=1_000, capture=False, currency="USD").json["id"]
    gateway.follow(manual, "capture", amount=300)
    gateway.charge("4000000000000002")
    day = datetime.now(UTC).date()
    reply = gateway.get(f"/v1/settlements/{day}.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(reply.body.decode())))
    money = [(line["type"], line["currency"], int(line["gross_minor"]), int(line["fee_minor"]))
             for line in lines]  # fmt: skip
    assert money == [("capture", "EUR", 10_000, 165), ("refund", "EUR", -2_500, 0),
                     ("capture", "USD", 300, 29), ("total", "EUR", 7_500, 165),
                     ("total", "USD", 300, 29)]  # fmt: skip
    assert lines[0]["merchant_reference"] == 'a,"b'
    assert lines[3]["net_minor"] == "7335"
    assert len(gateway.get("/v1/settlements/2001-01-01.csv").body.splitlines()) == 1
    assert gateway.get("/v1/settlements/2001-13-01.csv").status == 404


# --- faults


def is_processed(gateway: Client, reference: str) -> bool:
    return gateway.get(f"/v1/operations?reference={reference}").status == 200


@pytest.mark.parametrize(("fault", "processed"), [("reset_before", False), ("reset_after", True)])
def test_resets(gateway: Client, fault: str, processed: bool) -> None:
    with pytest.raises(ConnectionResetError) as broken:
        gateway.charge(reference="op_r", fault=fault)
    assert broken.type is ConnectionResetError  # not RemoteDisconnected: that is a plain end
    assert is_processed(gateway, "op_r") is processed
    assert gateway.ledger()["charges"] == int(processed)


@pytest.mark.parametrize(("fault", "processed"), [("error=503", False), ("error_after=502", True)])
def test_server_errors(gateway: Client, fault: str, processed: bool) -> None:
    reply = gateway.charge(reference="op_e", fault=fault)
    assert reply.status == int(fault[-3:])
    assert is_processed(gateway, "op_e") is processed


def test_slow_and_silent(gateway: Client) -> None:
    began = time.monotonic()
    assert gateway.charge(fault="slow=300").status == 200
    assert time.monotonic() - began >= 0.3
    gateway.timeout_s = 0.3
    with pytest.raises(TimeoutError):
        gateway.charge(reference="op_t", fault="timeout_after")
    assert is_processed(gateway, "op_t")
    gateway.timeout_s = 5
    with pytest.raises(http.client.RemoteDisconnected):
        gateway.charge(reference="op_u", fault="timeout_after=100")


def test_broken_bodies(gateway: Client) -> None:
    with pytest.raises(ValueError, match=r"utf-8|Expecting|codec"):
        _ = gateway.charge(fault="garbage").json
    with pytest.raises(http.client.IncompleteRead):
        gateway.charge(fault="truncated")
    huge = gateway.charge(fault="huge")
    assert len(huge.body) > 10 * 1024 * 1024
    assert huge.json["status"] == "approved"
    began = time.monotonic()
    assert gateway.charge(fault="slow_drip=1").json["status"] == "approved"
    assert time.monotonic() - began > 0.4
    assert gateway.ledger()["charges"] == 4


def test_twisted_answers(gateway: Client) -> None:
    charge = gateway.charge(capture=False, fault="wrong_amount").json
    assert charge["amount"] == 1100
    assert gateway.charge(fault="wrong_currency").json["currency"] == "USD"
    captured = gateway.follow(charge["id"], "capture", amount=5, fault="wrong_amount").json
    assert (captured["operation"]["amount"], captured["charge"]["captured_amount"]) == (6, 6)
    assert gateway.get(f"/v1/charges/{charge['id']}").json["captured_amount"] == 5


def test_armed_faults_strike_so_many_calls_of_one_operation(gateway: Client) -> None:
    gateway.control("faults", operation="refund", fault="error=500", times=2)
    gateway.control("faults", operation="any", fault="error=503")
    charge = gateway.charge()
    assert charge.status == 503
    charge_id = gateway.charge().json["id"]
    statuses = [gateway.follow(charge_id, "refunds", amount=1).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    gateway.control("faults", operation="inquiry", fault="error=500")
    assert gateway.get(f"/v1/charges/{charge_id}").status == 500
    assert gateway.control("faults", operation="any", fault="nonsense").status == 400
    assert gateway.charge(fault="error=200").status == 400


def test_fault_cards_strike_once_when_the_charge_was_processed(gateway: Client) -> None:
    body = charge_body("4000990000000251")
    with pytest.raises(ConnectionResetError):
        gateway.send("POST", "/v1/charges", body, key="k")
    again = gateway.send("POST", "/v1/charges", body, key="k")
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    refunding = gateway.charge("4000990000000384").json["id"]
    assert gateway.follow(refunding, "refunds").status == 500
    assert gateway.charge("4000990000000210").status == 500
    assert gateway.ledger()["charges"] == 2


# --- the program


class Program:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ready = folder / "ready.json"
        command = [sys.executable, "-m", "strongroom.gateways.sandbox_server",
                   "--ready-file", str(self.ready), *arguments]  # fmt: skip
        source = Path(__file__).parents[2] / "src"
        env = {**os.environ, "PYTHONPATH": str(source), "STRONGROOM_SANDBOX_SECRET": KEY}
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not self.ready.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.client = Client(json.loads(self.ready.read_bytes())["url"])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, bytes]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=10)
        return self.process.returncode, out


def test_the_state_file_survives_a_kill_and_has_no_card_numbers(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    program = Program(tmp_path, "--state", str(state))
    assert program.ready.stat().st_mode & 0o777 == 0o600
    body = charge_body(reference="op_s")
    first = program.client.send("POST", "/v1/charges", body, key="k")
    charge_id = first.json["id"]
    program.client.follow(charge_id, "refunds", amount=9)
    program.stop(signal.SIGKILL)
    with state.open("ab") as out:
        out.write(b'[2,["o",torn')
    program.ready.unlink()
    program = Program(tmp_path, "--state", str(state))
    assert program.client.send("POST", "/v1/charges", body, key="k").body == first.body
    assert program.client.get(f"/v1/charges/{charge_id}").json["refunded_amount"] == 9
    assert program.client.follow(charge_id, "refunds", amount=1).status == 200
    ledger = program.client.ledger()
    assert (ledger["charges"], ledger["refunded_minor"], ledger["duplicates"]) == (1, 10, [])
    code, out = program.stop()
    assert code == 0
    written = state.read_bytes() + out
    assert OK.encode() not in written
    assert b'"123"' not in written
    assert not program.ready.exists()


def test_a_stop_finishes_the_answers_under_way(tmp_path: Path) -> None:
    program = Program(tmp_path)
    replies: list[Reply] = []
    slow = threading.Thread(target=lambda: replies.append(program.client.charge(fault="slow=700")))
    slow.start()
    time.sleep(0.2)
    code, _ = program.stop()
    slow.join()
    assert (code, replies[0].status, replies[0].headers["connection"]) == (0, 200, "close")


def test_old_operations_are_forgotten_when_there_are_too_many() -> None:
    with running(Settings(secret=Secret(KEY), rows_max=20)) as url:
        client = Client(url)
        link = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=5)
        headers = {"Authorization": f"Bearer {KEY}"}
        for number in range(60):
            body = json.dumps(charge_body(reference=f"op_{number}"))
            link.request("POST", "/v1/charges", body, {**headers, "Idempotency-Key": f"{number}"})
            answer = link.getresponse()
            assert answer.status == 200
            answer.read()
        link.close()
        assert not is_processed(client, "op_29")
        assert is_processed(client, "op_40")
        assert is_processed(client, "op_59")
        assert client.ledger()["charges"] == 60


def test_the_index_finds_every_row_again() -> None:
    index = Index()
    hashes = [hash(f"op_{n}") & 0xFFFF_FFFF_FFFF_FFFF for n in range(20_000)]
    for row, hashed in enumerate(hashes):
        index.add(hashed, row)
    assert all(row in index.find(hashed) for row, hashed in enumerate(hashes))
    index.forget_below(15_000)
    assert 0 not in index.find(hashes[0])
    assert 19_999 in index.find(hashes[-1])
