"""The file of the shred ledger: appended by many, checked line by line, mended after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.material import JournalSigner
from strongroom.keys.subjects import ShredLedger
from strongroom.keys.subjects.receipt import FORMAT, sign_receipt

SIGNER = JournalSigner(Secret(b"s" * 32), "test/shred")
OTHER = JournalSigner(Secret(b"o" * 32), "other/shred")


def receipt(number: int) -> tuple[dict[str, Any], bytes]:
    told = {"format": FORMAT, "id": f"shr_{number}", "keys": [str(number)], "cards_removed": number}
    return told, sign_receipt(told, SIGNER)


@pytest.fixture
def ledger(tmp_path: Path) -> ShredLedger:
    return ShredLedger(tmp_path / "shred.ledger")


def ids(ledger: ShredLedger) -> list[str]:
    return [told.receipt["id"] for told in ledger.read(SIGNER.public_key)]


def test_lines_come_back_in_order_and_only_their_owner_reads_the_file(ledger: ShredLedger) -> None:
    assert ids(ledger) == []
    for number in range(3):
        ledger.append([receipt(number)], SIGNER)
    ledger.append([receipt(3), receipt(4)], SIGNER)
    assert ids(ledger) == [f"shr_{number}" for number in range(5)]
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_many_append_at_once_and_the_chain_holds(ledger: ShredLedger) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ledger.append([receipt(n)], SIGNER), range(60)))
    assert sorted(ids(ledger)) == sorted(f"shr_{number}" for number in range(60))


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_last_line_that_a_crash_cut_short_is_dropped(ledger: ShredLedger, kept: int) -> None:
    ledger.append([receipt(0), receipt(1)], SIGNER)
    first, second = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(first + second[:kept])
    assert ids(ledger) == ["shr_0"]
    ledger.append([receipt(2)], SIGNER)
    assert ids(ledger) == ["shr_0", "shr_2"]


def tampered(lines: list[bytes]) -> dict[str, list[bytes]]:
    changed = [json.loads(line) for line in lines]
    changed[1]["receipt"]["cards_removed"] = 99
    resigned = json.loads(lines[1])
    body = {name: value for name, value in resigned.items() if name != "signature"}
    resigned["signature"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    forged, signature = receipt(1)
    return {
        "changed": [lines[0], json.dumps(changed[1]).encode(), lines[2]],
        "signed by nobody": [lines[0], json.dumps(resigned).encode(), lines[2]],
        "taken out": [lines[0], lines[2]],
        "first taken out": lines[1:],
        "exchanged": [lines[1], lines[0], lines[2]],
        "twice": [lines[0], lines[0], *lines[1:]],
        "not JSON": [lines[0], b"x", lines[2]],
        "empty": [lines[0], b"", lines[2]],
        "without a signature": [lines[0], json.dumps(body).encode(), lines[2]],
        "a bare receipt": [lines[0], json.dumps(forged).encode(), lines[2]],
        "too long": [lines[0], b" " * 40_000 + lines[1], lines[2]],
        "other bytes": [lines[0], lines[1].replace(b'"number":2', b'"number": 2'), lines[2]],
        "signature only": [lines[0], signature.hex().encode(), lines[2]],
    }


@pytest.mark.parametrize("how", sorted(tampered([b'{"receipt":{}}'] * 3)))
def test_a_tampered_line_stops_everything(ledger: ShredLedger, how: str) -> None:
    for number in range(3):
        ledger.append([receipt(number)], SIGNER)
    lines = ledger.path.read_bytes().splitlines()
    ledger.path.write_bytes(b"\n".join(tampered(lines)[how]) + b"\n")
    with pytest.raises(StrongroomError, match="shred_ledger_damaged"):
        ledger.read(SIGNER.public_key)


def test_lines_of_another_installation_are_refused(ledger: ShredLedger) -> None:
    ledger.append([receipt(0)], OTHER)
    with pytest.raises(StrongroomError, match="shred_ledger_damaged"):
        ledger.read(SIGNER.public_key)


def test_a_link_or_a_missing_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path / "link", tmp_path / "nowhere" / "file"):
        with pytest.raises(StrongroomError, match="shred_ledger_unwritable"):
            ShredLedger(path).append([receipt(0)], SIGNER)
    assert os.path.getsize(tmp_path / "target") == 0
