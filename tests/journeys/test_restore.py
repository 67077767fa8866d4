"""The runbook of backup and restore, as it is printed: who was erased does not come back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack

PAGE = "docs/operations/restore.md"
BACK_UP, ERASE, VERIFY, RESTORE = blocks(PAGE)
pytestmark = [pytest.mark.slow(90), pytest.mark.timeout(400)]
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path).start()
    yield made
    made.stop()


class Operator:
    """Walks blocks of the page against one installation."""

    def __init__(self, stack: Stack, tmp: Path) -> None:
        self._path = programs(tmp / "bin")
        self._tmp = tmp
        self.variables = {
            "DATA": str(stack.data_dir),
            "BACKUP": str(tmp / "backup"),
            "KEEP": str(tmp / "keep"),
            "MERCHANT": stack.merchant,
            "PERSON": "anna@shop.example",
        }
        for name in ("backup", "keep"):
            (tmp / name).mkdir()

    def walk(self, script: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = walk(script, self._path, cwd=self._tmp, timeout_s=90, **self.variables)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done


def stored(stack: Stack, person: str) -> str:
    body = {"card": {**CARD, "data_subject": person}, "save": True}
    answer = stack.call("POST", "/v1/tokens", body)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def shows(stack: Stack, token: str) -> int:
    return stack.call("GET", f"/v1/tokens/{token}").status


def test_a_person_who_was_erased_does_not_come_back_with_the_backup(
    own: Stack, tmp_path: Path
) -> None:
    anna, ben = stored(own, "anna@shop.example"), stored(own, "ben@shop.example")
    operator = Operator(own, tmp_path)
    own.stop()
    operator.walk(BACK_UP)
    own.start()
    assert "1 cards and their keys are destroyed" in operator.walk(ERASE).stdout
    assert "erasure request 17" in operator.walk(VERIFY).stdout
    assert (shows(own, anna), shows(own, ben)) == (404, 200)
    own.stop()
    told = operator.walk(RESTORE).stdout
    assert "1 keys shredded again" in told
    own.start()
    assert (shows(own, anna), shows(own, ben)) == (404, 200)
    assert own.admin(_living) == 1
    again = erase(own, "anna@shop.example")
    kept = json.loads((tmp_path / "keep" / "receipt.json").read_text())
    assert again["receipt"] == kept["receipt"]


def test_the_start_itself_replays_and_a_changed_ledger_stops_it(own: Stack, tmp_path: Path) -> None:
    """Without the command, and with a ledger from which somebody took a person."""
    anna, ben = stored(own, "anna@shop.example"), stored(own, "ben@shop.example")
    operator = Operator(own, tmp_path)
    own.stop()
    operator.walk(BACK_UP)
    own.start()
    erase(own, "ben@shop.example")
    erase(own, "anna@shop.example")
    own.stop()
    operator.walk(RESTORE.split("strongroom", 1)[0])
    ledger = own.data_dir / "shred.ledger"
    whole = ledger.read_text()
    ledger.write_text(whole.split("\n", 1)[1])
    with pytest.raises(RuntimeError, match="shred_ledger_damaged"):
        own.start()
    assert "shred_ledger_damaged" in operator.walk(RESTORE.splitlines()[3], fails=True).stderr
    ledger.write_text(whole + '{"number":3,"cut short by a cra')
    own.start()
    assert (shows(own, anna), shows(own, ben)) == (404, 404)
    assert own.admin(_living) == 0
    assert stored(own, "anna@shop.example")
    erase(own, "anna@shop.example")
    assert len(ledger.read_text().splitlines()) == 3


def erase(stack: Stack, person: str) -> Any:
    body = {"data_subject": person, "reason": "asked"}
    answer = stack.call("POST", "/v1/data-subjects/erase", body)
    assert answer.status == 200, answer.body
    return answer.json


async def _living(house: Any) -> int:
    return int(
        await house.vault_database.fetchval(
            "SELECT count(*) FROM vault.card WHERE subject IS NOT NULL"
        )
    )
