"""Every level of keys rotates while payments flow; the runbooks work as they are printed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import strongroom
from tests.support.pay import card, pay
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack

pytestmark = [pytest.mark.slow(120), pytest.mark.timeout(300)]

SAVED = 40


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose keys this test alone changes."""
    stack = Stack(tmp_path_factory.mktemp("rotation")).start()
    try:
        yield stack
    finally:
        stack.stop()


def keys(stack: Stack, *words: str) -> Any:
    done = strongroom("keys", *words, "--json", data_dir=stack.data_dir, timeout=120)
    assert done.code == 0, done.out + done.err
    return json.loads(done.out)


def save_cards(stack: Stack, count: int) -> list[str]:
    answer = stack.call(
        "POST", "/v1/tokens/batch", {"cards": [card(cvc=None)] * count, "save": True}
    )
    assert answer.status == 201, answer.body
    return [token["id"] for token in answer.json["data"]]


class Payments(threading.Thread):
    """Pays with saved cards, one after the other, and keeps what went wrong."""

    def __init__(self, stack: Stack, tokens: list[str]) -> None:
        super().__init__()
        self._stack = stack
        self._tokens = tokens
        self._over = threading.Event()
        self.done = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        while not self._over.is_set():
            token = self._tokens[self.done % len(self._tokens)]
            answer = pay(self._stack, payment_method={"token": token})
            if answer.status != 201 or answer.json["status"] != "captured":
                self.wrong.append(answer.body)
            self.done += 1

    def end(self) -> None:
        self._over.set()
        self.join()


def test_payments_flow_while_every_level_rotates(own_stack: Stack) -> None:
    stack = own_stack
    tokens = save_cards(stack, SAVED)
    shown = {token: stack.call("GET", f"/v1/tokens/{token}").json for token in tokens[:3]}
    payments = Payments(stack, tokens)
    payments.start()
    try:
        for words in (
            ("rotate", "dek", "--rate", "40", "--wait"),
            ("rotate", "kek", "--wait"),
            ("rotate", "index", "--merchant", stack.merchant, "--rate", "0", "--wait"),
        ):
            job = keys(stack, *words)
            assert (job["state"], job["problem"]) == ("done", None), job
    finally:
        payments.end()
    assert not payments.wrong, payments.wrong[:3]
    assert payments.done > 10
    states = {(k["kind"], k["version"]): k["state"] for k in keys(stack, "list") if k["merchant"]}
    assert states["dek", 1] == states["index", 1] == "decrypt_only"
    assert states["dek", 2] == states["index", 2] == "active"
    for token, before in shown.items():
        assert stack.call("GET", f"/v1/tokens/{token}").json == before, "fingerprints stay"


def test_a_killed_server_goes_on_with_its_rotation(own_stack: Stack) -> None:
    stack = own_stack
    tokens = save_cards(stack, SAVED)
    job = keys(stack, "rotate", "dek", "--rate", "10")
    while not keys(stack, "jobs")[0]["done"]:
        time.sleep(0.2)
    stack.kill()
    stack.start()
    deadline = time.monotonic() + 60
    while (found := keys(stack, "jobs")[0])["state"] != "done" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert (found["id"], found["state"], found["problem"]) == (job["id"], "done", None)
    for token in tokens[:5]:
        assert pay(stack, payment_method={"token": token}).json["status"] == "captured"
    told = keys(stack, "status", "--rows")["keys"]
    held = {key["version"]: key["rows"] for key in told if key["kind"] == "dek"}
    assert held[1] == 0


def test_a_key_that_is_still_needed_is_not_destroyed(own_stack: Stack) -> None:
    """The pages' last command: refused while the key is in use, and while it has not rested."""
    save_cards(own_stack, 1)
    status = keys(own_stack, "status")["keys"]
    dek = next(key["id"] for key in status if key["kind"] == "dek")
    for _ in range(2):
        refused = strongroom("keys", "destroy", dek, data_dir=own_stack.data_dir)
        assert refused.code == 1 and "(key_state_not_possible)" in refused.err, refused.err
        keys(own_stack, "rotate", "dek", "--wait")
    assert save_cards(own_stack, 1)


@pytest.mark.parametrize("page", ["key-rotation", "key-compromise"])
def test_the_runbook_works(own_stack: Stack, tmp_path: Path, page: str) -> None:
    save_cards(own_stack, 90)
    path = programs(tmp_path)
    script = "\n".join(blocks(f"docs/operations/{page}.md"))
    variables = {"DATA": str(own_stack.data_dir), "MERCHANT": own_stack.merchant}
    done = walk(script, path, cwd=tmp_path, timeout_s=240, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done" in done.stdout
