"""With the vault apart, encrypted cards pay, and the API's whole memory never holds one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys import test_encrypted_card
from tests.journeys.test_encrypted_card import SUITES, document, paid
from tests.support.clients import CARD, encrypt
from tests.support.pay import body, new_key
from tests.support.stack import Stack

CLEAR, SEALED = "5200828282828210", "4000056655665556"
_WRITABLE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole program, split."""
    running = Stack(tmp_path_factory.mktemp("apart"), split=True).start()
    try:
        yield running
    finally:
        running.stop()


for _name in (
    "test_a_payment_with_every_suite",
    "test_the_security_code_reaches_the_gateway",
    "test_a_repeated_request_gets_its_answer_and_charges_once",
    "test_another_merchants_card_does_not_open",
    "test_no_process_writes_what_was_encrypted",
):
    globals()[_name] = getattr(test_encrypted_card, _name)


@pytest.mark.skipif(os.geteuid() != 0, reason="processes of ours hide their memory: run as root")
def test_the_memory_of_the_api_holds_nothing_that_was_encrypted(stack: Stack) -> None:
    (api,) = stack.processes("--role=api")
    known = b"".join(pages(api)).count(SEALED.encode())
    assert known > 0, "the list of published test numbers is part of the program"
    keys = document(stack)
    for number in range(40):
        sealed = {**CARD, "number": SEALED, "holder_name": "Zyxwilda Sealedover"}
        assert paid(stack, encrypt(keys, SUITES[number % 4], sealed)).status == 201
        clear = {**CARD, "number": CLEAR, "holder_name": "Quastrophil Plainview"}
        request = body() | {"payment_method": {"card": clear}}
        assert stack.call("POST", "/v1/payments", request, idempotency_key=new_key()).status == 201
    memory = b"".join(pages(api))
    assert b"Quastrophil Plainview" in memory, "the search finds what the API has seen"
    assert b"Zyxwilda Sealedover" not in memory
    assert memory.count(SEALED.encode()) <= known


def pages(pid: int) -> Iterator[bytes]:
    """Yield the writable memory of a process."""
    ranges = [
        (int(found[1], 16), int(found[2], 16))
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if (found := _WRITABLE.match(line))
    ]
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for start, end in ranges:
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except OSError:  # pages of the kernel's own
                continue
